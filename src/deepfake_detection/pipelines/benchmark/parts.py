"""What the benchmark compares: three ways to take the same training steps."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor
from torch.optim import Adam
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.models.backbones import build_network, replace_heads, split_parameters
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters
from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.loop import Trainer
from deepfake_detection.training.optimisation import Loss, build_optimizer
from deepfake_detection.training.processes import Processes


@dataclass(frozen=True)
class Sample:
    """The images that all parts work on.

    Attributes:
        folder: The image folder.
        paths: Of the images, relative to it.
        sha256s: Of the files, hexadecimal.
        labels: 1 fake, 0 real.
    """

    folder: Path
    paths: Sequence[str]
    sha256s: Sequence[str]
    labels: Sequence[int]


@dataclass(frozen=True)
class Setup:
    """What all parts have in common.

    Attributes:
        model: torchvision's name of the backbone.
        preprocessing: Its sizes and normalisation.
        training: The recipe, with the batch size.
        device: Where to compute.
        precision: fp32 or bf16; the plain recipe is always fp32.
        batches: Of one pass.
    """

    model: str
    preprocessing: PreprocessingParameters
    training: TrainingParameters
    device: torch.device
    precision: str
    batches: int

    @property
    def images(self) -> int:
        """Of one pass."""
        return self.batches * self.training.batch_size


class Part(ABC):
    """One way to train, built in a process of its own.

    Attributes:
        keeps_memory: Whether its process keeps memory from step to step (see `keeping_memory`).
    """

    setup: Setup
    keeps_memory = True

    @abstractmethod
    def take_steps(self) -> None:
        """Take the training steps of one pass, and wait for the last."""

    def time_pass(self) -> float:
        """Images per second of one pass."""
        _wait_for(self.setup.device)
        started = perf_counter()
        self.take_steps()
        _wait_for(self.setup.device)
        return self.setup.images / (perf_counter() - started)


class BareStep(Part):
    """Forward, loss, backward and update on one batch that lies on the device, over and over."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        device, training = setup.device, setup.training
        torch.manual_seed(training.seed)
        network = build_network(setup.model, transform_input=False)
        heads = replace_heads(network)
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.backends.cudnn.benchmark = True
        self._optimizer = build_optimizer(*split_parameters(network, heads), training.optimizer)
        self._labels = torch.arange(training.batch_size, device=device) % 2
        self._loss = Loss(training.loss, self._labels.cpu(), device)
        size = (training.batch_size, 3, setup.preprocessing.crop, setup.preprocessing.crop)
        pictures = torch.randn(size, device=device)
        self._pictures = pictures.contiguous(memory_format=torch.channels_last)
        self._forward: Any = torch.compile(network) if training.compile else network
        self._network.train()

    def take_steps(self) -> None:
        """See `Part`."""
        bf16 = self.setup.precision == "bf16"
        for _ in range(self.setup.batches):
            with torch.autocast(self.setup.device.type, torch.bfloat16, enabled=bf16):
                outputs = self._forward(self._pictures)
            loss = self._loss(outputs, self._labels)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()


class OwnTraining(Part):
    """This project's training: the very passes that the pipeline `training` takes."""

    def __init__(self, setup: Setup, sample: Sample, stores: PixelCache) -> None:
        self.setup = setup
        torch.manual_seed(setup.training.seed)
        network = build_network(setup.model, transform_input=False)
        heads = replace_heads(network)
        pixels = stores.open(sample.sha256s, setup.preprocessing)
        labels = torch.tensor(sample.labels)
        taken = np.resize(np.arange(len(sample.sha256s)), setup.images)
        pictures = LabelledPixels(
            pixels.array, pixels.rows(sample.sha256s)[taken], labels[torch.from_numpy(taken)]
        )
        self._trainer = Trainer(
            network, heads, pictures, pictures, setup.preprocessing, setup.training,
            precision=setup.precision, processes=Processes.alone(setup.device),
        )  # fmt: skip
        self._passes = 0

    def take_steps(self) -> None:
        """See `Part`."""
        self._passes += 1
        self._trainer.train(self._passes)

    def time_validation(self) -> float:
        """Images per second of a validation pass."""
        started = perf_counter()
        self._trainer.validate(1)
        return self.setup.images / (perf_counter() - started)

    def time_save(self) -> float:
        """Seconds that it takes to write the training state, its best weights left out."""
        with tempfile.TemporaryDirectory() as folder:
            started = perf_counter()
            TrainingCheckpoints(Path(folder)).save("0" * 64, self._trainer.state_dict())
            return perf_counter() - started


class PlainRecipe(Part):
    """The reference's recipe as it is usually written: PIL transforms in a DataLoader, fp32.

    Args:
        setup: What all parts have in common.
        sample: The images.
        workers: Of the DataLoader.
    """

    keeps_memory = False

    def __init__(self, setup: Setup, sample: Sample, workers: int) -> None:
        self.setup = setup
        device, training, sizes = setup.device, setup.training, setup.preprocessing
        torch.manual_seed(training.seed)
        network = build_network(setup.model, transform_input=False)
        rest, head = split_parameters(network, replace_heads(network))
        self._network = network.to(device).train()
        rate = training.optimizer.lr
        head_rate = rate * training.optimizer.head_lr_multiple
        groups: list[dict[str, Any]] = [{"params": rest}, {"params": head, "lr": head_rate}]
        self._optimizer = Adam(
            groups,
            lr=rate,
            betas=training.optimizer.betas,
            weight_decay=training.optimizer.weight_decay,
        )
        augmentation = training.augmentation
        transform = transforms.Compose(
            [
                transforms.Resize(sizes.resize),
                transforms.CenterCrop(sizes.crop),
                transforms.RandomHorizontalFlip(augmentation.flip),
                transforms.RandomRotation(augmentation.rotation),
                transforms.ToTensor(),
                transforms.Normalize(sizes.mean, sizes.std),
            ]
        )
        taken = np.resize(np.arange(len(sample.paths)), setup.images).tolist()
        files = [(str(sample.folder / sample.paths[at]), sample.labels[at]) for at in taken]
        self._loader = DataLoader(
            _Files(files, transform),
            batch_size=training.batch_size,
            shuffle=True,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )

    def take_steps(self) -> None:
        """See `Part`."""
        device, weight = self.setup.device, self.setup.training.loss.auxiliary_weight
        loss_sum, correct = 0.0, 0
        for batch in self._loader:
            pictures, labels = (each.to(device) for each in batch)
            self._optimizer.zero_grad()
            outputs = self._network(pictures)
            main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = F.cross_entropy(main, labels)
            for output in auxiliary:
                loss = loss + weight * F.cross_entropy(output, labels)
            loss.backward()
            self._optimizer.step()
            loss_sum += loss.item() * len(labels)
            correct += int((main.argmax(dim=1) == labels).sum().item())


class _Files(Dataset[tuple[Tensor, int]]):
    """Files and labels, as torchvision's ImageFolder gives them."""

    def __init__(self, files: list[tuple[str, int]], transform: transforms.Compose) -> None:
        self._files, self._transform = files, transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        path, label = self._files[at]
        with Image.open(path) as image:
            return self._transform(image.convert("RGB")), label


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
