import re
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_samples import make_image_set, make_sizes
from pydantic import ValidationError
from training_samples import make_training

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import fingerprint_of_split
from deepfake_detection.images.sources_and_groups import join_over_identical
from deepfake_detection.images.split_summary import SUBSETS
from deepfake_detection.images.splitting import draw_subsets
from deepfake_detection.parameters import Fold, SplitParameters
from deepfake_detection.pipelines.data_preparation.nodes import split_images, summarise_split
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.train_run import identify

METHODS = ["group", "individual"]
CLASSES = ["real", "fake_deepfake", "fake_face2face"]
IMAGE_SET = make_image_set(dict(zip(CLASSES, ["real", "fake", "fake"], strict=True)))
SOME = settings(max_examples=40, deadline=None)


def cut_by(method="group", ratios=(0.8, 0.2, 0.0), seed=0, **changes):
    named = dict(zip(SUBSETS, ratios, strict=True))
    given = {"fold": None, "leave_out": None, "allow_shared_groups": False} | changes
    return SplitParameters(method=method, ratios=named, seed=seed, **given)


def index_of(rows, sha256s=None):
    """An index of images given as (class name, group)."""
    table = pd.DataFrame(rows, columns=["class_name", "group"])
    table["path"] = [f"{name}/{number}.png" for number, name in enumerate(table["class_name"])]
    table["sha256"] = sha256s or [f"{number:064x}" for number in range(len(table))]
    table["label"] = (table["class_name"] != "real").astype(int)
    table["source"] = table["group"]
    return table


def index_of_sizes(sizes):
    """An index with groups of these sizes, each of one class."""
    rows = []
    for name, of_class in sizes.items():
        for group, size in enumerate(of_class):
            rows += [(name, f"{name}/{group}")] * size
    return index_of(rows).assign(width=299, height=299)


