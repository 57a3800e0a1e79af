"""What both benchmarks share: options, images, one process per workload, table and figure."""

import hashlib
import itertools
import os
import signal
import sys
import tempfile
from abc import ABC, abstractmethod
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from PIL import Image
from torchvision.datasets import ImageFolder

from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import build_network, replace_heads
from deepfake_detection.models.devices import choose_device, choose_precision, keeping_memory
from deepfake_detection.parameters import Backbones, PreprocessingParameters, TrainingParameters
from deepfake_detection.reports.style import colour_of, drawing, finished

ROOT = Path(__file__).parents[1]
FEWEST_BATCHES = 2
TITLE = "{backbone}, {crop}×{crop}, batches of {batch_size}, {precision}"
_PARAMETERS = ("parameters.yml", "parameters_training.yml", "parameters_recipes.yml")
_SIDE_OF_DRAWN_IMAGES = 299
_SECONDS_BETWEEN_MEMORY_READINGS = 0.05


def option_parser(description: str) -> ArgumentParser:
    """The options that both benchmarks take."""
    parser = ArgumentParser(description=description, formatter_class=ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add(
        "--images",
        type=Path,
        help="folder with class folders of images; None: they are drawn at random",
    )
    add("--count", type=int, default=1024, help="images taken at most")
    add("--backbones", nargs="+", default=["resnet18", "vgg16", "inception_v3"])
    add("--resize", type=int, help="pixels; None: the backbone's own")
    add("--crop", type=int, help="pixels; None: the backbone's own")
    add("--batch-sizes", nargs="+", type=int, default=[64])
    add("--precisions", nargs="+", choices=["auto", "fp32", "bf16"], default=["auto"])
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    add("--recipe", default="reference", help="of conf/base/parameters_recipes.yml")
    add("--compile", action="store_true", help="train with torch.compile")
    add("--seconds", type=float, default=10, help="of one pass, about; two batches at least")
    add("--repeats", type=int, default=5, help="passes of each workload; the median counts")
    add("--seed", type=int, default=0, help="of the choice of images and the weights")
    add("--output", type=Path, default=ROOT / "data/08_reporting/benchmark")
    return parser


@dataclass(frozen=True)
class Sample:
    """The images that every workload uses."""

    folder: Path
    paths: Sequence[str]  # relative to the folder
    sha256s: Sequence[str]  # of the files, hexadecimal
    scratch: Path  # a temporary folder, for pixel caches

    def repeat(self, count: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Numbers of `count` images, the sample over and over."""
        return np.resize(np.arange(len(self.paths)), count)


@dataclass(frozen=True)
class Setup:
    """What the workloads of one row have in common."""

    model: str
    preprocessing: PreprocessingParameters
    training: TrainingParameters  # conf/base, with the options' batch size and seed
    device: torch.device
    precision: str  # fp32 or bf16; the plain recipe is always fp32
    batches: int = FEWEST_BATCHES  # of one pass

    @property
    def images(self) -> int:
        """Of one pass."""
        return self.batches * self.training.batch_size

    def build_network(self) -> tuple[torch.nn.Module, list[str]]:
        """A network with random weights, and the names of its heads."""
        torch.manual_seed(self.training.seed)
        crop = self.preprocessing.crop
        network = build_network(self.model, transform_input=False, crop=crop)
        return network, list(replace_heads(network))

    def random_batch(self) -> torch.Tensor:
        """Normally distributed pixels, [batch, 3, crop, crop], on the device."""
        crop = self.preprocessing.crop
        batch = torch.randn(self.training.batch_size, 3, crop, crop, device=self.device)
        return batch.contiguous(memory_format=torch.channels_last)

    def describe(self) -> dict[str, Any]:
        """The columns of a table that name this setup."""
        if self.device.type == "cuda":
            device = torch.cuda.get_device_name(self.device)
        else:
            device = str(torch.cpu.get_capabilities().get("cpu_name", self.device)).strip()
        return {
            "backbone": self.model,
            "crop": self.preprocessing.crop,
            "batch_size": self.training.batch_size,
            "precision": self.precision,
            "device": device,
            "threads": torch.get_num_threads(),
            "compile": self.training.compile,
        }

    def __str__(self) -> str:
        return TITLE.format(**self.describe())


def list_setups(options: Namespace) -> list[Setup]:
    """Every combination of backbone, batch size and precision, each once."""
    conf = OmegaConf.merge(*(OmegaConf.load(ROOT / "conf/base" / name) for name in _PARAMETERS))
    if options.recipe not in conf.recipes:
        raise ValueError(f"--recipe should be one of {', '.join(conf.recipes)}")
    conf = OmegaConf.merge(conf, conf.recipes[options.recipe])
    recipe, backbones = (OmegaConf.to_container(conf[name]) for name in ("training", "backbones"))
    sizes = {name: pixels for name in ("resize", "crop") if (pixels := getattr(options, name))}
    setups: dict[str, Setup] = {}
    for model, batch_size, asked in itertools.product(
        options.backbones, options.batch_sizes, options.precisions
    ):
        own_sizes = Backbones.model_validate(backbones).preprocessing(model).model_dump()
        changes = {"batch_size": batch_size, "seed": options.seed, "compile": options.compile}
        preprocessing = PreprocessingParameters(**own_sizes | sizes)
        training = TrainingParameters.model_validate(recipe | changes)
        device = choose_device(options.device)
        precision = choose_precision(asked, device, "--precisions")
        # `auto` may resolve to one of the others
        setup = Setup(model, preprocessing, training, device, precision)
        setups[str(setup)] = setup
    return list(setups.values())


@contextmanager
def open_sample(options: Namespace) -> Iterator[Sample]:
    """Choose images of the folder, or draw some; inside, they and a scratch folder exist."""
    generator = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.images or Path(scratch, "images")
        if options.images is None:
            _draw_images(folder / "drawn", options.count, generator)
        found = [path for path, _ in ImageFolder(folder).samples]
        chosen = [Path(found[at]) for at in generator.permutation(len(found))[: options.count]]
        sha256s = [hashlib.sha256(path.read_bytes()).hexdigest() for path in chosen]
        paths = [path.relative_to(folder).as_posix() for path in chosen]
        yield Sample(folder, paths, sha256s, Path(scratch, "pixels"))


def _draw_images(folder: Path, count: int, generator: np.random.Generator) -> None:
    """Smooth random colours, in PNG files as large as the reference's crops."""
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (64, 64, 3), np.uint8))
        image = coarse.resize((_SIDE_OF_DRAWN_IMAGES,) * 2, Image.Resampling.BICUBIC)
        image.save(folder / f"{number}.png", compress_level=1)


