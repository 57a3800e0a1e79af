"""Faces of photographs and videos: found, cut as in training, and scored."""

import io
import math

import numpy as np
import pytest
import torch
from detector_samples import build_detector, make_sensitive_detector
from face_samples import beside, draw_videos, face_settings, first_frame, with_recipe
from PIL import Image
from video_samples import cut_off, write_sound, write_video

from deepfake_detection.errors import UserError
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.faces.extraction import extract_faces_of_file, read_record
from deepfake_detection.faces.finding import FaceFinder
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.scoring import NO_NUMBER, TRAINED_ON_IT

FORMATS = ({"format": "png"}, {"format": "jpeg"}, {"align": "similarity", "border": "black"})


def _settings(**crop):
    settings = face_settings()
    return settings.model_copy(update={"crop": settings.crop.model_copy(update=crop)})


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return sorted(draw_videos(tmp_path_factory.mktemp("videos")).rglob("*.mp4"))


@pytest.fixture(scope="module")
def detector():
    return with_recipe(face_settings())[0]


@pytest.fixture(scope="module")
def frame(clips):
    """A frame with one face, which is a small part of it."""
    return first_frame(clips[0])


@pytest.mark.parametrize("crop", FORMATS, ids=str)
def test_a_face_scores_as_its_extracted_crop_does(clips, tmp_path, crop):
    settings = _settings(**crop)
    detector, faces = with_recipe(settings)
    extract_faces_of_file(clips[0], tmp_path / "faces", settings, faces)
    rows = read_record(clips[0], tmp_path / "faces")["faces"]
    scored = detector.score_video(clips[0], frames=settings.frames_per_video)
    (track,) = scored.tracks
    assert [row["frame"] for row in rows] == [each.number for each in track.frames]
    crops = [tmp_path / "faces" / row["crop"] for row in rows]
    whole = detector.score(crops, faces="given")
    assert [each.face.logit for each in track.frames] == [each.logit for each in whole]
    assert scored.logit == pytest.approx(np.mean([each.logit for each in whole]))
    # an extracted crop is known to be one
    assert [each.logit for each in detector.score(crops)] == [each.logit for each in whole]


def test_a_photograph_scores_as_its_extracted_crop_does(frame, detector, tmp_path):
    frame.save(tmp_path / "photograph.png")
    settings = face_settings()
    extract_faces_of_file(
        tmp_path / "photograph.png", tmp_path / "faces", settings, make_face_detector(settings)
    )
    (crop,) = (tmp_path / "faces").glob("*.png")
    score = detector.score(tmp_path / "photograph.png")
    assert score.logit == detector.score(crop, faces="given").logit
    (face,) = score.faces
    assert (face.logit, face.fake_probability) == (score.logit, score.fake_probability)
    left, top, right, bottom = face.box
    assert 0 < left < right < frame.width
    assert 0 < top < bottom < frame.height * 1.1
    assert score.width == frame.width


def test_two_people_give_two_scores(clips, detector):
    picture = beside(first_frame(clips[0]), first_frame(clips[-1]))
    score = detector.score(picture)
    assert len(score.faces) == 2
    assert score.logit == max(face.logit for face in score.faces)
    assert len({face.logit for face in score.faces}) == 2


def test_a_picture_without_a_face_has_no_verdict_and_says_why(detector):
    blank = Image.new("RGB", (200, 200), "grey")
    score = detector.score(blank, errors="record")
    assert (score.verdict, score.error, score.width) == (None, "no face", 200)
    assert math.isnan(score.fake_probability)
    assert math.isnan(score.logit)
    with pytest.raises(UserError, match="no face"):
        detector.score(blank)
    assert detector.score(blank, faces="given").verdict


