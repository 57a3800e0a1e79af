"""The nodes of face extraction, and of data preparation on extracted faces."""

import json
import logging
import os

import numpy as np
import pandas as pd
import pytest
from face_samples import draw_videos, face_settings, image_set
from PIL import Image
from pydantic import ValidationError
from video_samples import write_sound, write_video

from deepfake_detection.datasets.forging import Source, make_image
from deepfake_detection.errors import UserError
from deepfake_detection.images.equalising import write_equalised
from deepfake_detection.images.layouts import read_layout
from deepfake_detection.parameters import EqualiseParameters, SplitParameters
from deepfake_detection.pipelines.data_preparation.nodes import (
    index_images,
    list_rejected_images,
    scan_faces,
    split_images,
    summarise_split,
)
from deepfake_detection.pipelines.face_extraction.nodes import (
    INDEX_COLUMNS,
    LOST_COLUMNS,
    draw_contact_sheet,
    extract_faces,
)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """Videos of four people with a few broken files, and what was extracted. Read only."""
    folder = tmp_path_factory.mktemp("extracted")
    videos = draw_videos(folder / "videos")
    write_sound(videos / "original_sequences/youtube/c23/videos/900.mp4")
    write_video(videos / "original_sequences/youtube/c23/videos/901.mp4", 5)
    faces = folder / "faces"
    return videos, faces, *extract_faces(videos, faces, face_settings(), image_set())


def prepare(faces, index, **changes):
    scanned = scan_faces(faces, index, image_set(**changes))
    rejected = list_rejected_images(scanned)
    return index_images(scanned, rejected, image_set(max_rejected_share=1, **changes)), rejected


def test_each_face_has_its_file_label_source_group_and_subset(extracted):
    _, faces, index, _ = extracted
    assert list(index.columns) == INDEX_COLUMNS
    assert len(index) == 4 * 3 * 4
    assert all((faces / path).is_file() for path in index["path"])
    assert index["path"].is_unique
    assert dict(index.groupby("class_name")["label"].first()) == {
        "youtube": 0, "Deepfakes": 1, "Face2Face": 1,
    }  # fmt: skip
    assert index.groupby("source")["file"].nunique().max() == 1
    assert index["source"].nunique() == 12
    # each pair of people is one group, with the fakes made of them
    assert index["group"].nunique() == 2
    assert index.groupby("group")["source"].nunique().tolist() == [6, 6]
    assert (index["medium"] == "video").all()
    assert index["crop_recipe_fingerprint"].nunique() == 1
    assert json.loads(index["crop_recipe"].iloc[0])["crop"]["size"] == 299


def test_files_and_frames_without_a_face_are_listed(extracted):
    *_, lost = extracted
    assert list(lost.columns) == LOST_COLUMNS
    whole = lost[lost["frame"].isna()]
    assert set(whole["file"].str[-7:]) == {"900.mp4", "901.mp4"}
    assert len(lost[lost["file"].str.endswith("901.mp4") & lost["frame"].notna()]) == 4
    assert lost["reason"].str.len().gt(0).all()


def test_the_same_again_is_the_same(extracted):
    videos, faces, index, lost = extracted
    again, lost_again = extract_faces(videos, faces, face_settings(), image_set())
    pd.testing.assert_frame_equal(again, index)
    pd.testing.assert_frame_equal(lost_again, lost)


def test_one_file_has_no_label(extracted, tmp_path):
    videos, *_ = extracted
    path = videos / "original_sequences/youtube/c23/videos/002.mp4"
    index, _ = extract_faces(path, tmp_path, face_settings(), image_set())
    assert index["file"].unique().tolist() == ["002.mp4"]
    assert index["label"].isna().all()
    with pytest.raises(UserError, match=r"data_preparation\.layout"):
        scan_faces(tmp_path, index, image_set())


def test_no_face_at_all_is_an_error(tmp_path):
    write_video(tmp_path / "videos/real/a.mp4", 4)
    classes = {"real": "real", "fake_deepfake": None, "fake_face2face": None}
    with pytest.raises(UserError, match="min_score"):
        extract_faces(
            tmp_path / "videos/real/a.mp4", tmp_path / "faces", face_settings(),
            image_set().model_copy(update={"classes": classes}),
        )  # fmt: skip


