"""A detector: network, preprocessing, class names, and where they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.special import expit
from torch import Tensor, nn
from tqdm import tqdm

from deepfake_detection.detector.memory import keeping_memory
from deepfake_detection.detector.pictures import UnreadablePictureError, read_picture, to_rgb
from deepfake_detection.detector.pixels import PixelArray, read_ahead
from deepfake_detection.detector.preprocessing import crop_pixels
from deepfake_detection.errors import UserError
from deepfake_detection.parameters import PreprocessingParameters

REAL, FAKE = 0, 1
CLASS_NAMES = ("real", "fake")

Picture = str | Path | Image.Image


@dataclass(frozen=True)
class DetectorCard:
    """What a detector says of itself, as plain JSON.

    Attributes:
        backbone: torchvision's name of the network.
        transform_input: See `backbones.build_network`.
        preprocessing: resize, crop (pixels), mean, std (of RGB in [0, 1]).
        class_names: Of the outputs, in order: real, fake.
        classes: Class folders that it was trained on, each with its label.
        threshold: From this fake probability on, the verdict is fake.
        temperature: Logits are divided by it before the softmax.
        best_epoch: The epoch, from 1, that the weights are of.
        best_validation_accuracy: In that epoch, in [0, 1].
        split: Summary of the split: method, ratios, seed, images, fingerprint …
        settings: All parameters of the run.
        run_fingerprint: SHA-256 over the settings and the split's fingerprint.
        versions: Of the libraries that made it.
        computed_on: Device, processes, precision and threads of its training.
        calibration: Which of threshold and temperature validation chose (`fitted`), and what has to
            be known of them (`notes`).
    """

    backbone: str
    transform_input: bool
    preprocessing: dict[str, Any]
    class_names: list[str]
    classes: dict[str, str]
    threshold: float
    temperature: float
    best_epoch: int
    best_validation_accuracy: float
    split: dict[str, Any]
    settings: dict[str, Any]
    run_fingerprint: str
    versions: dict[str, str]
    computed_on: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Detector:
    """Tells real face pictures from fake ones.

    Attributes:
        network: In evaluation mode; [n, 3, crop, crop] float32, normalised, to [n, 2] logits.
        card: What it says of itself.
        trained_on: uint8, [images, 32]: SHA-256 of each file that it was trained on.
        validated_on: The same of the files that chose its epoch.
    """

    network: nn.Module
    card: DetectorCard
    trained_on: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    validated_on: np.ndarray[tuple[int, int], np.dtype[np.uint8]]

    @classmethod
    def load(cls, path: str | Path) -> Detector:
        """Read a detector file, onto the CPU.

        Raises:
            UserError: If there is no such file, or it is damaged or not a detector.
        """
        from deepfake_detection.detector.file import read_detector

        return read_detector(Path(path))

    @property
    def preprocessing(self) -> PreprocessingParameters:
        """Sizes and normalisation of its pictures."""
        return PreprocessingParameters.model_validate(self.card.preprocessing)

    def describe(self) -> dict[str, Any]:
        """Its card as a plain dictionary."""
        return asdict(self.card)

    def score(self, pictures: Picture | Sequence[Picture]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Fake probabilities of pictures.

        Args:
            pictures: One or many: paths, or PIL images.

        Returns:
            float64, [pictures], in [0, 1]. From `card.threshold` on, the verdict is fake.

        Raises:
            UserError: If a file cannot be read, naming it.
        """
        if isinstance(pictures, str | Path | Image.Image):
            pictures = [pictures]
        preprocessing = self.preprocessing
        pixels = [crop_pixels(_open(picture), preprocessing) for picture in pictures]
        if not pixels:
            return np.empty(0)
        return self.probabilities(self.logits(np.stack(pixels)))

    def logits(
        self,
        pixels: PixelArray,
        rows: Iterable[int] | None = None,
        *,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Score preprocessed pixels, in float32.

        Args:
            pixels: uint8, [n, crop, crop, 3], as `crop_pixels` gives them, or files in their place.
            rows: Which of them, in this order; all, if None.
            batch_size: Pictures scored at once.
            device: Where to compute.

        Returns:
            float64, [rows]: logit of fake minus logit of real, without temperature.
        """
        chosen = np.arange(len(pixels)) if rows is None else np.asarray(list(rows), dtype=np.intp)
        network = self.network.to(device).eval()
        normalise = Normalise(self.preprocessing).to(device)
        logits = [np.empty(0)]
        batches = [chosen[at : at + batch_size] for at in range(0, len(chosen), batch_size)]
        bar = tqdm(batches, desc="Scoring", unit="batch", leave=False, disable=None)
        with torch.inference_mode(), keeping_memory(torch.device(device)):
            for read, _ in zip(read_ahead(pixels, batches), bar, strict=True):
                # not every device has double precision
                outputs = network(normalise(to_batch(read, device))).cpu().double()
                logits.append((outputs[:, FAKE] - outputs[:, REAL]).numpy())
        return np.concatenate(logits)

    def probabilities(
        self, logits: np.ndarray[Any, np.dtype[np.float64]]
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Fake probabilities of logits (fake minus real), with the detector's temperature."""
        return np.asarray(expit(np.asarray(logits, dtype=np.float64) / self.card.temperature))


class Normalise(nn.Module):
    """From uint8 [n, 3, h, w] to float32 of the mean and deviation that the network expects.

    torchvision's ToTensor and Normalize in one step.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: PreprocessingParameters) -> None:
        super().__init__()
        mean = torch.tensor(preprocessing.mean).view(3, 1, 1)
        std = torch.tensor(preprocessing.std).view(3, 1, 1)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, batch: Tensor) -> Tensor:
        """Normalise; float input is taken as 0…255 too."""
        # the first operation makes a new tensor, which the others may change
        return (batch / 255).sub_(self.mean).div_(self.std)


def to_batch(pixels: np.ndarray[Any, np.dtype[np.uint8]], device: torch.device | str) -> Tensor:
    """Move pixels, uint8 [n, h, w, 3], to a device as [n, 3, h, w] in channels-last layout."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)


def _open(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return to_rgb(picture)
    try:
        return read_picture(Path(picture))
    except UnreadablePictureError as error:
        raise UserError(f"{picture}: {error}") from error
