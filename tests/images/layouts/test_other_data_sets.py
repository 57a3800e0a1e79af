import json

import pytest
from layout_samples import put_tree, read, said

from deepfake_detection.errors import UserError

CELEB = [
    *(f"Celeb-real/id{identity}_0000.mp4" for identity in range(4)),
    "YouTube-real/00170.mp4", "YouTube-real/00171.mp4",
    "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0000.mp4",
    "Celeb-synthesis/id3_id2_0000.mp4",
]  # fmt: skip
TESTED = ["1 Celeb-real/id0_0000.mp4", "1 YouTube-real/00170.mp4",
          "0 Celeb-synthesis/id3_id2_0000.mp4"]  # fmt: skip


def celeb(folder, *more, lines=TESTED, ends="\n"):
    put_tree(folder, *CELEB, *more)
    (folder / "List_of_testing_videos.txt").write_bytes(ends.join(lines).encode())
    return folder


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_celeb_df_has_identities_and_a_list_in_which_1_means_real(tmp_path, ends):
    table = read(celeb(tmp_path, ends=ends))
    assert table.attrs["layout"] == "celeb_df"
    assert table["label"].to_dict() == {path: int("synthesis" in path) for path in CELEB}
    tested = {line.split()[1] for line in TESTED}
    assert table["official_subset"].to_dict() == {
        path: "test" if path in tested else "train" for path in CELEB
    }
    groups = table["group"]
    assert groups["Celeb-real/id0_0000.mp4"] == groups["Celeb-synthesis/id1_id0_0000.mp4"]
    assert groups["Celeb-real/id2_0000.mp4"] == groups["Celeb-synthesis/id3_id2_0000.mp4"]
    assert groups.nunique() == 4
    assert table.loc["Celeb-synthesis/id0_id1_0000.mp4", "source"] == "Celeb-synthesis/id0_id1_0000"
    # identities stand in train and test, which is said
    assert "2 of 4 groups" in said(table)
    assert "allow_shared_groups" in said(table)


def test_a_chain_of_identities_is_said_with_its_size(tmp_path):
    more = [f"Celeb-synthesis/id{one}_id{one + 1}_0000.mp4" for one in range(9)]
    notes = said(read(celeb(tmp_path, *more)))
    assert "chain" in notes
    assert "15 of 17" in notes


def test_celeb_df_crops_and_odd_cases_of_folders(tmp_path):
    files = [
        "Celeb-real/faces/id0_0000/000.png",
        "Youtube-real/frames/00170/3.png",
        "celeb-synthesis/faces/id0_id1_0000_017.png",
        "Celeb-real/landmarks/id0_0000/0.png",
    ]
    table = read(put_tree(tmp_path, *files, List_of_testing_videos__txt=TESTED[1]), videos=False)
    assert list(table["source"]) == [
        "Celeb-real/id0_0000",
        "YouTube-real/00170",
        "Celeb-synthesis/id0_id1_0000",
    ]
    assert list(table["official_subset"]) == ["train", "test", "train"]


def test_celeb_df_plus_has_a_class_for_each_method(tmp_path):
    files = [
        "Celeb-real/id0_0000.mp4",
        "Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4",
        "Celeb-synthesis/TalkingFace/FLOAT/id0_0000_id2.mp4",
        "Celeb-synthesis/FaceReenact/LIA/id3_id4_0001.mp4",
    ]
    lines = "0 Celeb-synthesis/FaceReenact/LIA/id3_id4_0001.mp4"
    table = read(put_tree(tmp_path, *files, List_of_testing_videos__txt=lines))
    assert set(table["class_name"]) == {"Celeb-real", "Celeb-DF", "FLOAT", "LIA"}
    assert (table["official_subset"] == "test").to_dict()[files[3]]
    assert table["group"].nunique() == 2


def test_a_wrong_line_of_the_list_is_named(tmp_path):
    with pytest.raises(UserError, match=r"List_of_testing_videos\.txt, line 2"):
        read(celeb(tmp_path / "one", lines=[TESTED[0], "Celeb-real/id1_0000.mp4"]))
    # its label is checked against the folder's
    table = read(celeb(tmp_path / "other", lines=["0 Celeb-real/id1_0000.mp4"]))
    assert table.index[table["reason"].notna()].to_list() == ["Celeb-real/id1_0000.mp4"]


DFDC = {
    "a.mp4": {"label": "REAL", "split": "train", "original": None},
    "b.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
    "c.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
    "d.mp4": {"label": "FAKE", "split": "train", "original": "gone.mp4"},
    "missing.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
}


