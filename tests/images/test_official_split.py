import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deepfake_detection.errors import UserError
from deepfake_detection.images.layouts.related import join_related
from deepfake_detection.images.split_summary import SUBSETS
from deepfake_detection.images.splitting import draw_subsets, take_official_subsets
from deepfake_detection.parameters import SplitParameters
from deepfake_detection.pipelines.data_preparation.nodes import split_images


def parameters(method="official", ratios=(0.8, 0.2, 0.0), fold=None, **changes):
    named = dict(zip(SUBSETS, ratios, strict=True))
    given = {"allow_shared_groups": False, "leave_out": None, "seed": 0} | changes
    return SplitParameters(method=method, ratios=named, fold=fold, **given)


def index_of(rows):
    """Images given as (class name, group, official subset); each is a source of its own."""
    table = pd.DataFrame(rows, columns=["class_name", "group", "official_subset"])
    table["path"] = table["source"] = [f"{n}/{i}" for i, n in enumerate(table["class_name"])]
    table["sha256"] = [f"{number:064x}" for number in range(len(table))]
    table["label"] = (table["class_name"] != "real").astype(int)
    return table


def two_of_each(subsets):
    return index_of([
        (name, f"{subset}/{number}", subset)
        for subset, size in subsets.items() for number in range(size) for name in ("real", "fake")
    ])  # fmt: skip


def test_given_subsets_are_taken():
    index = two_of_each({"train": 4, "validation": 2, "test": 3})
    assert list(split_images(index, parameters())["subset"]) == list(index["official_subset"])


def test_images_without_a_subset_are_left_out_and_said(caplog):
    index = pd.concat([two_of_each({"train": 4, "test": 3}), index_of([("odd", "x", None)])],
                      ignore_index=True)  # fmt: skip
    split = split_images(index, parameters(ratios=(1, 0, 0)))
    assert len(split) == len(index) - 1
    assert "odd" not in set(split["class_name"])
    assert "odd" in caplog.text


@pytest.mark.parametrize("ratios", [(0.8, 0.2, 0.0), (0.6, 0.2, 0.2), (0.5, 0.5, 0)])
def test_a_share_of_train_becomes_validation(ratios):
    index = two_of_each({"train": 200, "test": 30})
    split = split_images(index, parameters(ratios=ratios))
    counts = split["subset"].value_counts()
    assert counts["validation"] == round(400 * ratios[1] / (ratios[0] + ratios[1]))
    assert counts["test"] == 60
    assert (split.groupby("group")["subset"].nunique() == 1).all()
    other = split_images(index, parameters(ratios=ratios, seed=1))
    assert list(other["subset"]) != list(split["subset"])
    # without a share there is none
    assert "validation" not in set(split_images(index, parameters(ratios=(1, 0, 0)))["subset"])


def test_a_group_in_two_subsets_is_refused_unless_permitted(caplog):
    index = two_of_each({"train": 20, "test": 5})
    index.loc[0, "group"] = "test/3"
    with pytest.raises(UserError, match=r"'test/3' \(train, test\).*allow_shared_groups"):
        split_images(index, parameters())
    split = split_images(index, parameters(allow_shared_groups=True))
    assert len(split) == len(index)
    assert "test/3" in caplog.text


def test_a_chain_of_groups_is_drawn_by_source_where_groups_may_be_shared():
    index = two_of_each({"train": 50, "test": 5}).assign(group="all")
    split = split_images(index, parameters(allow_shared_groups=True))
    assert (split["subset"] == "validation").sum() == 20


def test_a_file_in_two_subsets_stays_in_the_later_one(caplog):
    index = two_of_each({"train": 20, "validation": 5, "test": 5})
    last = index.index[-1]
    index.loc[[0, 40], "sha256"] = index.loc[last, "sha256"]
    index.loc[[0, 40], "group"] = index.loc[last, "group"]
    split = split_images(index, parameters(allow_shared_groups=True))
    assert split["sha256"].is_unique
    assert set(split["path"]) == set(index["path"]) - set(index["path"][[0, 40]])
    assert "2 images" in caplog.text


