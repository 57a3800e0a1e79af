"""Faces of files: crops, records, what is lost and why, and going on after an end."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from face_samples import draw_videos, face_settings
from PIL import Image
from video_samples import cut_off, write_sound, write_video

from deepfake_detection.datasets.forging import Source, make_image
from deepfake_detection.errors import UserError
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.faces.extraction import RECORD, extract_faces_of_file, read_record
from deepfake_detection.faces.face_set import FaceSet
from deepfake_detection.images import reading


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return draw_videos(tmp_path_factory.mktemp("films") / "videos", sources=2)


@pytest.fixture(scope="module")
def portrait():
    return make_image(Source.read("main", 3), "real", 0, seed=0, size=200)[0]


def extract(path, target, **changes):
    settings = face_settings(**changes)
    extract_faces_of_file(path, target, settings, make_face_detector(settings))
    return read_record(path, target)


def reasons(record):
    return [lost["reason"] for lost in record["lost"]]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_each_chosen_frame_gives_a_crop_of_one_track(videos, tmp_path):
    path = videos / "original_sequences/youtube/c23/videos/000.mp4"
    record = extract(path, tmp_path / "crops")
    assert record["medium"] == "video"
    assert record["file_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [face["frame"] for face in record["faces"]] == [1, 3, 5, 7]
    assert {face["track"] for face in record["faces"]} == {0}
    for face in record["faces"]:
        crop = tmp_path / "crops" / face["crop"]
        assert crop.name == f"{face['frame']:06}.png"
        assert hashlib.sha256(crop.read_bytes()).hexdigest() == face["sha256"]
        assert Image.open(crop).size == (299, 299)
        assert face["seconds"] == pytest.approx(face["frame"] / 12, abs=1e-4)
        assert face["face_pixels"] == round(
            (face["right"] - face["left"] + face["bottom"] - face["top"]) / 2, 0
        )
    assert record["lost"] == []


@pytest.mark.parametrize("turned", [False, True])
def test_a_photograph_is_one_frame_and_upright(portrait, tmp_path, turned):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6  # to be turned by 90° clockwise
    (portrait.transpose(Image.Transpose.ROTATE_90) if turned else portrait).save(path, exif=exif)
    record = extract(path, tmp_path / "crops")
    assert record["medium"] == "photograph"
    assert len(record["faces"]) == 1
    eyes = record["faces"][0]["landmarks"][:4]
    assert abs(eyes[1] - eyes[3]) < 20
    assert eyes[0] < eyes[2]


def test_two_people_are_two_tracks_or_the_larger_one(portrait, tmp_path):
    scene = Image.new("RGB", (640, 240), (120, 130, 140))
    scene.paste(portrait, (20, 20))
    scene.paste(portrait.resize((130, 130)), (440, 60))
    path = tmp_path / "two.png"
    scene.save(path)
    largest = extract(path, tmp_path / "largest")
    both = extract(path, tmp_path / "all", tracks="all")
    assert len(largest["faces"]) == 1
    assert largest["faces"][0]["right"] < 320
    assert {face["track"] for face in both["faces"]} == {0, 1}
    assert {face["crop"].split("/")[0] for face in both["faces"]} == {"track_00", "track_01"}


def test_crops_can_be_jpeg_files_of_another_size(portrait, tmp_path):
    portrait.save(tmp_path / "photo.png")
    crop = face_settings().crop.model_dump() | {"format": "jpeg", "size": 128, "quality": 80}
    record = extract(tmp_path / "photo.png", tmp_path / "crops", crop=crop)
    with Image.open(tmp_path / "crops" / record["faces"][0]["crop"]) as image:
        assert image.format == "JPEG"
        assert image.size == (128, 128)


def write_cut_photograph(path):
    Image.new("RGB", (100, 100)).save(path, "PNG")
    cut_off(path)


LOST = {
    "no face": (lambda path: write_video(path, 6), "clip.mp4", "no face"),
    "sound": (write_sound, "clip.mp4", "no video stream"),
    "empty": (lambda path: path.write_bytes(b""), "clip.mp4", ""),
    "cut": (lambda path: cut_off(write_video(path, 30)), "clip.mp4", ""),
    "text": (lambda path: path.write_text("no picture"), "notes.jpg", "not a picture"),
    "photograph": (write_cut_photograph, "photo.png", ""),
    "wrong ending": (lambda path: path.write_bytes(b"\x89PNG\r\n"), "photo.mp4", ""),
}


@pytest.mark.parametrize("kind", LOST)
def test_a_file_without_a_face_has_a_reason(tmp_path, kind):
    write, name, reason = LOST[kind]
    write(tmp_path / name)
    record = extract(tmp_path / name, tmp_path / "crops")
    assert record["faces"] == []
    assert any(lost["frame"] is None for lost in record["lost"])
    assert all(reasons(record))
    assert any(reason in each for each in reasons(record))
    assert [path.name for path in (tmp_path / "crops").iterdir()] == [RECORD]


def test_frames_without_a_face_are_lost_and_the_others_kept(portrait, tmp_path):
    face = np.asarray(portrait.resize((160, 160)))
    pictures = [face, np.full_like(face, 90), face, np.full_like(face, 90)]
    path = write_video(tmp_path / "clip.mp4", 4, pictures=pictures, size=(160, 160))
    record = extract(path, tmp_path / "crops")
    assert [each["frame"] for each in record["faces"]] == [0, 2]
    assert [lost["frame"] for lost in record["lost"]] == [1, 3]


def test_faces_below_the_smallest_size_are_lost_with_their_size(portrait, tmp_path):
    portrait.save(tmp_path / "photo.png")
    record = extract(tmp_path / "photo.png", tmp_path / "crops", min_size=180)
    assert record["faces"] == []
    assert any("min_size" in each for each in reasons(record))


def test_a_record_counts_only_for_the_file_and_crops_that_it_is_of(portrait, tmp_path):
    path, target = tmp_path / "photo.png", tmp_path / "crops"
    portrait.save(path)
    record = extract(path, target)
    (target / record["faces"][0]["crop"]).unlink()
    assert read_record(path, target) is None
    assert extract(path, target) == record
    (target / RECORD).write_text((target / RECORD).read_text()[:-20])
    assert read_record(path, target) is None
    extract(path, target)
    portrait.resize((190, 190)).save(path)
    assert read_record(path, target) is None


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), PermissionError(13, "no")])
def test_what_is_not_the_fault_of_the_file_leaves_no_record(videos, tmp_path, error):
    path = next(videos.rglob("000.mp4"))

    def fail():
        raise error

    changed = face_settings()
    with pytest.raises(OSError, match=error.strerror):
        extract_faces_of_file(
            path, tmp_path / "crops", changed, make_face_detector(changed), report_progress=fail
        )
    assert read_record(path, tmp_path / "crops") is None
    assert len(extract(path, tmp_path / "crops")["faces"]) == 4


def test_a_file_of_the_same_name_size_and_time_elsewhere_is_another(portrait, tmp_path):
    paths = [tmp_path / name / "photo.bmp" for name in ("one", "other")]
    for path, picture in zip(paths, (portrait, portrait.transpose(0)), strict=True):
        path.parent.mkdir()
        picture.save(path)
        os.utime(path, ns=(10**18, 10**18))
    extract(paths[0], tmp_path / "crops")
    assert read_record(paths[0], tmp_path / "crops") is not None
    assert read_record(paths[1], tmp_path / "crops") is None


def test_a_heic_photograph_without_its_package_is_no_video(tmp_path, monkeypatch):
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x1cftypheic" + bytes(200))
    monkeypatch.setattr(reading, "readable_types", lambda: ("JPEG", "PNG"))
    record = extract(path, tmp_path / "crops")
    assert record["medium"] is None
    assert "pillow-heif" in reasons(record)[0]


def test_an_interrupted_set_is_completed_and_the_same(videos, tmp_path):
    files = sorted(path.relative_to(videos).as_posix() for path in videos.rglob("*.mp4"))
    whole = FaceSet.open(tmp_path / "whole", face_settings())
    expected = dict(whole.extract(videos, files))
    assert all(len(record["faces"]) == 4 for record in expected.values())
    half = FaceSet.open(tmp_path / "half", face_settings())
    assert half.folder.name == whole.folder.name
    list(half.extract(videos, files[:3]))
    made = {path: path.stat().st_mtime_ns for path in half.folder.rglob("*.png")}
    # one was killed while its crops were written
    (half.folder / files[1] / RECORD).unlink()
    assert dict(half.extract(videos, files)) == expected
    assert contents(half.folder) == contents(whole.folder)
    kept = [path for path in made if Path(files[1]).name not in path.parts]
    assert all(path.stat().st_mtime_ns == made[path] for path in kept)


def test_other_parameters_make_another_set(tmp_path):
    crop = face_settings().crop.model_dump()
    folders = {
        FaceSet.open(tmp_path, face_settings(**changes)).folder
        for changes in (
            {}, {"crop": crop | {"margin": 1.5}}, {"min_score": 0.5}, {"every_seconds": 1.0},
            {"tracks": "all"}, {"frames_per_video": 5},
        )
    }  # fmt: skip
    assert len(folders) == 6
    same = FaceSet.open(tmp_path, face_settings(processes=3, seconds_without_progress=9))
    assert same.folder in folders


def test_a_file_that_crashes_its_process_is_lost_alone(videos, tmp_path, monkeypatch):
    # a library that ends the process: what FFmpeg does to a process on a hostile file
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def crash(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('001.mp4'):\n"
        "        os.kill(os.getpid(), 11)\n"
        "sys.addaudithook(crash)\n"
    )
    files = [f"original_sequences/youtube/c23/videos/00{number}.mp4" for number in (0, 1)]
    records = dict(FaceSet.open(tmp_path / "faces", face_settings()).extract(videos, files))
    assert len(records[files[0]]["faces"]) == 4
    assert records[files[1]]["faces"] == []
    assert "SIGSEGV" in reasons(records[files[1]])[0]


def test_two_at_once_are_refused(videos, tmp_path):
    face_set = FaceSet.open(tmp_path, face_settings())
    files = ["original_sequences/youtube/c23/videos/000.mp4"]
    first = face_set.extract(videos, files)
    next(first)
    with pytest.raises(UserError, match="another process"):
        list(face_set.extract(videos, files))
    first.close()
    assert len(list(face_set.extract(videos, files))) == 1
