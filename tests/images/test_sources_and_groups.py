import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_detection.errors import UserError
from deepfake_detection.images.sources_and_groups import name_groups, name_sources
from deepfake_detection.parameters import GroupRule, SourceRule


def sources_of(names, rule="consecutive", size=5, pattern=None, unreadable=()):
    """Sources by path; files are given by class folder, in natural order."""
    files = [(f"{folder}/{name}", folder) for folder, inside in names.items() for name in inside]
    paths, folders = (pd.Series(column, dtype=object) for column in zip(*files, strict=True))
    rule_of_sources = SourceRule(rule=rule, size=size, pattern=pattern)
    sources = name_sources(paths, folders, ~paths.isin(unreadable), rule_of_sources)
    return dict(zip(paths, sources.astype(object).where(sources.notna(), None), strict=True))


def groups_of(images, rule="source", pattern=None):
    """Groups of images given as (path, source, hash); the class is the first folder."""
    paths, sources, hashes = (pd.Series(each, dtype=object) for each in zip(*images, strict=True))
    folders = paths.str.split("/").str[0]
    return list(name_groups(paths, sources, hashes, folders, GroupRule(rule=rule, pattern=pattern)))


def numbered(numbers, prefix=""):
    return [f"{prefix}{number}.png" for number in numbers]


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.integers(1, 300)),
    st.integers(1, 9),
    st.sampled_from(["", "frame_", "a/b/img"]),
    st.sampled_from([0, 1, 1000]),
    st.sampled_from(["{}", "{:05d}"]),
)
def test_numbers_decide_where_files_are_missing(missing, size, prefix, first, form):
    numbers = [0, *(number for number in range(301) if number not in missing)]
    names = {n: f"real/{prefix}{form.format(n + first)}.png" for n in dict.fromkeys(numbers)}
    sources = sources_of({"real": [name[5:] for name in names.values()]}, size=size)
    assert sources == {name: f"real/{n // size}" for n, name in names.items()}


@pytest.mark.parametrize("names", ["0123456789", "abcdefghij"])
@pytest.mark.parametrize("unreadable", ["", "0a", "3d", "34de"])
def test_an_unreadable_image_keeps_its_place(names, unreadable):
    lost = [f"real/{name}.png" for name in unreadable]
    sources = sources_of({"real": [f"{name}.png" for name in names]}, unreadable=lost)
    assert list(sources.values()) == ["real/0"] * 5 + ["real/1"] * 5


def test_a_stray_file_does_not_change_how_images_are_counted():
    stray = ("real/notes.txt", "real/list2.csv")
    names = ["list2.csv", "notes.txt", *numbered([0, 1, 2, 7, 8, 12])]
    found = list(sources_of({"real": names}, unreadable=stray).values())
    assert found[1:] == [None, *["real/0"] * 3, *["real/1"] * 2, "real/2"]


@pytest.mark.parametrize(
    "names",
    [
        ["anna.png", "ben.png", "cleo.png", "dora.png"],
        ["left_1.png", "left_9.png", "right_1.png", "right_2.png"],
        ["a_1.png", "b.png", "c_7.png", "d.png"],
        ["1.jpg", "1.png", "5.jpg", "5.png"],
        ["01.png", "1.png", "7.png", "07.png"],
    ],
)
def test_without_one_row_of_numbers_natural_order_counts(names):
    assert list(sources_of({"real": names}, size=2).values()) == ["real/0"] * 2 + ["real/1"] * 2


def test_sources_end_with_a_folder_where_numbers_start_again(caplog):
    numbers = {"vid1/": range(7), "vid2/": range(3), "vid10/": [0, 9]}
    names = [name for folder, each in numbers.items() for name in numbered(each, folder)]
    sources = list(sources_of({"real": names, "fake": numbered(range(7))}).values())
    expected = ["vid1/0"] * 5 + ["vid1/1"] * 2 + ["vid2/0"] * 3 + ["vid10/0", "vid10/1"]
    assert sources[:12] == [f"real/{name}" for name in expected]
    assert sources[-1] == "fake/1"
    assert len(caplog.records) == 1
    # numbers that go on from folder to folder count through
    through = sources_of({"real": [*numbered(range(4), "a/"), *numbered(range(4, 8), "b/")]})
    assert list(through.values()) == ["real/0"] * 5 + ["real/1"] * 3


