import json
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_samples import put_tree, read, said
from picture_samples import make_image_set

from deepfake_detection.errors import UserError
from deepfake_detection.images.layouts.registry import LAYOUTS
from deepfake_detection.images.layouts.related import join_related

PAIRS = {"train": [["000", "003"]], "val": [["001", "002"]], "test": [["004", "005"]]}
NUMBERS = [f"{number:03d}" for number in range(6)]
FAKES = [f"{one}_{other}" for pairs in PAIRS.values() for p in pairs for one, other in (p, p[::-1])]
METHODS = ["Deepfakes", "Face2Face", "FaceShifter"]


def lists(**changes):
    return {f"{name}__json": json.dumps(pairs) for name, pairs in (PAIRS | changes).items()}


def paths(compression="c23", below="videos/{}.mp4"):
    return [
        *(f"original_sequences/youtube/{compression}/{below.format(name)}" for name in NUMBERS),
        *(
            f"manipulated_sequences/{method}/{compression}/{below.format(name)}"
            for method in METHODS
            for name in FAKES
        ),
    ]


def dfd(compression="c23"):
    return [
        f"original_sequences/actors/{compression}/videos/01__exit_phone_room.mp4",
        f"original_sequences/actors/{compression}/videos/07__kitchen_pan.mp4",
        f"manipulated_sequences/DeepFakeDetection/{compression}/videos/"
        "01_02__exit_phone_room__YVGY8LOK.mp4",
        f"manipulated_sequences/DeepFakeDetection/{compression}/videos/"
        "02_09__outside_talking_still_laughing__ABCD1234.mp4",
    ]


def test_videos_have_labels_sources_groups_and_subsets(tmp_path):
    put_tree(tmp_path, *paths(), "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4",
             "conversion_dict.json", "manipulated_sequences/Deepfakes/c23/masks/000_003/0.png",
             **lists())  # fmt: skip
    table = read(tmp_path)
    assert table.attrs["layout"] == "faceforensics"
    assert sorted(table.index) == sorted(paths())
    assert table["reason"].isna().all()
    assert set(table["medium"]) == {"video"}
    fake = table.loc["manipulated_sequences/Face2Face/c23/videos/003_000.mp4"]
    assert list(fake[["class_name", "label", "source"]]) == ["Face2Face", 1, "Face2Face/003_000"]
    real = table.loc["original_sequences/youtube/c23/videos/000.mp4"]
    assert list(real[["class_name", "label", "source"]]) == ["youtube", 0, "youtube/000"]
    assert real["group"] == fake["group"]
    assert real["official_subset"] == fake["official_subset"] == "train"
    # four manipulations of one video are four sources
    assert table["source"].is_unique
    assert table["group"].nunique() == 3
    subsets = table.groupby("official_subset").size().to_dict()
    assert subsets == dict.fromkeys(("train", "validation", "test"), 2 + 2 * len(METHODS))
    notes = said(table)
    assert "6 of 1,000 youtube" in notes
    assert "NeuralTextures" in notes


@pytest.mark.parametrize(
    "below", ["faces/{}/0000.png", "images/{}/0000.png", "{}/0000.png", "frames/{}_0000.png",
              "faces/{}.mp4/17.png"]
)  # fmt: skip
def test_crops_and_frames_are_of_their_videos(tmp_path, below):
    files = paths(below=below)
    table = read(put_tree(tmp_path, *files, **lists()), videos=False)
    assert sorted(table.index) == sorted(files)
    videos = {f"youtube/{name}" for name in NUMBERS}
    videos |= {f"{method}/{name}" for method in METHODS for name in FAKES}
    assert set(table["source"]) == videos


def test_lists_may_lie_elsewhere(tmp_path):
    put_tree(tmp_path / "data", *paths())
    assert read(tmp_path / "data")["official_subset"].isna().all()
    for place in ("data/splits", "data/dataset/splits"):
        put_tree(tmp_path / place, **lists())
        assert read(tmp_path / "data")["official_subset"].notna().all()
        for path in (tmp_path / place).iterdir():
            path.unlink()
    put_tree(tmp_path / "lists", **lists())
    table = read(tmp_path / "data", lists=str(tmp_path / "lists"))
    assert table["official_subset"].notna().all()
    with pytest.raises(UserError, match=r"layout_options\.lists"):
        read(tmp_path / "data", lists=str(tmp_path / "nowhere"))