def test_tracks_of_labelled_fakes_need_labels_of_their_own(extracted, tmp_path):
    videos, *_ = extracted
    with pytest.raises(UserError, match="tracks"):
        extract_faces(videos, tmp_path, face_settings(tracks="all"), image_set())
    unlabelled = image_set(layout="unlabelled")
    index, _ = extract_faces(
        videos / "original_sequences", tmp_path, face_settings(tracks="all"), unlabelled
    )
    assert index["source"].str.endswith(".mp4#track_00").all()


def test_photographs_have_the_sources_of_images_and_videos_are_their_own(tmp_path):
    portrait = make_image(Source.read("main", 3), "real", 0, seed=0, size=160)[0]
    for name in ("real/0.png", "real/1.png", "real/2.png", "fake/0.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        portrait.save(tmp_path / "data" / name)
    clip = tmp_path / "data/fake/clip_1.mp4"
    write_video(clip, 2, pictures=[np.asarray(portrait)] * 2, size=(160, 160))
    rules = {
        "classes": {"real": "real", "fake": "fake"},
        "source": {"rule": "consecutive", "size": 2, "pattern": None},
    }
    index, _ = extract_faces(tmp_path / "data", tmp_path, face_settings(), image_set(**rules))
    assert index.groupby("file")["source"].first().to_dict() == {
        "real/0.png": "real/0", "real/1.png": "real/0", "real/2.png": "real/1",
        "fake/0.png": "fake/0", "fake/clip_1.mp4": "fake/clip_1.mp4",
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["class_folders", "table"])
def test_groups_by_a_rule_follow_the_parameter_without_a_new_extraction(tmp_path, layout):
    for number, name in enumerate(("real/000", "fake/000", "real/001", "fake/001")):
        portrait = make_image(Source.read("main", number), "real", 0, seed=0, size=160)[0]
        path = tmp_path / f"data/{name}.mp4"
        write_video(path, 1, pictures=[np.asarray(portrait)], size=(160, 160))
    rows = "".join(f"{kind}/00{n}.mp4,{kind}\n" for kind in ("real", "fake") for n in (0, 1))
    (tmp_path / "data/labels.csv").write_text("path,label\n" + rows)
    rules = {"layout": layout, "classes": {"real": "real", "fake": "fake"}}
    index, _ = extract_faces(tmp_path / "data", tmp_path, face_settings(), image_set(**rules))
    assert index["group"].nunique() == 4
    same = {"group": {"rule": "same_number", "pattern": None}}
    prepared, _ = prepare(tmp_path, index, **rules, **same)
    assert prepared.groupby("group")["source"].nunique().tolist() == [2, 2]


def test_names_that_tables_cannot_hold_are_lost_alone(tmp_path):
    portrait = make_image(Source.read("main", 3), "real", 0, seed=0, size=160)[0]
    (tmp_path / "data/real").mkdir(parents=True)
    portrait.save(tmp_path / "data/real/0.png")
    (tmp_path / "data/real" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    portrait.save(tmp_path / "data/0.png")
    unlabelled = image_set(layout="unlabelled")
    index, lost = extract_faces(tmp_path / "data", tmp_path, face_settings(), unlabelled)
    assert index["file"].tolist() == ["0.png", "real/0.png"]
    assert "UTF-8" in lost["reason"].item()
    index.to_parquet(tmp_path / "index.parquet")
    lost.to_csv(tmp_path / "lost.csv")


def test_a_single_file_is_read_without_its_folder(two_people, tmp_path, caplog):
    caplog.set_level("INFO")
    for number in range(3):
        (two_people / f"{number}.txt").touch()
    index, lost = extract_faces(two_people / "one.mp4", tmp_path, face_settings(), image_set())
    assert set(index["file"]) == {"one.mp4"}
    assert lost.empty
    assert ".txt" not in caplog.text


@pytest.fixture(scope="module")
def two_people(tmp_path_factory):
    """A clip of two people, the larger one being track 0, and a real clip of one."""
    folder = tmp_path_factory.mktemp("two_people")
    people = [make_image(Source.read("main", n), "real", 0, seed=0, size=200)[0] for n in (3, 4)]
    scene = Image.new("RGB", (480, 240), (120, 130, 140))
    scene.paste(people[0], (20, 20))
    scene.paste(people[1].resize((130, 130)), (300, 60))
    write_video(folder / "two.mp4", 3, pictures=[np.asarray(scene)] * 3, size=scene.size)
    write_video(folder / "one.mp4", 3, pictures=[np.asarray(people[1])] * 3, size=(200, 200))
    return folder


def extract_labelled(folder, faces, table, **changes):
    (folder / "labels.csv").write_text(table)
    return extract_faces(
        folder, faces, face_settings(**({"tracks": "all"} | changes)), image_set(layout="table")
    )


def test_a_table_labels_each_track(two_people, tmp_path):
    table = "path,track,label,group\ntwo.mp4,0,real,b\ntwo.mp4,1,fake,b\none.mp4,,real,a\n"
    index, lost = extract_labelled(two_people, tmp_path, table)
    assert lost.empty
    found = index.groupby(["file", "track"]).first()
    assert found["label"].to_dict() == {("one.mp4", 0): 0, ("two.mp4", 0): 0, ("two.mp4", 1): 1}
    assert found.loc["two.mp4", "source"].tolist() == ["two.mp4#track_00", "two.mp4#track_01"]
    assert found["group"].tolist() == ["a", "b", "b"]
    prepared, _ = prepare(tmp_path, index)
    assert prepared["label"].tolist() == index["label"].tolist()


def test_tracks_without_a_row_and_rows_without_a_track_are_lost(two_people, tmp_path):
    table = "path,track,label\ntwo.mp4,1,fake\ntwo.mp4,7,fake\none.mp4,0,real\n"
    index, lost = extract_labelled(two_people, tmp_path, table)
    assert set(zip(index["file"], index["track"], strict=True)) == {("two.mp4", 1), ("one.mp4", 0)}
    assert lost["file"].tolist() == ["two.mp4", "two.mp4"]
    assert lost["frame"].isna().all()
    assert "track 0 (3 faces)" in lost["reason"].iloc[0]
    assert "track 7" in lost["reason"].iloc[1]


@pytest.mark.parametrize(
    ("table", "tracks", "named"),
    [
        ("path,label\ntwo.mp4,fake\none.mp4,real\n", "all", "column track"),
        ("path,track,label\ntwo.mp4,0,fake\n", "largest", "face_extraction.tracks"),
        ("path,track,label\ntwo.mp4,0,fake\ntwo.mp4,,real\n", "all", "row 2"),
        ("path,track,label\ntwo.mp4,0,fake\ntwo.mp4,0,real\n", "all", "row 2"),
        ("path,track,label\ntwo.mp4,first,fake\n", "all", "first"),
    ],
)
def test_tables_of_tracks_that_do_not_fit(two_people, tmp_path, table, tracks, named):
    with pytest.raises(UserError, match=named):
        extract_labelled(two_people, tmp_path, table, tracks=tracks)


def test_pictures_alone_have_no_tracks(two_people):
    (two_people / "labels.csv").write_text("path,track,label\ntwo.mp4,0,fake\n")
    with pytest.raises(UserError, match=r"face_extraction\.tracks"):
        read_layout(two_people, image_set(layout="table"))


def test_the_index_of_faces_has_their_subsets_and_recipe(extracted):
    _, faces, face_index, _ = extracted
    index, rejected = prepare(faces, face_index)
    assert rejected.empty
    assert len(index) == len(face_index)
    columns = ["path", "class_name", "label", "source", "group", "official_subset"]
    assert index[columns].to_numpy().tolist() == face_index[columns].to_numpy().tolist()
    parameters = SplitParameters.model_validate({
        "method": "group", "ratios": {"train": 0.5, "validation": 0.5, "test": 0}, "seed": 0,
        "fold": None, "leave_out": None, "allow_shared_groups": False,
    })  # fmt: skip
    split = split_images(index, parameters)
    assert split.groupby("group")["subset"].nunique().max() == 1
    summary = summarise_split(split, index, parameters, image_set())
    assert summary["medium"] == "video"
    assert summary["crop_recipe"] == json.loads(face_index["crop_recipe"].iloc[0])


def test_classes_can_be_left_out_without_a_new_extraction(extracted):
    _, faces, face_index, _ = extracted
    options = image_set().layout_options.model_dump() | {"leave_out": ["Face2Face"]}
    index, _ = prepare(faces, face_index, layout_options=options)
    assert set(index["class_name"]) == {"youtube", "Deepfakes"}


def test_leaving_out_all_classes_is_an_error_and_an_absent_one_is_said(extracted, caplog):
    _, faces, face_index, _ = extracted
    caplog.set_level("INFO")
    options = image_set().layout_options.model_dump()
    prepare(faces, face_index, layout_options=options | {"leave_out": ["FaceSwap"]})
    assert "FaceSwap" in caplog.text
    everything = list(face_index["class_name"].unique())
    with pytest.raises(UserError, match="leave_out"):
        prepare(faces, face_index, layout_options=options | {"leave_out": everything})


def test_an_official_subset_can_be_chosen_without_a_new_extraction(extracted):
    _, faces, face_index, _ = extracted
    half = face_index.assign(official_subset=None)
    half.loc[half["group"] == half["group"].iloc[0], "official_subset"] = "test"
    options = image_set().layout_options.model_dump() | {"official_subset": "test"}
    index, _ = prepare(faces, half, layout_options=options)
    assert set(index["group"]) == {half["group"].iloc[0]}
    with pytest.raises(UserError, match="official_subset"):
        prepare(faces, face_index.assign(official_subset=None), layout_options=options)


def test_changed_crops_are_rejected(extracted, tmp_path):
    import shutil

    _, faces, face_index, _ = extracted
    copied = shutil.copytree(faces, tmp_path / "faces")
    first, second = face_index["path"].iloc[[0, 1]]
    Image.new("RGB", (299, 299)).save(copied / first)
    (copied / second).unlink()
    index, rejected = prepare(copied, face_index)
    assert rejected["path"].tolist() == [first, second]
    assert len(index) == len(face_index) - 2


def test_equalised_crops_keep_all_but_their_pixels(extracted, tmp_path):
    _, faces, face_index, _ = extracted
    alike = {"side": 64, "cut": 0.0, "quality": 90}
    write_equalised(faces, tmp_path, EqualiseParameters.model_validate(alike), 10**6)
    index, rejected = prepare(tmp_path, face_index, images="faces", equalise=alike)
    before, _ = prepare(faces, face_index)
    assert rejected.empty
    assert (index["width"] == 64).all()
    kept = ["path", "class_name", "label", "source", "group", "official_subset", "landmarks"]
    pd.testing.assert_frame_equal(index[kept], before[kept])
    with pytest.raises(ValidationError, match="margin"):
        image_set(images="faces", equalise=alike | {"cut": 0.1})


def test_two_recipes_are_not_mixed(extracted):
    _, faces, face_index, _ = extracted
    other = face_index.assign(crop_recipe_fingerprint="other")
    with pytest.raises(UserError, match="recipes"):
        scan_faces(faces, pd.concat([face_index, other]), image_set())


def test_the_contact_sheet_shows_each_class(extracted, tmp_path):
    _, faces, face_index, _ = extracted
    figure = draw_contact_sheet(face_index, faces)
    words = [text.get_text() for text in figure.texts]
    assert {"youtube", "Deepfakes", "Face2Face"} <= set(words)
    assert len(figure.axes) == len(face_index)
    figure.savefig(tmp_path / "sheet.png")


def test_the_contact_sheet_names_the_tracks_where_there_are_several(extracted):
    _, faces, face_index, _ = extracted
    second = face_index["frame"] == face_index["frame"].max()
    files = face_index["file"].str[-7:]
    figure = draw_contact_sheet(face_index.assign(track=second.astype(int), file=files), faces)
    words = {text.get_text() for text in figure.texts}
    assert words >= {f"{file}, {track}" for file in files for track in (0, 1)}


def test_losses_are_said(extracted, caplog):
    videos, faces, *_ = extracted
    with caplog.at_level(logging.INFO):
        extract_faces(videos, faces, face_settings(), image_set())
    assert "900.mp4" in caplog.text
    assert "48 faces" in caplog.text
