"""What the documents say of the demo's faces, measured over random seeds; takes minutes."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from demo_project import ROOT
from kedro.config import OmegaConfigLoader
from PIL import Image
from scipy.fft import dctn
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake_detection.datasets.forging import CLASS_NAMES, Source, encode, make_image
from deepfake_detection.datasets.generated_faces import GeneratedFacesDataset
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.metrics.intervals import difference_interval
from deepfake_detection.models import devices as device
from deepfake_detection.models.detector_file import DetectorSlot
from deepfake_detection.models.heat_maps import SMALLEST_GRID, HeatMaps
from deepfake_detection.parameters import ProjectParameters
from deepfake_detection.pipelines.data_preparation.nodes import (
    index_images,
    list_rejected_images,
    scan_images,
    split_images,
    summarise_split,
)
from deepfake_detection.pipelines.evaluation.nodes import measure_predictions, predict_split
from deepfake_detection.pipelines.training.nodes import request_pixels, train_detector
from deepfake_detection.training.checkpoints import TrainingCheckpoints

SEEDS = range(5)


@pytest.fixture(scope="module")
def demo():
    loader = OmegaConfigLoader(
        str(ROOT / "conf"), env="demo", base_env="base", merge_strategy={"parameters": "soft"}
    )
    # without the rows of studies
    own = {name: loader["parameters"][name] for name in ProjectParameters.model_fields}
    return ProjectParameters.model_validate(own)


@pytest.fixture(scope="module")
def settings():
    """How the demo's faces are made."""
    catalog = yaml.safe_load((ROOT / "conf/demo/catalog.yml").read_text(encoding="utf-8"))
    names = ("sources", "images_per_source", "size", "quality", "seed")
    return {name: catalog["training_images"][name] for name in names}


@pytest.fixture(scope="module")
def faces(tmp_path_factory, settings):
    folder = tmp_path_factory.mktemp("faces") / "generated"
    return GeneratedFacesDataset(filepath=str(folder), **settings).load()


@pytest.fixture(scope="module")
def image_index(faces, demo):
    scanned = scan_images(faces, demo.data_preparation, demo.face_extraction)
    return index_images(scanned, list_rejected_images(scanned), demo.data_preparation)


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory,
    faces,
    image_index,
    demo,
):
    stores = PixelCache(tmp_path_factory.mktemp("stores"))
    stores.build(request_pixels(faces, image_index, demo.model, demo.backbones, demo.pixels))
    return stores


@pytest.fixture
def train(image_index, stores, demo, tmp_path):
    """Train the demo's detector; it, and its accuracy and AUC on each scored subset."""

    def run(seed, method="group", **changes):
        parameters = demo.split.model_copy(update={"method": method, "seed": seed})
        training = demo.training.model_copy(update={"seed": seed, **changes})
        split = split_images(image_index, parameters)
        summary = summarise_split(split, image_index, parameters, demo.data_preparation)
        _, _, detector = train_detector(
            split, summary, stores, {}, TrainingCheckpoints(tmp_path / "states"),
            DetectorSlot(tmp_path / "slot"), demo.model, demo.backbones, training,
        )  # fmt: skip
        predictions = predict_split(detector, split, stores, demo.evaluation)
        _, metrics = measure_predictions(predictions, detector, demo.evaluation)
        scores = [
            {
                "seed": seed,
                "subset": subset,
                **{name: levels["images"][name]["value"] for name in ("accuracy", "roc_auc")},
            }
            for subset, levels in metrics["subsets"].items()
        ]
        return detector, scores

    return run


@pytest.mark.slow
def test_a_grouped_split_is_learned_and_an_individual_one_flatters(train):
    rows = [
        {"method": method, **scores}
        for method in ("group", "individual")
        for seed in SEEDS
        for scores in train(seed, method)[1]
    ]
    table = pd.DataFrame(rows)
    print(f"\n{table.pivot(index=['method', 'seed'], columns='subset').round(3)}")
    means = table.groupby(["method", "subset"])[["accuracy", "roc_auc"]].mean()
    print(means.round(3))
    assert means.loc[("group", "test"), "roc_auc"] >= 0.85
    for subset in ("validation", "test"):
        assert (means.loc[("individual", subset)] > means.loc[("group", subset)]).all()