class Workload(ABC):
    """Something whose speed is measured; built in a process of its own."""

    setup: Setup
    keeps_memory = True  # whether the process keeps memory from step to step (`keeping_memory`)

    @abstractmethod
    def _run_pass(self) -> None:
        """Process the images of one pass; the device may still be computing at the end."""

    def set_batches(self, batches: int) -> None:
        """Change the batches of a pass."""
        self.setup = replace(self.setup, batches=batches)

    def time_pass(self) -> float:
        """Images per second of one pass."""
        self._wait()
        started = perf_counter()
        self._run_pass()
        self._wait()
        return self.setup.images / (perf_counter() - started)

    def _wait(self) -> None:
        if self.setup.device.type != "cpu":
            torch.accelerator.synchronize()

    def take_gpu_peak(self) -> float:
        """Most bytes that a GPU held since the last call; 0 on a CPU."""
        if self.setup.device.type != "cuda":
            return 0.0
        peak = torch.cuda.max_memory_allocated()
        # the workloads share the device
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return float(peak)


# The workload of a child process, and what stays open until the process ends.
_workload: Workload | None = None
_open_contexts = ExitStack()


class WorkloadProcess(ProcessPoolExecutor):
    """A workload in a process of its own, which idles while the others are measured."""

    def __init__(self, build: Callable[..., Workload], *arguments: Any) -> None:
        super().__init__(1, get_context("spawn"))
        self._process_id = self.submit(_build, build, *arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the workload."""
        self._process_id.result()
        return self.submit(_call, method, *arguments).result()

    def measure(self) -> tuple[float, float]:
        """Images per second of a pass, and the peak of memory (a GPU's, if it uses one) in MB."""
        self.call("take_gpu_peak")
        speed, peak = self.submit(_call, "time_pass"), 0.0
        while not peak or not wait([speed], _SECONDS_BETWEEN_MEMORY_READINGS).done:
            peak = max(peak, _resident_bytes(self._process_id.result()))
        return speed.result(), (self.call("take_gpu_peak") or peak) / 1e6


def _build(build: Callable[..., Workload], *arguments: Any) -> int:
    """Build the workload of this process; the process's number."""
    global _workload  # noqa: PLW0603  (a child process has one workload)
    # a terminal sends Ctrl-C to all processes; only the parent reports it
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _workload = build(*arguments)
    if _workload.keeps_memory:
        _open_contexts.enter_context(keeping_memory(_workload.setup.device))
    return os.getpid()


def _call(method: str, *arguments: Any) -> Any:
    return getattr(_workload, method)(*arguments)


def _resident_bytes(process_id: int) -> float:
    """Memory of a process and its children; 1 if it has ended."""
    total = 1.0
    with suppress(psutil.Error):
        process = psutil.Process(process_id)
        for each in (process, *process.children(recursive=True)):
            memory = each.memory_info()
            # not mapped files, where the system tells them apart: they can be dropped at any time
            total += memory.rss - getattr(memory, "shared", 0)
    return total


def size_passes(bare: WorkloadProcess, setup: Setup, seconds: float) -> Setup:
    """The setup with as many batches as the barest workload takes in `seconds`."""
    # the first pass also prepares
    bare.call("time_pass")
    speed = bare.call("time_pass")
    batches = max(FEWEST_BATCHES, round(seconds * speed / setup.training.batch_size))
    bare.call("set_batches", batches)
    return replace(setup, batches=batches)


def compare(
    workloads: Mapping[str, WorkloadProcess], own: str, setup: Setup, repeats: int
) -> dict[str, Any]:
    """Measure workloads in turn, so that other load on the machine affects all alike.

    Returns:
        images_of_a_pass, repeats; of each workload `{name}_images_per_second` (median) and
        `{name}_memory_mb` (peak); of each but `own` the ratio `against_{name}` of own's speed to
        its (median of the passes' ratios), and with `_low` and `_high` the range.
    """
    for workload in workloads.values():
        workload.call("time_pass")
    passes = [{name: each.measure() for name, each in workloads.items()} for _ in range(repeats)]
    row: dict[str, Any] = {"images_of_a_pass": setup.images, "repeats": repeats}
    for name in workloads:
        row[f"{name}_images_per_second"] = median(each[name][0] for each in passes)
        row[f"{name}_memory_mb"] = max(each[name][1] for each in passes)
        if name != own:
            ratios = [each[own][0] / each[name][0] for each in passes]
            for end, value in (("", median(ratios)), ("_low", min(ratios)), ("_high", max(ratios))):
                row[f"against_{name}{end}"] = value
    return row


def share_of(
    parts: Mapping[str, WorkloadProcess], whole: WorkloadProcess, repeats: int
) -> dict[str, float]:
    """Seconds of parts, measured in turn, as shares of those of the whole: `{name}_share`."""
    for each in (*parts.values(), whole):
        each.call("time_pass")
    passes = [
        {name: whole.call("time_pass") / each.call("time_pass") for name, each in parts.items()}
        for _ in range(repeats)
    ]
    return {f"{name}_share": median(each[name] for each in passes) for name in parts}


Measure = Callable[[Setup, Sample, Namespace], dict[str, Any]]


def run_benchmark(
    task: str, options: Namespace, measure: Measure, workloads: Mapping[str, str]
) -> None:
    """Measure every setup; write `{task}_speed.csv` and `{task}_speed.png` to the output folder.

    `task` names this project's workload; `measure` gives the columns of one setup.
    """
    try:
        table = _measure_all(task, options, measure)
    except (UserError, OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / f"{task}_speed.csv", index=False)
    measured = table[table["note"].isna()]
    if len(measured):
        draw_speeds(measured, task, workloads).savefig(options.output / f"{task}_speed.png")


def _measure_all(task: str, options: Namespace, measure: Measure) -> pd.DataFrame:
    rows = []
    with open_sample(options) as sample:
        for setup in list_setups(options):
            print(f"Images per second, {task}, {setup}:", flush=True)
            try:
                row = measure(setup, sample, options) | {"note": None}
            # the system kills a process that takes more memory than there is
            except (torch.OutOfMemoryError, BrokenExecutor):
                row = {"note": "not enough memory"}
            print(f"  {row['note'] or round(row[f'{task}_images_per_second'], 1)}")
            rows.append(setup.describe() | row)
    return pd.DataFrame(rows)


def draw_speeds(table: pd.DataFrame, task: str, workloads: Mapping[str, str]) -> Figure:
    """Bars of images per second, a panel for each row of the table, each with its own scale."""
    with drawing():
        figure = Figure(figsize=(6.4, 1.4 + len(table) * (0.25 + 0.2 * len(workloads))))
        panels = figure.subplots(len(table), 1, squeeze=False)[:, 0]
        for axes, row in zip(panels, table.to_dict("records"), strict=True):
            speeds = [row[f"{name}_images_per_second"] for name in workloads]
            ratios = [row.get(f"against_{name}", 0) for name in workloads]
            pairs = zip(speeds, ratios, strict=True)
            labels = [f" {speed:.3g}" + f" (×{ratio:.2f})" * (ratio > 0) for speed, ratio in pairs]
            colours = [colour_of(words) for words in workloads.values()]
            bars = axes.barh(list(workloads.values()), speeds, color=colours)
            axes.bar_label(bars, labels, fontsize=8)
            axes.margins(x=0.2)
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.set_title(TITLE.format(**row), fontsize=9)
        panels[-1].set_xlabel("Images per second (in brackets: this project's speed divided by it)")
        figure.suptitle(f"Speed of {task} on {table['device'].iloc[0]}", x=0.01, ha="left")
        return finished(figure)
