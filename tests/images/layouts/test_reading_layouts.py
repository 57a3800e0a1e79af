import re
from pathlib import Path

import pandas as pd
import pytest
from layout_samples import CLASSES, put_tree, read, said

from deepfake_detection.errors import UserError
from deepfake_detection.images.layouts import LAYOUTS, FileRow, Layout
from deepfake_detection.images.scanning import find_files


def test_class_folders_are_what_find_files_finds(tmp_path):
    # folders of other layouts beside them change nothing
    put_tree(tmp_path, "real/1.png", "real/10.png", "real/2.mp4", "loose.png",
             "fake_deepfake/train/real/0.png", "fake_face2face/0.png")  # fmt: skip
    table = read(tmp_path)
    assert table.attrs["layout"] == "class_folders"
    found = find_files(tmp_path, CLASSES)
    assert list(zip(table.index, table["class_name"], strict=True)) == found
    assert table.loc["real/2.mp4", "medium"] == "video"
    assert table.loc["real/1.png", "medium"] is None
    assert table[["source", "group", "official_subset"]].isna().all(axis=None)


def test_an_unknown_folder_is_an_error_as_before(tmp_path):
    put_tree(tmp_path, "pictures/0.png")
    with pytest.raises(UserError, match=r"'real'.*'pictures'.*'classes'"):
        read(tmp_path, videos=False)
    with pytest.raises(UserError, match="unlabelled"):
        read(tmp_path)


def test_an_unknown_layout_names_the_closest(tmp_path):
    with pytest.raises(UserError, match=r"layout.*'faceforensic'.*'faceforensics'"):
        read(tmp_path, "faceforensic")
    with pytest.raises(UserError, match=r"wilddeepfake"):
        read(tmp_path, "nothing_like_it")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "unlabelled"])
def test_each_layout_names_an_empty_folder(tmp_path, layout):
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError) as caught:
        read(tmp_path, layout)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("Train", "Validation", "TEST"), ("training", "val",)]
)  # fmt: skip
def test_subset_folders_have_the_usual_names_in_any_case(tmp_path, names):
    files = [f"{name}/{label}/{number}.png"
             for name in names for label in ("Real", "fake") for number in (1, 10, 2)]  # fmt: skip
    table = read(put_tree(tmp_path, *files, "loose.png"), videos=False)
    assert table.attrs["layout"] == "subset_folders"
    assert set(table.index) == {*files, "loose.png"}
    assert table.loc["loose.png", "reason"] is not None
    of = table.loc[f"{names[1]}/Real/10.png"]
    assert list(of[["class_name", "label", "official_subset", "folder"]]) == [
        "real", 0, "validation", f"{names[1]}/Real"
    ]  # fmt: skip
    assert of["source"] is of["group"] is None


def test_subset_folders_take_a_mapping_and_classes(tmp_path):
    put_tree(tmp_path, "A/photos/0.png", "A/fake_deepfake/0.png", "B/photos/1.png", "B/gan/1.png")
    with pytest.raises(UserError, match=r"'A'.*folder_names"):
        read(tmp_path, "subset_folders")
    names = {"A": "train", "B": "test", "photos": "real"}
    with pytest.raises(UserError, match=r"'B/gan'.*folder_names"):
        read(tmp_path, "subset_folders", folder_names=names)
    table = read(tmp_path, folder_names=names | {"gan": "fake"})
    assert table["class_name"].to_dict() == {
        "A/photos/0.png": "photos", "A/fake_deepfake/0.png": "fake_deepfake",
        "B/photos/1.png": "photos", "B/gan/1.png": "gan",
    }  # fmt: skip
    assert list(table["official_subset"]) == ["train", "train", "test", "test"]


