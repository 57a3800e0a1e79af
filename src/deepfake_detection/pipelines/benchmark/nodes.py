"""Nodes of `benchmark`: how fast this machine trains and scores."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import pandas as pd
import torch
from matplotlib.figure import Figure

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.parameters import Backbones, BenchmarkParameters, TrainingParameters
from deepfake_detection.pipelines.benchmark.figure import draw_speeds
from deepfake_detection.pipelines.benchmark.measuring import PartProcess
from deepfake_detection.pipelines.benchmark.parts import (
    BareStep,
    OwnTraining,
    Part,
    PlainRecipe,
    Sample,
    Setup,
)
from deepfake_detection.pipelines.benchmark.scoring_parts import BareForward, OwnScoring
from deepfake_detection.training.hardware import choose_hardware

log = logging.getLogger(__name__)

_FEWEST_BATCHES = 2


def measure_speed(
    training_images: Path,
    image_index: pd.DataFrame,
    benchmark_pixels: PixelCache,
    backbones: Backbones,
    training: TrainingParameters,
    benchmark: BenchmarkParameters,
) -> pd.DataFrame:
    """Measure the plain recipe, this project's training steps and the bare step.

    Each is in a process of its own, and they take turns, so that what else the machine does meets
    all alike. One device takes part.

    Args:
        training_images: The image folder.
        image_index: Its images.
        benchmark_pixels: Pixel caches of the sample.
        backbones: Preprocessing by backbone.
        training: The recipe; its batch size and precision are replaced.
        benchmark: What is compared, and for how long.

    Returns:
        A row for each backbone, batch size and precision: images per second of the three (medians
        of the passes), two ratios (medians of the passes' own, with lowest and highest), peak of
        memory in MB, images per second of validation and seconds of saving a state.

    Raises:
        UserError: If the device lacks what is asked for.
    """
    sample = _draw_sample(training_images, image_index, benchmark)
    rows = []
    for setup in _list_setups(backbones, training, benchmark):
        request = PixelRequest(sample.folder, sample.paths, sample.sha256s, setup.preprocessing)
        benchmark_pixels.build(request)
        rows.append(
            _measure(setup, sample, benchmark, partial(_measure_training, benchmark_pixels))
        )
        _log_row(rows[-1])
    return pd.DataFrame(rows)


def measure_scoring_speed(
    training_images: Path,
    image_index: pd.DataFrame,
    backbones: Backbones,
    training: TrainingParameters,
    benchmark: BenchmarkParameters,
) -> pd.DataFrame:
    """Measure scoring of pictures from their files, and the bare forward pass.

    Args:
        training_images: The image folder.
        image_index: Its images.
        backbones: Preprocessing by backbone.
        training: Says on which device.
        benchmark: What is compared, and for how long.

    Returns:
        A row for each backbone, batch size and precision: images per second of both (medians of
        the passes), their ratio (median of the passes' own, with lowest and highest), peak of
        memory in MB.

    Raises:
        UserError: If the device lacks what is asked for.
    """
    sample = _draw_sample(training_images, image_index, benchmark)
    rows = []
    for setup in _list_setups(backbones, training, benchmark):
        rows.append(_measure(setup, sample, benchmark, _measure_scoring))
        _log_scoring_row(rows[-1])
    return pd.DataFrame(rows)


def _draw_sample(folder: Path, image_index: pd.DataFrame, benchmark: BenchmarkParameters) -> Sample:
    drawn = image_index.drop_duplicates("sha256")
    drawn = drawn.sample(min(benchmark.images, len(drawn)), random_state=benchmark.seed % 2**32)
    return Sample(folder, drawn["path"].tolist(), drawn["sha256"].tolist(), drawn["label"].tolist())


def _list_setups(
    backbones: Backbones, training: TrainingParameters, benchmark: BenchmarkParameters
) -> list[Setup]:
    asked = itertools.product(benchmark.backbones, benchmark.batch_sizes, benchmark.precisions)
    setups: dict[tuple[str, int, str], Setup] = {}
    for model, batch_size, wanted in asked:
        changes = {"batch_size": batch_size, "precision": wanted, "devices": 1, "machines": 1}
        recipe = training.model_copy(update=changes | {"seed": benchmark.seed})
        hardware = choose_hardware(recipe)
        # auto may be one of the others
        setups[model, batch_size, hardware.precision] = Setup(
            model, backbones.preprocessing(model), recipe, torch.device(hardware.device),
            hardware.precision, _FEWEST_BATCHES,
        )  # fmt: skip
    return list(setups.values())


def _measure(
    setup: Setup,
    sample: Sample,
    benchmark: BenchmarkParameters,
    measure_parts: Callable[[Setup, Sample, BenchmarkParameters], dict[str, Any]],
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "backbone": setup.model,
        "crop": setup.preprocessing.crop,
        "batch_size": setup.training.batch_size,
        "precision": setup.precision,
        "device": _name(setup.device),
        "threads": torch.get_num_threads(),
        "compile": setup.training.compile,
    }
    try:
        return row | measure_parts(setup, sample, benchmark)
    except torch.OutOfMemoryError as error:
        log.warning("%s, batch size %d: %s", setup.model, setup.training.batch_size, error)
    except BrokenProcessPool:
        log.warning(
            "%s, batch size %d: a process was killed, as it is where memory is short",
            setup.model, setup.training.batch_size,
        )  # fmt: skip
    return row | {"note": "not enough memory"}


def _measure_training(
    stores: PixelCache, setup: Setup, sample: Sample, benchmark: BenchmarkParameters
) -> dict[str, Any]:
    with ExitStack() as stack:
        setup = _size_passes(setup, BareStep, "training", benchmark)
        bare = stack.enter_context(PartProcess(BareStep, setup))
        own = stack.enter_context(PartProcess(OwnTraining, setup, sample, stores))
        workers = _choose_workers(setup, sample, benchmark.plain_workers)
        plain = stack.enter_context(PartProcess(PlainRecipe, setup, sample, workers))
        parts = {"plain": plain, "training": own, "bare": bare}
        row = _compare(parts, "training", ("plain", "bare"), setup, benchmark.repeats)
        validation, saving = own.ask("time_validation"), own.ask("time_save")
    return row | {
        "plain_workers": workers,
        "validation_images_per_second": validation,
        "saving_seconds": saving,
        "note": None,
    }


def _measure_scoring(
    setup: Setup, sample: Sample, benchmark: BenchmarkParameters
) -> dict[str, Any]:
    with ExitStack() as stack:
        setup = _size_passes(setup, BareForward, "scoring", benchmark)
        bare = stack.enter_context(PartProcess(BareForward, setup))
        own = stack.enter_context(PartProcess(OwnScoring, setup, sample))
        parts = {"scoring": own, "forward": bare}
        return _compare(parts, "scoring", ("forward",), setup, benchmark.repeats) | {"note": None}


def _size_passes(
    setup: Setup, bare: Callable[[Setup], Part], task: str, benchmark: BenchmarkParameters
) -> Setup:
    """As many batches as fill the seconds of a pass, by a trial of the barest part."""
    with PartProcess(bare, setup) as trial:
        # the first step also prepares
        trial.ask("time_pass")
        speed = trial.ask("time_pass")
    batches = round(benchmark.seconds * speed / setup.training.batch_size)
    setup = _with_batches(setup, max(_FEWEST_BATCHES, batches))
    _log_start(setup, speed, benchmark.repeats, task)
    return setup


def _compare(
    parts: Mapping[str, PartProcess],
    own: str,
    others: Sequence[str],
    setup: Setup,
    repeats: int,
) -> dict[str, Any]:
    """Measure parts in turn; speeds, ratios of one to the others, and peaks of memory."""
    for part in parts.values():
        part.ask("time_pass")
    passes = [{name: part.measure() for name, part in parts.items()} for _ in range(repeats)]
    speeds = {name: [each[name][0] for each in passes] for name in parts}
    row: dict[str, Any] = {"images_of_a_pass": setup.images, "repeats": repeats}
    for name, of_part in speeds.items():
        row[f"{name}_images_per_second"] = median(of_part)
    for name in others:
        ratios = [ours / its for ours, its in zip(speeds[own], speeds[name], strict=True)]
        row |= {
            f"against_{name}": median(ratios),
            f"against_{name}_low": min(ratios),
            f"against_{name}_high": max(ratios),
        }
    for name in parts:
        row[f"{name}_memory_mb"] = max(each[name][1] for each in passes)
    return row


def _choose_workers(setup: Setup, sample: Sample, wanted: str | int) -> int:
    """As many workers as pay: tried on short passes."""
    if wanted != "auto":
        return int(wanted)
    cores = int(joblib.cpu_count())
    candidates = (0, cores) if setup.device.type == "cpu" else (max(1, cores // 2), cores)
    speeds = {}
    for workers in dict.fromkeys(candidates):
        short = _with_batches(setup, min(setup.batches, max(_FEWEST_BATCHES, 2 * workers)))
        with PartProcess(PlainRecipe, short, sample, workers) as trial:
            trial.ask("time_pass")
            speeds[workers] = trial.ask("time_pass")
    return max(speeds, key=lambda workers: speeds[workers])


def _with_batches(setup: Setup, batches: int) -> Setup:
    return Setup(
        setup.model, setup.preprocessing, setup.training, setup.device, setup.precision, batches
    )


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name", device)).strip()


def _log_start(setup: Setup, speed: float, repeats: int, task: str) -> None:
    # a first pass that prepares, and the repeats: of two parts, or of three, one of them slower
    minutes = {"training": 4, "scoring": 2}[task] * (repeats + 1) * setup.images / speed / 60
    log.info(
        "Measuring %s of %s at %d×%d, batches of %d, %s: about %.0f min",
        task, setup.model, setup.preprocessing.crop, setup.preprocessing.crop,
        setup.training.batch_size, setup.precision, max(1, minutes),
    )  # fmt: skip


def _log_row(row: dict[str, Any]) -> None:
    if row["note"]:
        return
    log.info(
        "%s at %d×%d, batches of %d, %s: %.1f images/s, %.2f times the plain recipe's %.1f "
        "(%d workers), %.3f of the bare step's %.1f; %.0f MB",
        row["backbone"], row["crop"], row["crop"], row["batch_size"], row["precision"],
        row["training_images_per_second"], row["against_plain"], row["plain_images_per_second"],
        row["plain_workers"], row["against_bare"], row["bare_images_per_second"],
        row["training_memory_mb"],
    )  # fmt: skip


def _log_scoring_row(row: dict[str, Any]) -> None:
    if row["note"]:
        return
    log.info(
        "Scoring by %s at %d×%d, batches of %d, %s: %.1f images/s from their files, %.3f of the "
        "bare forward pass's %.1f; %.0f MB",
        row["backbone"], row["crop"], row["crop"], row["batch_size"], row["precision"],
        row["scoring_images_per_second"], row["against_forward"],
        row["forward_images_per_second"], row["scoring_memory_mb"],
    )  # fmt: skip


def draw_benchmark(benchmark_table: pd.DataFrame) -> Figure:
    """Draw images per second of the three, for each backbone, batch size and precision.

    Raises:
        UserError: If nothing could be measured.
    """
    return draw_speeds(_measured(benchmark_table), "training")


def draw_scoring_benchmark(scoring_benchmark_table: pd.DataFrame) -> Figure:
    """Draw images per second of both, for each backbone, batch size and precision.

    Raises:
        UserError: If nothing could be measured.
    """
    return draw_speeds(_measured(scoring_benchmark_table), "scoring")


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    measured = table[table["note"].isna()]
    if measured.empty:
        raise UserError("nothing could be measured: lower benchmark.batch_sizes")
    return measured