def test_a_missing_and_an_extra_video_are_said(tmp_path):
    extra = "original_sequences/youtube/c23/videos/777.mp4"
    torn = "manipulated_sequences/Deepfakes/c23/videos/000_001.mp4"
    files = [path for path in paths() if not path.endswith("/005.mp4")]
    table = read(put_tree(tmp_path, *files, extra, torn, **lists()))
    assert table.loc[extra, "official_subset"] is None
    assert table.loc[torn, "official_subset"] is None
    assert table.drop([extra, torn])["official_subset"].notna().all()
    notes = said(table)
    assert "005" in notes
    assert "777" in notes
    assert "000_001" in notes


@pytest.mark.parametrize("text", ["[", "{}", '{"000": 1}', "[[0, 3]]", '[["0", "3"]]', "7"])
def test_a_list_that_is_none_names_the_file(tmp_path, text):
    put_tree(tmp_path, *paths(), **lists())
    (tmp_path / "val.json").write_text(text)
    if text == "{}":
        assert read(tmp_path) is not None
        return
    with pytest.raises(UserError, match=r"val\.json"):
        read(tmp_path)


def test_lists_may_have_a_byte_order_mark_and_contradict_each_other(tmp_path):
    put_tree(tmp_path, *paths(), **lists())
    text = json.dumps(PAIRS["val"], indent=1).replace("\n", "\r\n")
    (tmp_path / "val.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert (read(tmp_path)["official_subset"] == "validation").sum() == 2 + 2 * len(METHODS)
    put_tree(tmp_path, **lists(val=[["000", "001"]]))
    with pytest.raises(UserError, match="000"):
        read(tmp_path)


def test_compressions_are_not_mixed(tmp_path):
    put_tree(tmp_path, *paths("c23"), *paths("c40"))
    with pytest.raises(UserError, match=r"c23.*c40.*layout_options\.compression"):
        read(tmp_path)
    table = read(tmp_path, compression="c40")
    assert sorted(table.index) == sorted(paths("c40"))
    with pytest.raises(UserError, match=r"compression.*raw"):
        read(tmp_path, compression="raw")


def test_actors_are_joined_over_their_fakes(tmp_path):
    put_tree(tmp_path, *dfd())
    table = read(tmp_path)
    assert table.attrs["layout"] == "faceforensics_dfd"
    groups = table["group"]
    first, alone, fake, other = (groups[path] for path in dfd())
    assert first == fake == other != alone
    assert list(table["label"][dfd()]) == [0, 0, 1, 1]
    assert table.loc[dfd()[3], "source"] == (
        "DeepFakeDetection/02_09__outside_talking_still_laughing__ABCD1234"
    )
    assert "no official split" in said(table)


def test_a_tree_of_both_is_read_as_one_the_other_or_both(tmp_path):
    put_tree(tmp_path, *paths(), *dfd(), **lists())
    assert read(tmp_path).attrs["layout"] == "faceforensics_and_dfd"
    assert sorted(read(tmp_path).index) == sorted([*paths(), *dfd()])
    assert sorted(read(tmp_path, "faceforensics").index) == sorted(paths())
    only = read(tmp_path, "faceforensics_dfd")
    assert sorted(only.index) == sorted(dfd())
    assert "youtube" in said(only)


def test_the_flat_tree_of_others_is_read_too(tmp_path):
    flat = [path.replace("original_sequences/youtube/c23/videos", "original")
            .replace("manipulated_sequences/", "").replace("c23/videos/", "")
            for path in paths()]  # fmt: skip
    table = read(put_tree(tmp_path, *flat, "csv/Deepfakes.csv", **lists()))
    assert table.attrs["layout"] == "faceforensics"
    assert sorted(table.index) == sorted(flat)
    assert set(table["class_name"]) == {"youtube", *METHODS}


def test_originals_may_lie_in_a_folder_named_after_youtube(tmp_path):
    files = ["youtube/c23/videos/000.mp4", "Deepfakes/c23/videos/000_003.mp4"]
    assert read(put_tree(tmp_path, *files))["label"].to_dict() == {files[0]: 0, files[1]: 1}


def test_given_lists_have_to_be_there_and_some_may_be_missing(tmp_path):
    put_tree(tmp_path / "data", *paths())
    put_tree(tmp_path / "lists", "notes.txt")
    with pytest.raises(UserError, match=r"layout_options\.lists.*train\.json"):
        read(tmp_path / "data", lists=str(tmp_path / "lists"))
    put_tree(tmp_path / "lists", train__json=lists()["train__json"])
    assert "val.json, test.json" in said(read(tmp_path / "data", lists=str(tmp_path / "lists")))


def test_trees_of_shorter_names_are_read_too(tmp_path):
    files = ["original/youtube/c40/videos/000.mp4",
             "original/actors/c40/videos/01__kitchen_pan.mp4",
             "manipulate/Deepfakes/c40/videos/000_003.mp4", "result/000_003.mp4"]  # fmt: skip
    table = read(put_tree(tmp_path, *files))
    assert table.attrs["layout"] == "faceforensics_and_dfd"
    assert table["class_name"].to_dict() == dict(zip(files, ["youtube", "actors", "Deepfakes", ""],
                                                     strict=True))  # fmt: skip
    assert table["group"].iloc[0] == table["group"].iloc[2] != table["group"].iloc[1]


@pytest.mark.parametrize(
    "files", [["original/0.png", "fake/0.png"], ["original_x/0.png", "Deepfakes/0.png"]]
)
def test_other_folders_named_original_are_no_faceforensics(tmp_path, files):
    put_tree(tmp_path, *files)
    assert not any(
        LAYOUTS[name].recognises(tmp_path, make_image_set({"real": "real", "fake": "fake"}))
        for name in ("faceforensics", "faceforensics_dfd", "faceforensics_and_dfd")
    )


def test_videos_and_their_crops_side_by_side(tmp_path):
    crops = paths(below="faces/{}/0.png")
    put_tree(tmp_path, *paths(), *crops, *paths(below="frames/{}/0.png"))
    assert sorted(read(tmp_path).index) == sorted(paths())
    pictures = read(tmp_path, videos=False)
    assert sorted(pictures.index) == sorted(crops)
    assert "frames" in said(pictures)
    put_tree(tmp_path / "only", *paths())
    with pytest.raises(UserError, match="face_extraction"):
        read(tmp_path / "only", videos=False)


def test_other_files_have_a_reason(tmp_path):
    strange = ["original_sequences/youtube/c23/videos/holiday.mp4", "notes/0.mp4",
               "manipulated_sequences/Deepfakes/c23/videos/000.mp4"]  # fmt: skip
    table = read(put_tree(tmp_path, *paths(), *strange))
    assert set(table.index[table["reason"].notna()]) == set(strange)
    assert table.loc[strange, "label"].isna().all()


def test_classes_are_left_out(tmp_path):
    put_tree(tmp_path, *paths())
    assert "FaceShifter" not in set(read(tmp_path, leave_out=["FaceShifter"])["class_name"])
    # one that is published may be left out whether it is there or not
    assert len(read(tmp_path, leave_out=["NeuralTextures"])) == len(paths())
    with pytest.raises(UserError, match=r"leave_out.*'FaceShift'.*Deepfakes"):
        read(tmp_path, leave_out=["FaceShift"])


def test_one_official_subset_can_be_read_alone(tmp_path):
    put_tree(tmp_path, *paths(), "notes.mp4", **lists())
    table = read(tmp_path, official_subset="test")
    assert set(table.dropna(subset="label")["official_subset"]) == {"test"}
    assert table["label"].notna().sum() == 2 + 2 * len(METHODS)
    assert table.loc["notes.mp4", "reason"]
    for path in tmp_path.glob("*.json"):
        path.unlink()
    with pytest.raises(UserError, match="official_subset"):
        read(tmp_path, official_subset="test")


names = st.integers(0, 25).map(lambda number: f"{number:03d}")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(names, min_size=1, max_size=3).map(tuple), min_size=1, max_size=40))
def test_groups_are_the_connected_components(related):
    groups = join_related(related)
    # joined naively, until nothing changes
    components = []
    for each in related:
        touched = [one for one in components if one & set(each)]
        components = [one for one in components if one not in touched]
        components.append(set(each).union(*touched))
    of_name = {name: number for number, one in enumerate(components) for name in one}
    for (one, one_group), (other, other_group) in combinations(
        zip(related, groups, strict=True), 2
    ):
        assert (one_group == other_group) == (of_name[one[0]] == of_name[other[0]])
    assert all(group.startswith(min(components[of_name[each[0]]]))
               for each, group in zip(related, groups, strict=True))  # fmt: skip