def test_a_face_that_is_too_small_is_not_scored(frame, detector):
    small = frame.resize((frame.width // 3, frame.height // 3))
    score = detector.score(small, errors="record")
    assert score.verdict is None
    assert "min_size" in score.error


def test_pictures_in_any_order_and_batch_have_the_same_scores(clips, detector):
    pictures = [first_frame(clip) for clip in clips[:3]]
    pictures.insert(1, Image.new("RGB", (80, 80)))
    pictures.append(beside(pictures[0], pictures[2]))
    alone = [detector.score(each, errors="record").logit for each in pictures]
    for batch_size in (1, 2, 64):
        together = detector.score(pictures, errors="record", batch_size=batch_size)
        assert [each.logit for each in together] == pytest.approx(alone, abs=1e-5, nan_ok=True)


def test_a_detector_without_a_recipe_takes_pictures_whole_and_finds_faces_when_told_how(frame):
    detector = make_sensitive_detector()
    assert detector.score(frame).faces == ()
    with pytest.raises(UserError, match="with_margin"):
        detector.score(frame, faces="find")
    assert len(detector.score(frame, faces=FaceFinder.with_margin(1.5)).faces) == 1


def test_a_recipe_of_another_face_detector_is_refused(frame):
    settings = face_settings()
    detector, _ = with_recipe(settings)
    recipe = detector.card.split["crop_recipe"]
    other = build_detector(
        split=detector.card.split | {"crop_recipe": recipe | {"weights_sha256": "0" * 64}}
    )
    with pytest.raises(UserError, match="centerface"):
        other.score(frame)
    for name in ("yunet", "a later one"):
        other = build_detector(
            split=detector.card.split | {"crop_recipe": recipe | {"detector": name}}
        )
        with pytest.raises(UserError, match=name):
            other.score(frame)


def test_a_recipe_of_a_later_version_is_read(frame, detector):
    recipe = detector.card.split["crop_recipe"]
    later = recipe | {"later": 1, "crop": recipe["crop"] | {"later": 1}}
    split = detector.card.split | {"crop_recipe": later}
    assert build_detector(split=split).crop_recipe == detector.crop_recipe


def test_a_face_that_was_trained_on_is_told_also_in_its_photograph(frame, detector):
    finder = detector.face_finder
    (found,), _ = finder(frame)
    knowing = Detector(
        detector.network, detector.card, pack_hashes([found.sha256.hex()]), detector.validated_on
    )
    score = knowing.score(frame)
    assert score.warning == TRAINED_ON_IT == score.faces[0].warning
    assert detector.score(frame).warning is None


def test_a_clip_of_two_halves_shows_them(clips, detector, tmp_path):
    """The frames of one person, then of another one at another place."""
    halves = [np.asarray(first_frame(clip).resize((212, 160))) for clip in (clips[0], clips[-1])]
    size = (424, 160)
    pictures = []
    for half in (0, 1):
        picture = np.full((size[1], size[0], 3), 128, np.uint8)
        picture[:, half * 212 : half * 212 + 212] = halves[half]
        pictures += [picture] * 6
    path = write_video(tmp_path / "halves.mp4", 12, pictures=pictures, size=size)
    score = detector.score_video(path, frames=12)
    assert score.searched == 12
    logits = [
        face.face.logit
        for track in score.tracks
        for face in sorted(track.frames, key=lambda each: each.number)
    ]
    seconds = [each.seconds for track in score.tracks for each in track.frames]
    assert seconds == pytest.approx([number / 10 for number in range(12)])
    first, second = np.array(logits[:6]), np.array(logits[6:])
    assert max(np.ptp(first), np.ptp(second)) < abs(first.mean() - second.mean())


def test_two_people_in_a_clip_are_two_tracks_and_the_more_fake_one_counts(
    clips, detector, tmp_path
):
    picture = np.asarray(beside(*(first_frame(clip).resize((212, 160)) for clip in clips[:2])))
    path = write_video(tmp_path / "two.mp4", 6, pictures=[picture] * 6, size=(424, 160))
    score = detector.score_video(path, frames=6)
    assert [len(track.frames) for track in score.tracks] == [6, 6]
    assert score.logit == max(track.logit for track in score.tracks)
    assert score.verdict == max(score.tracks, key=lambda track: track.logit).verdict


def test_frames_of_crops_are_scored_whole(detector, tmp_path):
    path = write_video(tmp_path / "crops.mp4", 5)
    score = detector.score_video(path, faces="given", every_seconds=0.2)
    (track,) = score.tracks
    assert [each.number for each in track.frames] == [0, 2, 4]
    assert track.frames[0].face.box == (0, 0, 64, 48)
    whole = detector.score(first_frame(path), faces="given").logit
    assert track.frames[0].face.logit == pytest.approx(whole, abs=1e-4)


BROKEN = {
    "truncated": lambda path: cut_off(write_video(path, 40), 0.6),
    "sound alone": lambda path: write_sound(path) and path,
    "no video": lambda path: path.write_bytes(b"a clip" * 100) and path,
    "empty": lambda path: path.write_bytes(b"") or path,
    "missing": lambda path: path,
    "without a face": lambda path: write_video(path, 4),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_clip_without_a_score_says_why(detector, tmp_path, kind):
    path = tmp_path / "clip.mp4"
    BROKEN[kind](path)
    score = detector.score_video(path, errors="record")
    assert (score.verdict, score.tracks) == (None, ())
    assert math.isnan(score.fake_probability)
    assert score.error
    with pytest.raises(UserError, match=r"clip\.mp4"):
        detector.score_video(path)


def test_a_network_that_gives_no_number_gives_no_verdict_of_a_clip(clips):
    detector, _ = with_recipe(face_settings())
    torch.nn.init.constant_(detector.network.fc.bias, math.inf)
    score = detector.score_video(clips[0], frames=2, errors="record")
    assert score.verdict is None
    assert {reason for _, reason in score.lost} == {NO_NUMBER}
    score = detector.score(first_frame(clips[0]), errors="record")
    assert (score.verdict, score.error, score.faces) == (None, NO_NUMBER, ())


def test_a_rotated_photograph_is_searched_upright(frame, detector):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    frame.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    turned = detector.score(Image.open(buffer))
    assert turned.logit == detector.score(frame).logit
    assert turned.faces[0].box == detector.score(frame).faces[0].box
