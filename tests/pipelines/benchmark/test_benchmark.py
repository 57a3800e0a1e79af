"""The benchmark, on a network and pictures small enough to be measured in a moment."""

import hashlib
import os
import signal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from training_samples import make_training

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.parameters import Backbones, BenchmarkParameters, PreprocessingParameters
from deepfake_detection.pipelines.benchmark import nodes, parts
from deepfake_detection.pipelines.benchmark.nodes import (
    draw_benchmark,
    draw_scoring_benchmark,
    measure_scoring_speed,
    measure_speed,
)
from deepfake_detection.pipelines.benchmark.parts import (
    BareStep,
    OwnTraining,
    PlainRecipe,
    Sample,
    Setup,
)

MODEL, SIZE, BATCH = "shufflenet_v2_x0_5", 32, 6
PARTS = ("plain", "training", "bare")


def _benchmark(**changes: Any) -> BenchmarkParameters:
    settings: dict[str, Any] = {
        "backbones": [MODEL], "batch_sizes": [BATCH], "precisions": ["fp32", "auto"],
        "images": 10, "seconds": 0.01, "repeats": 2, "plain_workers": 0, "seed": 0,
    }  # fmt: skip
    return BenchmarkParameters.model_validate(settings | changes)


def _backbones() -> Backbones:
    sizes = {"resize": SIZE + 4, "crop": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}
    return Backbones.model_validate({"default": sizes})


@pytest.fixture(scope="module")
def image_index(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("images")
    rows = []
    for number in range(14):
        path = f"{number}.png"
        noise = np.random.default_rng(number).integers(0, 256, (44, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / path)
        content = (folder / path).read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        rows.append({"path": path, "sha256": sha256, "label": number % 2})
    table = pd.DataFrame(rows)
    table.attrs["folder"] = folder
    return table


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> PixelCache:
    return PixelCache(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def table(image_index: pd.DataFrame, stores: PixelCache) -> pd.DataFrame:
    return measure_speed(
        image_index.attrs["folder"], image_index, stores, _backbones(), make_training(),
        _benchmark(),
    )  # fmt: skip


def test_what_auto_chose_is_measured_once(table: pd.DataFrame) -> None:
    precisions = table["precision"].tolist()
    assert precisions[0] == "fp32"
    assert len(precisions) == len(set(precisions))
    assert table["note"].isna().all()


def test_ratios_are_those_of_the_speeds(table: pd.DataFrame) -> None:
    row = table.iloc[0]
    assert (row["backbone"], row["crop"], row["batch_size"]) == (MODEL, SIZE, BATCH)
    assert row["images_of_a_pass"] % BATCH == 0
    for name in PARTS:
        assert row[f"{name}_images_per_second"] > 0
        assert row[f"{name}_memory_mb"] > 50
    for name in ("plain", "bare"):
        low, middle, high = (row[f"against_{name}{end}"] for end in ("_low", "", "_high"))
        assert 0 < low <= middle <= high
        # medians of two passes: their ratio lies between those of the passes
        ratio = row["training_images_per_second"] / row[f"{name}_images_per_second"]
        assert low * 0.99 <= ratio <= high * 1.01


def test_the_figure_shows_each_row(table: pd.DataFrame) -> None:
    twice = pd.concat([table, table.assign(batch_size=128)], ignore_index=True)
    figure = draw_benchmark(twice)
    panels = figure.axes
    assert len(panels) == len(twice)
    for axes, row in zip(panels, twice.to_dict("records"), strict=True):
        assert f"batches of {row['batch_size']}" in axes.get_title(loc="left")
        lengths = [bar.get_width() for bar in axes.patches]
        assert lengths == [row[f"{name}_images_per_second"] for name in PARTS]
        texts = [text.get_text() for text in axes.texts]
        assert f"×{row['against_plain']:.2f}" in texts[0]
        assert f"×{row['against_bare']:.2f}" in texts[2]


def test_nothing_that_could_be_measured_is_said(table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"lower benchmark\.batch_sizes"):
        draw_benchmark(table.assign(note="not enough memory"))


def test_scoring_is_measured_against_the_bare_forward_pass(image_index: pd.DataFrame) -> None:
    table = measure_scoring_speed(
        image_index.attrs["folder"], image_index, _backbones(), make_training(),
        _benchmark(precisions=["fp32"]),
    )  # fmt: skip
    (row,) = table.to_dict("records")
    assert row["note"] is None
    low, middle, high = (row[f"against_forward{end}"] for end in ("_low", "", "_high"))
    assert 0 < low <= middle <= high
    assert row["scoring_memory_mb"] > 50
    (axes,) = draw_scoring_benchmark(table).axes
    lengths = [bar.get_width() for bar in axes.patches]
    assert lengths == [row[f"{name}_images_per_second"] for name in ("scoring", "forward")]


class _DiesWithoutMemory(BareStep):
    def take_steps(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def _setup(batches: int = 2) -> Setup:
    sizes = PreprocessingParameters(resize=SIZE + 4, crop=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    training = make_training(
        batch_size=BATCH, augmentation={"flip": 0, "rotation": 0}, shuffle=False
    )
    return Setup(MODEL, sizes, training, torch.device("cpu"), "fp32", batches)


def test_a_batch_too_large_is_a_row_with_a_note(
    image_index: pd.DataFrame, stores: PixelCache, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(nodes, "BareStep", _DiesWithoutMemory)
    table = measure_speed(
        image_index.attrs["folder"], image_index, stores, _backbones(), make_training(),
        _benchmark(precisions=["fp32"]),
    )  # fmt: skip
    assert table["note"].tolist() == ["not enough memory"]
    assert "a process was killed, as it is where memory is short" in caplog.text


@pytest.fixture
def sample(image_index: pd.DataFrame, stores: PixelCache) -> Sample:
    folder, paths = image_index.attrs["folder"], image_index["path"].tolist()
    sha256s = image_index["sha256"].tolist()
    stores.build(PixelRequest(folder, paths, sha256s, _setup().preprocessing))
    return Sample(folder, paths, sha256s, image_index["label"].tolist())


def test_the_plain_recipe_learns_from_the_same_pictures_in_the_same_way(
    sample: Sample, stores: PixelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without augmentation and in the same order, the gradients are this project's."""

    def in_order(*arguments: Any, **options: Any) -> DataLoader[Any]:
        return DataLoader(*arguments, **options | {"shuffle": False})

    monkeypatch.setattr(parts, "DataLoader", in_order)
    gradients = []
    for part in (PlainRecipe(_setup(1), sample, workers=0), OwnTraining(_setup(1), sample, stores)):
        part.take_steps()
        optimizer = part._optimizer if isinstance(part, PlainRecipe) else part._trainer._optimizer
        # after the first step, Adam's mean of gradients is a tenth of the gradient
        means = [each["exp_avg"].flatten() for each in optimizer.state.values()]
        gradients.append(torch.cat(means))
    plain, own = gradients
    assert (plain - own).norm() <= 1e-3 * plain.norm()