@pytest.mark.slow
def test_bf16_calls_what_fp32_calls_and_learns_no_worse(train, image_index, stores, monkeypatch):
    """On a CPU without bf16 units they are emulated: the same roundings, ten times slower."""
    monkeypatch.setattr(device, "_has_bf16", lambda _: True)
    rows, alike = [], []
    for seed in SEEDS:
        for precision in ("fp32", "bf16"):
            detector, scores = train(seed, precision=precision)
            rows += [{"precision": precision, **each} for each in scores]
            if precision == "fp32":
                alike.append(_share_called_alike(detector, image_index, stores))
    table = pd.DataFrame(rows)
    print(f"\nsame verdicts with the same weights: {np.round(alike, 4)}")
    print(table.pivot(index=["seed"], columns=["subset", "precision"]).round(3))
    scored = table.groupby(["subset", "precision"])[["accuracy", "roc_auc"]]
    means, spread = scored.mean(), scored.std()
    print(pd.concat({"mean": means, "deviation": spread}, axis=1).round(3))
    assert min(alike) >= 0.995
    for subset in ("validation", "test"):
        difference = means.loc[(subset, "bf16")] - means.loc[(subset, "fp32")]
        assert (difference.abs() <= spread.loc[(subset, "fp32")]).all()


def _share_called_alike(detector, image_index, stores):
    """The share of all images on which the network has the same verdict in both precisions."""
    array = stores.open(image_index["sha256"].tolist(), detector.preprocessing).array
    in_full = detector.logits(array) > 0
    with torch.autocast("cpu", torch.bfloat16):
        in_half = detector.logits(array) > 0
    return float((in_full == in_half).mean())


@pytest.fixture(scope="module")
def remake(faces, settings):
    """A fake as the network sees it, the same before the forgery, and the forgery's opacity."""
    size, seed = settings["size"], settings["seed"]

    def run(path, detector):
        name, number = path.removesuffix(".jpg").split("/")
        number, frame = divmod(int(number), settings["images_per_source"])
        source = Source.read("main", number)
        forged, changed = make_image(source, name, frame, seed=seed, size=size)
        before, _ = make_image(source, name, frame, seed=seed, size=size, forge=False)
        file = encode(forged, source, seed=seed, quality=settings["quality"])
        assert file == (faces / path).read_bytes()
        opacity = Image.fromarray(np.round(changed * 255).astype(np.uint8)).convert("RGB")
        seen = (crop_pixels(image, detector.preprocessing) for image in (forged, before, opacity))
        return tuple(seen)

    return run


def _heat_on(mask, heat):
    """The share of each picture's heat that lies on its mask; not a number where there is none."""
    total = heat.sum((1, 2))
    return np.where(total > 0, (heat * mask).sum((1, 2)) / np.where(total > 0, total, 1), np.nan)


def _others_heat_on(mask, heat, groups):
    """The share that would lie on each mask if its picture had the heat of other groups' ones."""
    total = heat.sum((1, 2), keepdims=True)
    shares = heat / np.where(total > 0, total, 1)
    others = np.stack([shares[groups != group].sum(axis=0) for group in groups])
    return _heat_on(mask, others)


def _likeness(heat):
    """How each heat map correlates with the mean of all; not a number where there is no heat."""
    warm = heat.reshape(len(heat), -1)[heat.any(axis=(1, 2))]
    likeness = np.full(len(heat), np.nan)
    likeness[heat.any(axis=(1, 2))] = [np.corrcoef(one, warm.mean(0))[0, 1] for one in warm]
    return likeness


def _mean_between_groups(values, groups):
    there = values.notna()
    mean = values[there].mean()
    influence = ((values[there] - mean) / there.sum()).to_numpy()
    return mean, *difference_interval(mean, influence, groups[there].to_numpy(), 0.95)


