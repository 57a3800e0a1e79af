"""Speed of training: the plain recipe, this project's training steps, and the bare step.

python benchmarks/training_speed.py --help lists the options; docs/speed.md says what is measured.
"""

import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import joblib
import timing
import torch
import torch.nn.functional as F  # noqa: N812
from timing import Sample, Setup, Workload, WorkloadProcess
from torch.optim import Adam
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.models.backbones import split_parameters
from deepfake_detection.training.batches import BatchLoader, LabelledPixels, fit_on
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.loop import Trainer
from deepfake_detection.training.optimisation import Average, Loss, build_optimizer
from deepfake_detection.training.sampling import list_batches
from deepfake_detection.training.training_inputs import EpochInputs
from deepfake_detection.training.tuning import group_parameters

WORKLOADS = {"plain": "plain recipe", "training": "this project", "bare": "bare step"}


class BareStep(Workload):
    """Forward, loss, backward and update on one batch that lies on the device, over and over."""

    def __init__(self, setup: Setup) -> None:
        self.setup, training = setup, setup.training
        network, heads = setup.build_network()
        network = network.to(setup.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.backends.cudnn.benchmark = True
        backbone, head = group_parameters(network, heads, training.tune, training.optimizer)
        self._optimizer = build_optimizer([*backbone, *head], training.optimizer)
        self._labels = torch.arange(training.batch_size, device=setup.device) % 2
        self._loss = Loss(training.loss, self._labels.cpu(), setup.device)
        self._images = setup.random_batch()
        network.train()
        self._forward: Any = torch.compile(network) if training.compile else network

    def _run_pass(self) -> None:
        bf16 = self.setup.precision == "bf16"
        for _ in range(self.setup.batches):
            with torch.autocast(self.setup.device.type, torch.bfloat16, enabled=bf16):
                outputs = self._forward(self._images)
            loss = self._loss(outputs, self._labels)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()


def _open_pictures(setup: Setup, sample: Sample) -> LabelledPixels:
    """The images of a pass."""
    pixels = PixelCache(sample.scratch).open(sample.sha256s, setup.preprocessing)
    chosen = sample.repeat(setup.images)
    # speed does not depend on the labels
    labels = torch.from_numpy(chosen) % 2
    return LabelledPixels(pixels.array, pixels.rows(sample.sha256s)[chosen], labels)


class ProjectTraining(Workload):
    """This project's training: the epochs that the pipeline `training` runs."""

    def __init__(self, setup: Setup, sample: Sample) -> None:
        self.setup = setup
        network, heads = setup.build_network()
        images = _open_pictures(setup, sample)
        self.trainer = Trainer(
            network, heads, images, images, setup.preprocessing, setup.training,
            precision=setup.precision, processes=Processes(setup.device),
        )  # fmt: skip
        self._epoch = 0

    def _run_pass(self) -> None:
        self._epoch += 1
        self.trainer.train(self._epoch)

    def time_more(self) -> dict[str, float]:
        """Images per second of validation, and seconds to write the training state."""
        started = perf_counter()
        self.trainer.validate()
        validated = perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            TrainingCheckpoints(Path(folder)).save("0" * 64, self.trainer.state_dict())
            saved = perf_counter()
        speed = self.setup.images / (validated - started)
        return {"validation_images_per_second": speed, "saving_seconds": saved - validated}


class Augmentation(Workload):
    """Reading and augmenting the batches of one epoch, without a network."""

    def __init__(self, setup: Setup, sample: Sample) -> None:
        self.setup = setup
        pictures = _open_pictures(setup, sample)
        self._loader = BatchLoader(
            pictures, setup.device, resident=fit_on(setup.device, [pictures])
        )
        self._epoch = 0

    def _run_pass(self) -> None:
        self._epoch += 1
        generator = torch.Generator().manual_seed(self._epoch)
        batches = list_batches(self._loader.pictures, self.setup.training, generator)
        processes = Processes(self.setup.device)
        inputs = EpochInputs(batches, self.setup.training, self._epoch, generator, processes)
        for pictures, labels in self._loader.batches(batches):
            inputs.make(pictures, labels)


class Averaging(Workload):
    """The moving average of the weights, once for each batch."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        network, _ = setup.build_network()
        self._network = network.to(setup.device)
        self._average = Average(self._network, setup.training.ema or 0.998)

    def _run_pass(self) -> None:
        for _ in range(self.setup.batches):
            self._average.update(self._network)


class PlainRecipe(Workload):
    """The reference recipe as it is usually written: PIL transforms in a DataLoader, fp32."""

    keeps_memory = False

    def __init__(self, setup: Setup, sample: Sample, workers: int) -> None:
        self.setup = setup
        device, training, sizes = setup.device, setup.training, setup.preprocessing
        network, heads = setup.build_network()
        backbone, head = split_parameters(network, heads)
        self.network = network.to(device).train()
        optimizer = training.optimizer
        head_rate = optimizer.lr * optimizer.head_lr_multiple
        groups: list[dict[str, Any]] = [{"params": backbone}, {"params": head, "lr": head_rate}]
        self.optimizer = Adam(
            groups, optimizer.lr, betas=optimizer.betas, weight_decay=optimizer.weight_decay
        )
        transform = transforms.Compose(
            [
                transforms.Resize(sizes.resize),
                transforms.CenterCrop(sizes.crop),
                transforms.RandomHorizontalFlip(training.augmentation.flip),
                transforms.RandomRotation(training.augmentation.rotation),
                transforms.ToTensor(),
                transforms.Normalize(sizes.mean, sizes.std),
            ]
        )
        files = ImageFolder(sample.folder, transform)
        chosen = sample.repeat(setup.images).tolist()
        files.samples = [(str(sample.folder / sample.paths[at]), at % 2) for at in chosen]
        self._loader = DataLoader(
            files,
            batch_size=training.batch_size,
            shuffle=training.shuffle,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )

    def _run_pass(self) -> None:
        device, weight = self.setup.device, self.setup.training.loss.auxiliary_weight
        loss_sum, correct = 0.0, 0
        for batch in self._loader:
            images, labels = (each.to(device) for each in batch)
            self.optimizer.zero_grad()
            outputs = self.network(images)
            main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = F.cross_entropy(main, labels)
            for output in auxiliary:
                loss = loss + weight * F.cross_entropy(output, labels)
            loss.backward()
            self.optimizer.step()
            # a plain loop reads both after every batch
            loss_sum += loss.item() * len(labels)
            correct += int((main.argmax(dim=1) == labels).sum().item())


def measure(setup: Setup, sample: Sample, options: Namespace) -> dict[str, Any]:
    """The columns of `timing.compare`, workers of the plain recipe, validation and saving."""
    pixels = PixelRequest(sample.folder, sample.paths, sample.sha256s, setup.preprocessing)
    PixelCache(sample.scratch).build(pixels)
    with WorkloadProcess(BareStep, setup) as bare:
        setup = timing.size_passes(bare, setup, options.seconds)
        workers = options.workers
        workers = _fastest_workers(setup, sample) if workers is None else workers
        with (
            WorkloadProcess(ProjectTraining, setup, sample) as training,
            WorkloadProcess(PlainRecipe, setup, sample, workers) as plain,
        ):
            workloads = {"plain": plain, "training": training, "bare": bare}
            row = timing.compare(workloads, "training", setup, options.repeats)
            row |= {"plain_workers": workers} | training.call("time_more")
        with (
            WorkloadProcess(Augmentation, setup, sample) as augmentation,
            WorkloadProcess(Averaging, setup) as averaging,
        ):
            parts = {"augmentation": augmentation, "averaging": averaging}
            shares = timing.share_of(parts, bare, options.repeats)
        return row | shares


def _fastest_workers(setup: Setup, sample: Sample) -> int:
    """The number of workers with which the plain recipe is fastest, by short trials."""
    cores = int(joblib.cpu_count())
    candidates = (0, cores) if setup.device.type == "cpu" else (max(1, cores // 2), cores)
    speeds = {}
    for workers in dict.fromkeys(candidates):
        short = replace(setup, batches=min(setup.batches, max(timing.FEWEST_BATCHES, 2 * workers)))
        with WorkloadProcess(PlainRecipe, short, sample, workers) as trial:
            trial.call("time_pass")
            speeds[workers] = trial.call("time_pass")
    return max(speeds, key=lambda workers: speeds[workers])


if __name__ == "__main__":
    asked = timing.option_parser("Measure training against the plain recipe and the bare step.")
    asked.add_argument("--workers", type=int, help="of the plain recipe; None: what is fastest")
    timing.run_benchmark("training", asked.parse_args(), measure, WORKLOADS)