ROWS = [
    ("path", "label", "source", "group", "subset"),
    ("a/0.png", "fake", "v1", "anna", "train"),
    ("a/1.png", "REAL", "v2", "anna", "Val"),
    ("b/clip.mp4", "1", "", "", ""),
    ("b/frames", "0", "v4", "ben", "test"),
    ("gone.png", "0", "v5", "ben", "test"),
]
TABLED = ["a/0.png", "a/1.png", "b/clip.mp4", "b/frames/0.png", "b/frames/1.png"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_tables_of_any_separator_mark_and_line_ends(tmp_path, separator, encoding, ends):
    put_tree(tmp_path, *TABLED, "a/unknown.png")
    text = ends.join(separator.join(row) for row in ROWS)
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    check_table(read(tmp_path))


def test_tables_in_parquet_and_elsewhere(tmp_path):
    put_tree(tmp_path / "data", *TABLED, "a/unknown.png")
    frame = pd.DataFrame(ROWS[1:], columns=[name.upper() for name in ROWS[0]])
    frame["PATH"] = frame["PATH"].str.replace("/", "\\")
    frame.to_parquet(tmp_path / "labels.parquet")
    check_table(read(tmp_path / "data", table=str(tmp_path / "labels.parquet")))
    frame.to_parquet(tmp_path / "data/labels.parquet")
    check_table(read(tmp_path / "data"))


def check_table(table):
    assert table.attrs["layout"] == "table"
    assert table["label"].to_dict() == {
        "a/0.png": 1, "a/1.png": 0, "a/unknown.png": None, "b/clip.mp4": 1, "b/frames/0.png": 0,
        "b/frames/1.png": 0,
    }  # fmt: skip
    assert "labels." in table.loc["a/unknown.png", "reason"]
    assert list(table.loc["a/0.png", ["class_name", "source", "group", "official_subset"]]) == [
        "fake", "fake/v1", "anna", "train"
    ]  # fmt: skip
    assert table.loc["a/1.png", "official_subset"] == "validation"
    assert table.loc["b/clip.mp4", ["source", "group", "official_subset"]].isna().all()
    assert table.loc["b/clip.mp4", "medium"] == "video"
    assert table.loc["b/frames/1.png", "group"] == "ben"
    assert "gone.png" in said(table)


def test_a_table_of_classes_takes_their_labels_from_the_parameters(tmp_path):
    text = "file,class\n0.png,real\n1.png,fake_deepfake\n2.png,odd\n"
    put_tree(tmp_path, "0.png", "1.png", "2.png", t__csv=text)
    with pytest.raises(UserError, match=r"row 3.*'odd'.*'classes'"):
        read(tmp_path)
    table = read(tmp_path, classes=CLASSES | {"odd": None})
    assert table["class_name"].to_dict() == {"0.png": "real", "1.png": "fake_deepfake"}
    assert list(table["label"]) == [0, 1]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("path,label\n0.png,maybe\n", "maybe"),
        ("path,label\n0.png,1\n0.png,1\n", "twice"),
        ("path,label,subset\n0.png,1,sometimes\n", "sometimes"),
        ("path,label\nelsewhere.png,1\n", "elsewhere.png"),
        ("name,score\n0.png,1\n", "label or class"),
        ("path,label\n", "rows"),
        ("path,label\n\xff", "t.csv|path"),
    ],
)
def test_a_table_that_does_not_fit_is_named(tmp_path, text, named):
    put_tree(tmp_path, "0.png", t__csv=text)
    with pytest.raises(UserError, match=named):
        read(tmp_path, "table", table="t.csv")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("path,label,class\n0.png,1,real\n", "row 1.*real"),
        ("path,label,class\n0.png,0,fake_deepfake\n", "row 1.*fake_deepfake"),
        ("path,label,class\n0.png,1,celeb\n1.png,0,celeb\n", "row 2.*celeb"),
    ],
)
def test_a_label_that_contradicts_its_class_is_named(tmp_path, text, named):
    put_tree(tmp_path, "0.png", "1.png", labels__csv=text)
    with pytest.raises(UserError, match=named):
        read(tmp_path, "table")


def test_equal_sources_of_two_classes_are_one_group(tmp_path):
    text = "path,label,source,group\n0.png,0,anna,\n1.png,1,anna,\n2.png,1,anna,other\n"
    table = read(put_tree(tmp_path, "0.png", "1.png", "2.png", labels__csv=text), "table")
    assert table["source"].to_list() == ["real/anna", "fake/anna", "fake/anna"]
    assert table["group"].to_list() == ["anna", "anna", "other"]


def test_classes_with_null_are_left_out_of_subset_folders_and_tables(tmp_path):
    classes = {"real": "real", "fake": "fake", "deepfakes": None}
    put_tree(tmp_path / "tree", *(f"train/{name}/0.png" for name in classes))
    table = read(tmp_path / "tree", "subset_folders", classes=classes)
    assert set(table["class_name"]) == {"real", "fake"}
    assert "deepfakes" in said(table)
    text = "path,class\n0.png,real\n1.png,deepfakes\n"
    put_tree(tmp_path / "table", "0.png", "1.png", labels__csv=text)
    table = read(tmp_path / "table", "table", classes=classes)
    assert set(table["class_name"]) == {"real"}
    assert "deepfakes" in said(table)


def test_absolute_paths_through_a_link_are_of_the_folder(tmp_path):
    put_tree(tmp_path / "real", "0.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    put_tree(tmp_path / "real", labels__csv=f"path,label\n{tmp_path / 'link' / '0.png'},1\n")
    assert read(tmp_path / "real", "table")["label"].to_dict() == {"0.png": 1}


def test_two_tables_need_a_name(tmp_path):
    text = "path,label\n0.png,1\n"
    put_tree(tmp_path, "0.png", a__csv=text, b__csv=text)
    with pytest.raises(UserError, match=r"a\.csv, b\.csv.*layout_options\.table"):
        read(tmp_path, "table")
    assert len(read(tmp_path, table="b.csv")) == 1
    with pytest.raises(UserError, match=r"layout_options\.table"):
        read(tmp_path, table="c.csv")


def test_files_without_labels_are_for_face_extraction_alone(tmp_path):
    put_tree(tmp_path, "clip.MP4", "deep/photo.jpg", "notes.txt", ".hidden")
    table = read(tmp_path, "unlabelled")
    assert list(table.index) == ["clip.MP4", "deep/photo.jpg"]
    assert table["label"].isna().all()
    assert list(table["medium"]) == ["video", None]
    with pytest.raises(UserError, match="unlabelled"):
        read(tmp_path, "unlabelled", videos=False)


def test_the_documented_layout_of_ones_own_works(tmp_path, monkeypatch):
    document = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(class NamedClips.*?)```", document, re.DOTALL)
    names = {"Layout": Layout, "FileRow": FileRow}
    exec(program, names)  # noqa: S102
    monkeypatch.setitem(LAYOUTS, "named_clips", names["NamedClips"])
    put_tree(tmp_path, "clips/anna_fake_3.mp4", "clips/anna_real_1.mp4", "clips/bob_real_1.mp4")
    table = read(tmp_path)
    assert table.attrs["layout"] == "named_clips"
    assert table["label"].to_list() == [1, 0, 0]
    assert table["group"].to_list() == ["anna", "anna", "bob"]
    assert table["source"].is_unique