def test_dfdc_groups_an_original_with_its_fakes(tmp_path):
    part = tmp_path / "dfdc_train_part_0"
    put_tree(part, *(f"{name}.mp4" for name in "abcdx"), metadata__json=json.dumps(DFDC))
    test = tmp_path / "test"
    labels = "\ufefffilename,label\r\ne.mp4,1\r\nf.mp4,0\r\n"
    put_tree(test, "e.mp4", "f.mp4", labels__csv=labels)
    table = read(tmp_path)
    assert table.attrs["layout"] == "dfdc"
    table.index = table.index.str.rpartition("/").get_level_values(2).str[0]
    assert table["label"].to_dict() == {"a": 0, "b": 1, "c": 1, "d": 1, "x": None, "e": 1, "f": 0}
    groups = table["group"]
    assert groups["a"] == groups["b"] == groups["c"]
    assert groups.drop("x").nunique() == 4
    assert "metadata.json" in table.loc["x", "reason"]
    assert table["official_subset"].drop("x").to_dict() == {
        **dict.fromkeys("abcd", "train"),
        "e": "test",
        "f": "test",
    }
    assert "missing" in said(table)


def test_dfdc_crops_and_a_metadata_file_for_all(tmp_path):
    files = ["faces/a/0.png", "faces/a/1.png", "part/b/0.png"]
    table = read(put_tree(tmp_path, *files, metadata__json=json.dumps(DFDC)), videos=False)
    assert list(table["source"]) == ["real/a", "real/a", "fake/b"]
    assert table["group"].nunique() == 1


@pytest.mark.parametrize("text", ["[", "[1]", '{"a.mp4": 1}', '{"a.mp4": {"label": "MAYBE"}}'])
def test_metadata_that_is_none_is_an_error(tmp_path, text):
    put_tree(tmp_path, "a.mp4", metadata__json=text)
    with pytest.raises(UserError, match=r"metadata\.json"):
        read(tmp_path, "dfdc")


DEEPER = [
    "source_videos/W006/light_up/sad/camera_up/W006_light_up_sad_camera_up.mp4",
    "source_videos/M010/BlendShape/camera_up/M010_BlendShape_camera_up.mp4",
    "manipulated_videos/end_to_end/010_W006.mp4",
    "manipulated_videos/end_to_end_level_3/010_W006.mp4",
    "manipulated_videos/end_to_end/200_M010.mp4",
    "target_videos/010.mp4",
]


def test_deeperforensics_joins_target_and_actor(tmp_path):
    put_tree(tmp_path, *DEEPER)
    put_tree(
        tmp_path / "lists/splits",
        train__txt="010_W006.mp4\r\n999_W999.mp4\r\n",
        val__txt="",
        test__txt="200_M010.mp4\n",
    )
    table = read(tmp_path)
    assert table.attrs["layout"] == "deeperforensics"
    assert list(table.loc[DEEPER, "label"]) == [0, 0, 1, 1, 1, 0]
    subsets = ["train", "test", "train", "train", "test", "train"]
    assert list(table.loc[DEEPER, "official_subset"]) == subsets
    groups = table.loc[DEEPER, "group"]
    assert groups.iloc[0] == groups.iloc[2] == groups.iloc[3] == groups.iloc[5]
    assert groups.iloc[1] == groups.iloc[4] != groups.iloc[0]
    assert table["source"].is_unique
    assert "999_W999" in said(table)


def test_wilddeepfake_has_sequences_and_official_folders(tmp_path):
    files = [
        "fake_train/1/fake/131/942.png",
        "fake_train/1/fake/131/943.png",
        "fake_train/1/fake/132/1.png",
        "real_train/2/real/131/1.png",
        "fake_test/1/fake/131/942.png",
        "real test/5/real/0/1.png",
        "real_train/7.tar.gz",
    ]
    table = read(put_tree(tmp_path, *files), videos=False)
    assert table.attrs["layout"] == "wilddeepfake"
    assert len(table) == len(files) - 1
    assert table["source"].nunique() == 5
    assert table["group"].nunique() == 4
    assert (table.groupby("group")["official_subset"].nunique() == 1).all()
    assert table.loc["real test/5/real/0/1.png", ["label", "official_subset"]].to_list() == [
        0, "test"
    ]  # fmt: skip
    assert "tar.gz" in said(table)


def test_wilddeepfake_sequences_without_their_number_are_not_taken(tmp_path):
    files = ["fake_train/fake/131/0.png", "fake_train/1/fake/131/0.png", "real_test/2/real/0/0.png"]
    table = read(put_tree(tmp_path, *files), videos=False)
    assert table["label"].isna().to_dict() == {files[0]: True, files[1]: False, files[2]: False}
