"""A set from elsewhere beside the detector's own split."""

import math

import pandas as pd

from deepfake_detection.pipelines.evaluation.nodes import put_beside

NONE = float("nan")


def table(subset: str, rows: dict[tuple[str, str, str | None], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"metric": metric, "subset": subset, "level": level, "class_name": name or NONE,
             "value": value, "low": value - 0.1, "high": value + 0.1, "n": 10, "note": None}
            for (metric, level, name), value in rows.items()
        ]
    )  # fmt: skip


OWN = pd.concat(
    [
        table("validation", {("accuracy", "image", None): 0.99}),
        table("test", {("accuracy", "image", None): 0.9, ("recall", "image", "fake"): 0.8,
                       ("recall", "image", "fake_deepfake"): 0.7}),
    ]
)  # fmt: skip
EXTERNAL = table(
    "external",
    {("accuracy", "image", None): 0.6, ("recall", "image", "fake"): 0.5,
     ("recall", "image", "gan"): 0.4, ("accuracy", "source", None): 0.65},
)  # fmt: skip


def test_each_metric_of_both_stands_in_one_row() -> None:
    beside = put_beside(EXTERNAL, OWN).set_index(["metric", "level", "class_name"])
    recall = beside.loc[("recall", "image", "fake")]
    assert (recall["own_value"], recall["external_value"]) == (0.8, 0.5)
    assert (recall["own_low"], recall["external_high"]) == (0.8 - 0.1, 0.5 + 0.1)
    # test, on which nothing was chosen, and not validation
    accuracy = put_beside(EXTERNAL, OWN).iloc[0]
    assert (accuracy["own_value"], accuracy["external_value"]) == (0.9, 0.6)
    assert set(beside["own_subset"].dropna()) == {"test"}
    # a kind of fake that only one of the two holds, and no other row is lost
    assert math.isnan(beside.loc[("recall", "image", "gan"), "own_value"])
    assert math.isnan(beside.loc[("recall", "image", "fake_deepfake"), "external_value"])
    assert len(beside) == 5


def test_without_a_test_subset_validation_stands_beside() -> None:
    own = OWN[OWN["subset"] == "validation"]
    assert put_beside(EXTERNAL, own).iloc[0]["own_subset"] == "validation"


def test_where_nothing_is_known_of_its_own_split_the_columns_are_empty() -> None:
    beside = put_beside(EXTERNAL, None)
    assert list(beside.columns) == list(put_beside(EXTERNAL, OWN).columns)
    assert beside["own_value"].isna().all()
    assert list(beside["external_value"]) == list(EXTERNAL["value"])
