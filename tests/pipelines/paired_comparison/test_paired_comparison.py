"""Detectors on the same images: differences, their intervals, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from detector_samples import build_detector
from explanation_samples import EVALUATION
from scipy.special import expit
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, log_loss, roc_auc_score

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.metrics.differences import measure_differences
from deepfake_detection.parameters import PairedComparisonParameters
from deepfake_detection.pipelines.paired_comparison import nodes


def _hash(number):
    return f"{number:064x}"


def _detector(trained_on, validated_on, **changes):
    trained, validated = (pack_hashes(map(_hash, each)) for each in (trained_on, validated_on))
    return replace(build_detector(**changes), trained_on=trained, validated_on=validated)


@pytest.fixture
def split():
    """Groups of two images: ten to train, ten to validate, twenty to test."""
    number = np.arange(40)
    return pd.DataFrame(
        {
            "path": [f"{each}.png" for each in number],
            "sha256": [_hash(each) for each in number],
            "label": number // 2 % 2,
            "class_name": np.where(number // 2 % 2, "fake", "real"),
            "source": [f"source {each // 2}" for each in number],
            "group": [f"group {each // 2}" for each in number],
            "subset": np.repeat(["train", "validation", "test"], [10, 10, 20]),
        }
    )


def _predict(split, seed, skill=1.0):
    rows = split[split["subset"] != "train"].reset_index(drop=True)
    noise = np.random.default_rng(seed).normal(size=len(rows))
    logit = skill * (2 * rows["label"] - 1) + noise
    return rows.drop(columns="sha256").assign(
        logit=logit, fake_probability=expit(logit), predicted=(logit >= 0).astype("int64")
    )


DETECTORS = (
    _detector(range(10), range(10, 20)),
    _detector(range(8), [], temperature=2.0, calibration={"fitted": ["temperature"]}),
)


class _Pixels:
    """In place of a pixel cache: what is asked of it."""

    def __init__(self):
        self.requests = []

    def build(self, request):
        self.requests.append(request)


@pytest.fixture
def score(split, monkeypatch):
    """Score a split with detectors that give these predictions; by two nodes."""
    pixels = _Pixels()

    def run(tables, pair=DETECTORS, split=split, named=None):
        by_detector = {id(each): table for each, table in zip(pair, tables, strict=False)}
        monkeypatch.setattr(nodes, "predict", lambda detector, *_: by_detector[id(detector)])
        rest = ("folder", split, pixels, "cache", EVALUATION)
        if named is None:
            return nodes.score_both(*pair, *rest)
        files = dict(zip(named.values(), pair, strict=True))
        parameters = PairedComparisonParameters(detectors=named)
        return nodes.score_named(files.__getitem__, parameters, *rest)

    run.pixels = pixels
    return run


@pytest.fixture
def compare(score):
    def run(*tables, **options):
        scored, described = score(tables, **options)
        return nodes.compare_predictions(scored, described, {"note": "only drawings"}, EVALUATION)

    return run


def test_differences_agree_with_scikit_learn(split, compare):
    ours, others = _predict(split, 0), _predict(split, 1, 0.5)
    table = compare(ours, others)
    test = table[(table["subset"] == "test") & (table["level"] == "image")]
    found = test.set_index(["metric", test["class_name"].fillna("")])["difference"]
    (one, other) = (each[each["subset"] == "test"] for each in (ours, others))
    labels = one["label"]
    for name, metric in {
        "accuracy": lambda rows, _: (rows["label"] == rows["predicted"]).mean(),
        "balanced_accuracy": lambda rows, _: balanced_accuracy_score(labels, rows["predicted"]),
        "roc_auc": lambda rows, _: roc_auc_score(labels, rows["logit"]),
        "brier_score": lambda rows, heat: brier_score_loss(labels, expit(rows["logit"] / heat)),
        "log_loss": lambda rows, heat: log_loss(labels, expit(rows["logit"] / heat)),
    }.items():
        assert found[name, ""] == pytest.approx(metric(one, 1) - metric(other, 2)), name
    for label, name in ((1, "fake"), (0, "real")):
        right = [
            (each["predicted"] == label)[each["label"] == label].mean() for each in (one, other)
        ]
        assert found["recall", name] == pytest.approx(right[0] - right[1])
    assert set(table["level"]) == {"image", "source"}
    assert table["detector"].unique().tolist() == ["shufflenet_v2_x0_5 cdcdcdcdcdcd"]
    # of two detectors there is one pair
    assert table["p_holm"].equals(table["p_value"])


def test_a_detector_compared_with_itself_differs_nowhere_and_has_no_interval(
    split, compare, caplog
):
    ours = _predict(split, 0)
    with caplog.at_level("INFO"):
        table = compare(ours, ours, pair=(DETECTORS[0], DETECTORS[0]))
    # the note on the images
    assert "only drawings" in caplog.text
    assert (table["difference"] == 0).all()
    assert (table["differing_groups"] == 0).all()
    assert table["low"].isna().all()
    assert table["note"].notna().all()


def test_the_table_and_the_log_say_what_the_images_chose_and_who_saw_neighbours(
    split, compare, caplog
):
    # the other one learned image 20, whose neighbour 21 is compared
    other = _detector([20], [])
    split.loc[20, "subset"] = "train"
    ours, others = _predict(split, 0), _predict(split, 1)
    with caplog.at_level("INFO"):
        table = compare(ours, others, pair=(DETECTORS[0], other), split=split)
    notes = {subset: " ".join(rows["note"].dropna()) for subset, rows in table.groupby("subset")}
    assert "choose the epoch of the detector" in notes["validation"]
    assert "inflated" not in notes["validation"]
    assert "choose" not in notes["test"]
    assert "inflated: the other detector was trained on neighbours of 1 " in notes["test"]
    assert " on test: accuracy" in caplog.text


@pytest.mark.parametrize("which", [0, 1])
def test_images_that_either_was_trained_on_are_refused_before_any_is_scored(split, score, which):
    pair = list(DETECTORS)
    pair[which] = _detector([25, 26], [])
    name = ("the detector", "the other detector")[which]
    with pytest.raises(UserError, match=rf"^{name} was trained on 2 of the 30 .*25\.png"):
        score((), pair)
    assert score.pixels.requests == []
    # nor is a split taken that has nothing to score
    with pytest.raises(UserError, match=r"split\.ratios"):
        score((), split=split.assign(subset="train"))


def test_named_detectors_are_compared_in_all_pairs_and_those_of_one_size_share_pixels(
    split, score, compare, caplog
):
    sizes = DETECTORS[0].card.preprocessing
    larger = _detector([], [], preprocessing=sizes | {"resize": 50})
    named = {"first": "a", "second": "b", "larger": "c"}
    tables = [_predict(split, seed, skill) for seed, skill in enumerate((2, 1, 0.2))]
    with caplog.at_level("INFO"):
        table = compare(*tables, pair=(*DETECTORS, larger), named=named)
    pairs = table[["detector", "other_detector"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [["first", "second"], ["first", "larger"], ["second", "larger"]]
    assert [each.preprocessing.resize for each in score.pixels.requests] == [40, 50]
    assert (table["p_holm"].dropna() >= table["p_value"].dropna()).all()
    assert (table["p_holm"] > table["p_value"]).any()
    of_validation = table[table["subset"] == "validation"].set_index("detector")["note"]
    assert of_validation["first"].str.contains("of detector first").all()
    assert not of_validation["second"].str.contains("of detector", na=False).any()
    assert "second minus larger on test: accuracy" in caplog.text


def test_a_difference_lies_in_its_interval_as_often_as_is_said():
    generator = np.random.default_rng(0)
    number, times = 60, 150
    labels, groups = np.repeat(np.arange(number) % 2, 5), np.repeat(np.arange(number), 5)
    sign = 2 * labels - 1
    rows = pd.DataFrame(
        {"label": labels, "group": groups, "class_name": np.where(labels, "fake", "real")}
    )

    # two detectors that err together: the truth from one very large draw
    def draw(count):
        shared = generator.normal(size=(count * number, 1)).repeat(5, axis=1).ravel()
        own = generator.normal(size=(2, len(shared)))
        many = pd.concat([rows] * count, ignore_index=True)
        steps = np.tile(sign, count)
        scores = (1.5 * steps + shared + own[0], 1.1 * steps + shared + own[1])
        first, second = (
            many.assign(logit=each, predicted=(each >= 0).astype("int64")) for each in scores
        )
        return first, second

    def measure(first, second):
        differences = measure_differences(first, second, (1.0, 1.0), "test", "image", 0.95)
        return {(each.metric, each.class_name): each for each in differences}

    truth = measure(*draw(800))
    inside = dict.fromkeys(truth, 0)
    for _ in range(times):
        for name, each in measure(*draw(1)).items():
            inside[name] += each.low <= truth[name].difference <= each.high
    for name, count in inside.items():
        # 150 data sets tell a share of 0.95 to ± 0.053, three times its standard error
        assert count / times >= 0.897, name


def test_one_class_alone_has_no_difference_of_what_compares_both(split, compare):
    fakes = split[split["label"] == 1]
    ours, others = _predict(fakes, 0), _predict(fakes, 1)
    table = compare(ours, others)
    rows = table[table["metric"] == "roc_auc"]
    assert rows["difference"].isna().all()
    assert rows["note"].notna().all()