def course(files=4000):
    return index_of_sizes({name: [5] * (files // 5) for name in CLASSES})


def counts_of(index, subsets):
    return index.assign(subset=subsets).groupby(["subset", "class_name"]).size().to_dict()


ratios_of_subsets = st.tuples(
    st.sampled_from([0.0, 0.05, 0.1, 0.2, 1 / 3, 0.5]), st.sampled_from([0.0, 0.01, 0.1, 0.25])
).map(lambda drawn: (1 - sum(drawn), *drawn))


sizes_of_classes = st.dictionaries(
    st.sampled_from([*CLASSES, "fake_other"]),
    st.lists(st.integers(1, 9), min_size=3, max_size=40),
    min_size=1,
)


@st.composite
def tangled_indices(draw):
    """Any classes in any group, few groups and many."""
    groups = draw(st.integers(3, 25))
    names = draw(st.lists(st.sampled_from(CLASSES), min_size=6, max_size=120))
    return index_of([(name, f"g{draw(st.integers(0, groups))}") for name in names])


@SOME
@given(sizes_of_classes, ratios_of_subsets, st.sampled_from(METHODS), st.integers(0, 2**40))
def test_every_class_is_in_every_subset_with_its_ratio_up_to_a_group(sizes, ratios, method, seed):
    index = index_of_sizes(sizes)
    subsets = draw_subsets(index, cut_by(method, ratios, seed))
    assert subsets.index.equals(index.index)
    wanted = {name: ratio for name, ratio in zip(SUBSETS, ratios, strict=True) if ratio > 0}
    counts = counts_of(index, subsets)
    for name, of_class in sizes.items():
        assert set(subsets[index["class_name"] == name]) == set(wanted)
        slack = max(of_class) if method == "group" else 1
        if min(wanted.values()) * sum(of_class) <= slack:
            continue  # an empty subset gets a unit, whatever its ratio
        for subset, ratio in wanted.items():
            assert abs(counts[subset, name] - ratio * sum(of_class)) <= slack + 1e-6


def split_or_refuse(index, parameters):
    try:
        return split_images(index, parameters)
    except UserError as error:
        return str(error)


@SOME
@given(tangled_indices(), st.sampled_from(METHODS), ratios_of_subsets, st.integers(0, 2**40))
def test_groups_stand_in_one_subset_whatever_the_order_of_rows(index, method, ratios, seed):
    parameters = cut_by(method, ratios, seed)
    split = split_or_refuse(index, parameters)
    mixed = split_or_refuse(index.sample(frac=1, random_state=seed % 2**32), parameters)
    if isinstance(split, str):
        assert mixed == split
        return
    subsets, other = (each.set_index("path")["subset"].to_dict() for each in (split, mixed))
    assert subsets == other
    assert sorted(split["path"]) == sorted(index["path"])
    if method == "group":
        assert (split.groupby("group")["subset"].nunique() == 1).all()
    for _, of_class in split.groupby("class_name")["subset"]:
        assert set(of_class) == set(split["subset"])


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_one_class_make_up_for_those_of_several(seed):
    """A few misfiled images that tie groups of two classes must not shift the ratios."""
    index = course(400)
    for fake in CLASSES[1:]:
        for number in range(3):
            mates = [f"{fake}/{number}", f"real/{number + 3 * CLASSES.index(fake)}"]
            index.loc[index["group"].isin(mates), "group"] = f"tied/{fake}/{number}"
    counts = counts_of(index, draw_subsets(index, cut_by(seed=seed)))
    assert {counts["validation", name] for name in CLASSES} == {80}


@pytest.mark.parametrize("units", [*METHODS, "same_number"])
@pytest.mark.parametrize("ratios", [(0.8, 0.2, 0), (0.7, 0.3, 0), (0.9, 0.1, 0), (0.7, 0.1, 0.2)])
def test_course_images_are_cut_exactly(units, ratios):
    index = course()
    if units == "same_number":
        index["group"] = index["group"].str.split("/").str[1]
    method = "individual" if units == "individual" else "group"
    counts = counts_of(index, draw_subsets(index, cut_by(method, ratios)))
    shares = {subset: share for subset, share in zip(SUBSETS, ratios, strict=True) if share}
    assert counts == {
        (subset, name): round(4000 * share) for subset, share in shares.items() for name in CLASSES
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_decides_the_split(method):
    index = course(200)
    one, same, other = (
        fingerprint_of_split(split_images(index, cut_by(method, seed=seed))) for seed in (1, 1, 2)
    )
    assert one == same != other


@SOME
@given(
    st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(0, 30)), min_size=40, max_size=200),
    st.integers(0, 2**40),
)
def test_identical_files_share_a_subset(images, seed):
    """With the individual method too; with the other, they are of one group."""
    rows = [(name, f"{name}/{i}") for i, (name, _) in enumerate(images)]
    index = index_of(rows, [f"{file:064x}" for _, file in images])
    split = split_or_refuse(index, cut_by("individual", seed=seed))
    if not isinstance(split, str):
        assert (split.groupby("sha256")["subset"].nunique() == 1).all()


def test_the_individual_method_splits_groups_and_counts_them():
    index = course(200)
    split = split_images(index, cut_by("individual"))
    summary = summarise_split(split, index, cut_by("individual"), IMAGE_SET)
    shared = sum(len(set(subsets)) > 1 for _, subsets in split.groupby("group")["subset"])
    assert summary["groups_in_more_than_one_subset"] == shared > 50
    assert summary["images"]["validation"] == dict.fromkeys(CLASSES, 40)
    assert sum(summary["groups"].values()) == index["group"].nunique() + shared
    whole = summarise_split(split_images(index, cut_by()), index, cut_by(), IMAGE_SET)
    assert whole["groups_in_more_than_one_subset"] == 0
    assert whole["fingerprint"] != summary["fingerprint"]


def test_warnings_of_files_are_told_and_do_not_change_the_run():
    index = course(200)
    split = split_images(index, cut_by())
    told = {"warnings": ["quality: AUC 0.98 (0.91 to 1.00)"]}
    quiet, loud = (
        summarise_split(split, index, cut_by(), IMAGE_SET, audit)
        for audit in ({"warnings": []}, told)
    )
    assert loud == quiet | {"shortcuts": told["warnings"]}
    run = RunSettings("shufflenet_v2_x0_5", make_sizes(32, 32), make_training())
    assert identify(run, loud) == identify(run, quiet)


def test_numbers_that_classes_share_are_reported_under_the_group_rule_source(caplog):
    """By default a fake and the real video of its number may stand in different subsets."""
    index = course(200)
    own_names = {f"real/{number}": f"real/other_{number}" for number in range(30)}
    index["source"] = index["source"].replace(own_names)

    def report(table, method, image_set):
        split = split_images(table, cut_by(method))
        summary = summarise_split(split, table, cut_by(method), image_set)
        return split, summary.get("shared_source_numbers")

    split, shared = report(index, "group", IMAGE_SET)
    # numbers 0 to 29 occur in two classes, 30 to 39 in all three
    assert shared["sources"] == 30 * 2 + 10 * 3
    of_number = split.groupby(split["source"].str.extract(r"/(\d+)$", expand=False))
    apart = of_number["subset"].nunique() > 1
    assert shared["split_between_subsets"] == of_number["class_name"].nunique()[apart].sum() > 20
    assert "data_preparation.group.rule=same_number" in caplog.text
    caplog.clear()
    together = index.assign(group=index["source"].str.split("/").str[1])
    same_number = make_image_set(IMAGE_SET.classes, group="same_number")
    assert report(together, "group", same_number)[1] is None
    assert report(index, "individual", IMAGE_SET)[1] is None
    assert "same_number" not in caplog.text


COPIES = index_of([("real", "r/0"), ("real", "r/1"), ("fake", "f/0")] * 2, ["a", "b", "c"] * 2)


@pytest.mark.parametrize(
    ("index", "method", "ratios", "named"),
    [
        (index_of_sizes({"real": [5, 5], "fake": [9]}), "group", (0.8, 0.2, 0), "'fake' has 1 "),
        (index_of_sizes({"real": [5, 5], "fake": [9]}), "group", (1, 0, 0), "'fake' has 1 "),
        (index_of_sizes({"a": [1] * 9, "b": [4, 4]}), "group", (0.6, 0.2, 0.2), "'b' has 2 .* 3 "),
        (index_of_sizes({"a": [9], "b": [1]}), "individual", (0.8, 0.2, 0), "'b' has 1 "),
        (COPIES, "individual", (0.8, 0.2, 0), "'fake' has 1 "),
    ],
)
def test_too_few_groups_are_an_error_that_names_the_class(index, method, ratios, named):
    with pytest.raises(UserError, match=named):
        draw_subsets(index, cut_by(method, ratios))


def test_too_few_groups_for_the_folds_name_the_fold():
    split = cut_by().model_copy(update={"fold": Fold(number=1, of=4)})
    with pytest.raises(UserError, match=r"'a' has 3 .*split\.fold"):
        draw_subsets(index_of_sizes({"a": [1] * 3, "b": [1] * 9}), split)


def test_groups_that_hang_together_are_an_error_rather_than_an_empty_class():
    """Any two subsets leave one of these three classes without images in one of them."""
    pairs = [("a", "b"), ("b", "c"), ("c", "a")]
    index = index_of([(name, "+".join(pair)) for pair in pairs for name in pair])
    with pytest.raises(UserError, match=r"'[abc]'.*split\.ratios"):
        draw_subsets(index, cut_by())


@pytest.mark.parametrize("seed", range(30))
def test_a_split_that_exists_is_found(seed):
    """Only one way to cut these: the group of all three classes against the three others."""
    index = index_of([(name, "all") for name in CLASSES] + [(name, name) for name in CLASSES])
    subsets = draw_subsets(index, cut_by(seed=seed))
    assert subsets[:3].nunique() == subsets[3:].nunique() == 1
    assert subsets[0] != subsets[3]


THIRDS = (0.5, 0.25, 0.25)


@SOME
@given(
    st.sampled_from(["source", "same_number", "tangled"]),
    st.sampled_from(CLASSES[1:]),
    st.sampled_from([None, Fold(number=2, of=3)]),
    st.integers(0, 2**40),
    st.data(),
)
def test_a_class_left_out_is_tested_alone_on_originals_that_nothing_trained_on(
    groups, left_out, fold, seed, data
):
    index = data.draw(tangled_indices()) if groups == "tangled" else course(60)
    if groups == "same_number":
        index["group"] = index["group"].str.split("/").str[1]
    index = index.assign(width=299, height=299)
    whole = split_or_refuse(index, cut_by(ratios=THIRDS, seed=seed, fold=fold))
    parameters = cut_by(ratios=THIRDS, seed=seed, fold=fold, leave_out=left_out)
    split = split_or_refuse(index, parameters)
    if isinstance(whole, str):
        assert split == whole
        return
    if isinstance(split, str):
        assert "split.leave_out" in split
        return
    test = split["subset"] == "test"
    assert set(split.loc[test, "class_name"]) == {left_out, "real"}
    assert left_out not in set(split.loc[~test, "class_name"])
    assert set(split.loc[~test, "label"]) == {0, 1}
    assert (split.groupby("group")["subset"].nunique() == 1).all()
    # what is in it stands where it would without a class left out, and the rest is counted
    subsets = whole.set_index("path")["subset"]
    assert split["subset"].tolist() == subsets[split["path"]].tolist()
    summary = summarise_split(split, index, parameters, IMAGE_SET)
    unused = index[~index["path"].isin(split["path"])]
    assert summary["leave_out"] == {
        "class": left_out, "unused_images": unused["class_name"].value_counts().to_dict(),
    }  # fmt: skip
    assert "real" not in summary["leave_out"]["unused_images"]
    assert summary["ratios"] == parameters.shares.model_dump()


def test_of_several_classes_left_out_only_test_holds_fakes():
    index = course(60)
    numbers = index["source"].str.extract(r"(\d+)")[0].astype(int)
    third = (index["class_name"] == CLASSES[1]) & (numbers % 2 == 1)
    index.loc[third, "class_name"] = "third"
    parameters = cut_by(ratios=THIRDS, leave_out=[CLASSES[2], "third"])
    split = split_images(index, parameters)
    classes = split.groupby("subset")["class_name"].agg(set)
    assert classes["train"] == classes["validation"] == {"real", CLASSES[1]}
    assert classes["test"] == {"real", CLASSES[2], "third"}
    assert parameters.name.endswith(f"_without_{CLASSES[2]}_third")


def test_a_copy_of_an_image_left_out_is_left_out_too():
    index = course(60)
    copies = index["class_name"].eq(CLASSES[2]).idxmax() + np.arange(3)
    index.loc[:2, "sha256"] = index.loc[copies, "sha256"].to_numpy()
    index["group"] = join_over_identical(index["group"], index["sha256"])
    for seed in range(8):
        split = split_images(index, cut_by(ratios=THIRDS, seed=seed, leave_out=CLASSES[2]))
        held = set(split.loc[split["subset"] != "test", "sha256"])
        assert not held & set(index.loc[index["class_name"] == CLASSES[2], "sha256"])


@pytest.mark.parametrize(
    ("left_out", "classes", "named"),
    [
        ("fake_face2fac", CLASSES, "'fake_face2fac'.*'fake_face2face'"),
        ("real", CLASSES, "'real'"),
        ("fake_deepfake", CLASSES[:2], "train.*fake"),
    ],
)
def test_a_class_that_cannot_be_left_out_is_named(left_out, classes, named):
    index = index_of_sizes({name: [5] * 20 for name in classes})
    with pytest.raises(UserError, match=rf"'split\.leave_out'.*{named}"):
        split_images(index, cut_by(ratios=THIRDS, leave_out=left_out))


@pytest.mark.parametrize(
    ("changes", "named"), [({"method": "individual"}, "individual|group"), ({}, "ratios.test")]
)
def test_leaving_out_needs_groups_and_a_test_subset(changes, named):
    with pytest.raises(ValidationError, match=named):
        cut_by(leave_out="fake_deepfake", **changes)


def test_the_name_of_a_split_tells_the_class_that_it_leaves_out():
    def name(left_out, **changes):
        return cut_by(ratios=THIRDS, leave_out=left_out, **changes).name

    assert name(None) == "group_50_25_25"
    assert name("fake_deepfake") == "group_50_25_25_without_fake_deepfake"
    fold = Fold(number=1, of=3)
    assert name("a", fold=fold) == f"{name(None, fold=fold)}_without_a"
    odd = {name(each) for each in ("a/b", "a b", "a.b", "ä b")}
    assert len(odd) == 4
    assert all(re.fullmatch(r"\w+", each, re.ASCII) for each in odd)


@pytest.mark.slow
def test_a_million_images_are_cut_in_seconds():
    index = index_of_sizes({name: [5] * 50_000 for name in [*CLASSES, "fake_other"]})
    for method in METHODS:
        start = time.process_time()
        subsets = draw_subsets(index, cut_by(method, (0.7, 0.15, 0.15)))
        assert time.process_time() - start < 10
        assert set(counts_of(index, subsets).values()) == {175_000, 37_500}