@pytest.mark.slow
def test_heat_moves_to_the_forgery(train, image_index, remake, demo):
    """Of fakes of the test subset, towards fake; run with -s to see the figures.

    Faces stand in the middle of their pictures, and heat may do so whatever is in them. So heat on
    the forgery is compared with the forgery's share of the area, with what heat of other pictures
    would lie there, and with heat of the same picture before it was forged.
    """
    parts = []
    for seed in SEEDS[:3]:
        detector, _ = train(seed)
        split = split_images(image_index, demo.split.model_copy(update={"seed": seed}))
        fakes = split[(split["subset"] == "test") & (split["label"] == 1)]
        made = [remake(path, detector) for path in fakes["path"]]
        forged, before, opacity = (np.stack(each) for each in zip(*made, strict=True))
        mask = opacity[..., 0] / 255
        for grid in (2, 4, 7, 14):
            maps = HeatMaps(detector, smallest_grid=grid)
            assert maps.layer.grid == grid
            heat = maps.explain(forged, "fake")
            parts.append(
                fakes[["class_name", "group"]].assign(
                    grid=grid,
                    area=mask.mean((1, 2)),
                    heat=_heat_on(mask, heat),
                    others=_others_heat_on(mask, heat, fakes["group"].to_numpy()),
                    before=_heat_on(mask, maps.explain(before, "fake")),
                    likeness=_likeness(heat),
                )
            )
    table = pd.concat(parts, ignore_index=True)
    own = {}
    for (grid, name), rows in table.groupby(["grid", "class_name"]):
        print(f"\n{grid}×{grid}, {name}, {len(rows)} pictures: heat {rows['heat'].mean():.3f}")
        for than in ("area", "others", "before"):
            more = _mean_between_groups(rows["heat"] - rows[than], rows["group"])
            own[grid, name, than] = more
            print(
                f"  {than:6} {rows[than].mean():.3f}, difference {more[0]:+.3f}"
                f" ({more[1]:+.3f} to {more[2]:+.3f})"
            )
        cold = rows[["heat", "before"]].isna().sum()
        print(
            f"  without heat {cold['heat']}, before {cold['before']};"
            f" correlation with the mean heat map {rows['likeness'].mean():.2f}"
        )
    for name in ("fake_deepfake", "fake_face2face"):
        assert own[SMALLEST_GRID, name, "before"][1] > 0


@pytest.mark.slow
@pytest.mark.parametrize("pair", combinations(CLASS_NAMES, 2), ids=" against ".join)
def test_file_properties_tell_nothing(faces, pair):
    """Size, quantisation tables, traces of an earlier 8×8 grid, and the picture's upper edge."""
    files = [path for name in pair for path in sorted((faces / name).iterdir())]
    measures = np.array([_file_measures(path) for path in files])
    labels = np.array([path.parent.name == pair[1] for path in files])
    sources = [int(path.stem) // 5 for path in files]
    forest = RandomForestClassifier(300, min_samples_leaf=5, random_state=0)
    aucs = {"bytes": roc_auc_score(labels, measures[:, 0])}
    for name, columns in {"bytes and tables": 3, "all": measures.shape[1]}.items():
        scores = cross_val_predict(
            forest, measures[:, :columns], labels, groups=sources, cv=GroupKFold(5),
            method="predict_proba",
        )  # fmt: skip
        aucs[name] = roc_auc_score(labels, scores[:, 1])
    print(f"\n{' against '.join(pair)}: AUC {pd.Series(aucs).round(3).to_dict()}")
    assert abs(aucs["bytes"] - 0.5) < 0.06
    assert max(aucs.values()) < 0.58


def _file_measures(path):
    with Image.open(path) as image:
        tables, grey = image.quantization, np.asarray(image.convert("L"), float)
    steps = np.abs(np.diff(grey, axis=1))
    by_column = np.array([steps[:, column::8].mean() for column in range(8)])
    edge = [dctn(block, norm="ortho") for block in np.split(grey[:8, :296], 37, axis=1)]
    frequencies = np.abs(edge).mean(0)[0, 1:5]
    sizes = [path.stat().st_size, sum(tables[0]), sum(tables[1])]
    return [*sizes, *(by_column / by_column.mean()), *frequencies]


@pytest.mark.slow
def test_mean_colours_tell_little(stores, image_index, demo):
    pixels = stores.open(image_index["sha256"].tolist(), demo.backbones.preprocessing(demo.model))
    colours = pixels.array[pixels.rows(image_index["sha256"].tolist())].mean(axis=(1, 2))
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    folds, labels = GroupKFold(5), image_index["label"].to_numpy()
    called = cross_val_predict(model, colours, labels, groups=image_index["group"], cv=folds)
    plain, balanced = (called == labels).mean(), balanced_accuracy_score(labels, called)
    print(f"\nlogistic regression on mean colours: accuracy {plain:.3f}, balanced {balanced:.3f}")
    assert plain < 0.65
    assert balanced < 0.65
    assert np.bincount(called, minlength=2).min() > 0