@pytest.mark.parametrize(
    "subsets", [{None: 5}, {"train": 5}, {"test": 5}, {"validation": 2, "test": 3}]
)
def test_no_official_split_is_an_error(subsets):
    with pytest.raises(UserError, match=r"split\.method"):
        take_official_subsets(two_of_each(subsets), parameters())


def test_images_of_one_label_teach_nothing():
    with pytest.raises(UserError, match="fake"):
        split_images(index_of([("fake", str(n), None) for n in range(9)]), parameters("group"))


def test_official_splits_have_no_folds_and_names_of_their_own():
    with pytest.raises(ValidationError, match="fold"):
        parameters(fold={"number": 1, "of": 3})
    assert parameters().name == "official_80_20"
    assert parameters(allow_shared_groups=True).name == "official_shared_80_20"
    assert parameters("group", allow_shared_groups=True).name == "group_80_20"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=60),
    st.integers(0, 1000),
)
def test_no_group_stands_in_two_subsets_for_random_pair_lists(pairs, seed):
    """Fakes belong with both of their originals, whatever the list of pairs."""
    related = [(f"{n:03d}",) for n in range(61)] + [(f"{a:03d}", f"{b:03d}") for a, b in pairs]
    rows = [("fake" if len(each) > 1 else "real", group, None)
            for each, group in zip(related, join_related(related), strict=True)]  # fmt: skip
    index = index_of(rows)
    try:
        subsets = draw_subsets(index, parameters("group", (0.6, 0.2, 0.2), seed=seed))
    except UserError:
        return  # too few groups hold fakes
    subset_of = {}
    for each, subset in zip(related, subsets, strict=True):
        for name in each:
            assert subset_of.setdefault(name, subset) == subset


@pytest.mark.parametrize("subset", ["train", "validation"])
def test_a_subset_of_one_label_is_named(subset):
    index = two_of_each({"train": 4, "validation": 2, "test": 3})
    index.loc[(index["official_subset"] == subset) & (index["label"] == 0), "official_subset"] = (
        None
    )
    with pytest.raises(UserError, match=f"{subset}.*real"):
        take_official_subsets(index, parameters())


def test_where_a_chain_leaves_validation_too_little_sources_are_drawn():
    rows = [("real", "chain", "train"), ("fake", "chain", "train")] * 40
    rows += [("real", "alone", "train"), ("fake", "alone", "train")] + [("real", "t", "test")] * 4
    index = index_of([*rows, *[("fake", "t", "test")] * 4])
    strict = take_official_subsets(index, parameters())
    assert (strict == "validation").sum() == 2
    subsets = take_official_subsets(index, parameters(allow_shared_groups=True))
    for label in (0, 1):
        assert ((subsets == "validation") & (index["label"] == label)).sum() == 8


def test_a_class_can_be_left_out_of_official_subsets():
    sizes = {"train": 6, "validation": 3, "test": 3}
    index = index_of([
        (name, f"{subset}/{number}", subset)
        for subset, size in sizes.items() for number in range(size)
        for name in ("real", "fake", "swap")
    ])  # fmt: skip
    split = split_images(index, parameters(leave_out="swap"))
    counts = split.groupby(["subset", "class_name"]).size().to_dict()
    assert counts == {
        ("train", "real"): 6, ("train", "fake"): 6, ("validation", "real"): 3,
        ("validation", "fake"): 3, ("test", "real"): 3, ("test", "swap"): 3,
    }  # fmt: skip
    assert parameters(leave_out="swap").name == "official_80_20_without_swap"
    without_test = index[index["official_subset"] != "test"]
    with pytest.raises(UserError, match=r"split\.leave_out.*test"):
        split_images(without_test, parameters(leave_out="swap"))