def test_every_image_is_its_own_source_by_the_image_rule_or_with_size_one():
    names = ["a/0.png", "b/0.png", "0.png"]
    sources = sources_of({"real": names, "fake": names}, rule="image")
    assert all(source == path for path, source in sources.items())
    for names in (numbered([4, 5, 9]), ["x.png", "y.png", "z.png"]):
        assert len(set(sources_of({"real": names}, size=1).values())) == 3


def test_a_pattern_catches_the_source_inside_the_class_folder():
    names = ["vid3/0.png", "vid3/1.png", "vid12/0.png"]
    sources = sources_of({"vid1": names, "fake": names}, rule="pattern", pattern=r"vid(\d+)/")
    assert list(sources.values()) == ["vid1/3", "vid1/3", "vid1/12", "fake/3", "fake/3", "fake/12"]
    # an unreadable file need not match
    names = {"real": ["7_1.png", "notes.txt"]}
    sources = sources_of(names, "pattern", 5, r"^(\d+)_", unreadable=("real/notes.txt",))
    assert sources == {"real/7_1.png": "real/7", "real/notes.txt": None}


@pytest.mark.parametrize("pattern", [r"^(\d+)_", r"^(\d*)", r"(?:(\d+)|x)_"])
def test_a_file_without_a_match_is_an_error_that_names_it(pattern):
    with pytest.raises(UserError, match=r"'source\.pattern'.*'x_1\.png'.*2"):
        sources_of({"real": ["7_1.png", "x_1.png", "x_2.png"]}, rule="pattern", pattern=pattern)
    images = [(f"real/{name}", "real/0", name) for name in ("7_1.png", "x_1.png", "x_2.png")]
    with pytest.raises(UserError, match=r"'group\.pattern'.*'x_1\.png'"):
        groups_of(images, "pattern", pattern)


IMAGES = [
    ("real/0.png", "real/0", "h0"), ("real/5.png", "real/1", "h1"),
    ("fake/0.png", "fake/0", "h2"), ("fake/9.png", "fake/1", "h3"),
    ("fake/99.png", "fake/19", "h4"),
]  # fmt: skip


def test_groups_follow_the_rule():
    assert groups_of(IMAGES) == [source for _, source, _ in IMAGES]
    assert groups_of(IMAGES, "same_number") == ["0", "1", "0", "1", "19"]
    # identical files join their groups
    *others, last, copy = groups_of([*IMAGES, ("fake/100.png", "fake/20", "h4")], "same_number")
    assert others == ["0", "1", "0", "1"]
    assert last == copy
    files = ["real/033/1.png", "fake/033_097/1.png", "fake/097/1.png"]
    images = [(path, f"{path[:4]}/0", path) for path in files]
    assert groups_of(images, "pattern", r"^(\d+)") == ["033", "033", "097"]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 20)), min_size=1, max_size=40))
def test_groups_are_joined_exactly_where_a_chain_of_copies_links_them(images):
    rows = [(f"c/{i}", f"c/{source}", str(file)) for i, (source, file) in enumerate(images)]
    groups = groups_of(rows)
    linked: list[set[int]] = []
    for i, (source, file) in enumerate(images):
        near = {k for k in range(i) if images[k][0] == source or images[k][1] == file}
        touched = [part for part in linked if part & near]
        linked = [part for part in linked if not part & near] + [{i}.union(*touched)]
    found = [{i for i, name in enumerate(groups) if name == group} for group in set(groups)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, linked))
