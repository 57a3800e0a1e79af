"""A detector: network, preprocessing, class names, and where they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deepfake_detection.images.pixel_cache import PixelArray, prefetch_batches
from deepfake_detection.models.devices import choose_device, choose_precision, use_ieee_float32
from deepfake_detection.models.image_inputs import is_single
from deepfake_detection.models.memory import keeping_memory
from deepfake_detection.models.scoring import Score, raise_error, score_images
from deepfake_detection.parameters import PreprocessingParameters

if TYPE_CHECKING:
    from deepfake_detection.models.image_inputs import ImageInput

REAL, FAKE = 0, 1
CLASS_NAMES = ("real", "fake")

Errors = Literal["raise", "record"]


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
        best_validation_accuracy: In that epoch, in [0, 1]; None where all images trained it.
        split: Summary of the split: method, ratios, seed, images, fingerprint …
        settings: All parameters of the run.
        run_fingerprint: SHA-256 over `identity`.
        identity: What determines the weights (see `run_identity`).
        versions: Of the libraries that made it.
        computed_on: Device, processes, precision and threads of its training.
        calibration: Which of threshold and temperature validation chose (`fitted`), and what has to
            be known of them (`notes`).
        vouched_by: Of a detector that was trained on all images, and has no score of its own: the
            run that its settings and epochs come from. run_fingerprint, split_fingerprint,
            split_method, images (that it was trained on), best_epoch, best_validation_accuracy.
    """

    backbone: str
    transform_input: bool
    preprocessing: dict[str, Any]
    class_names: list[str]
    classes: dict[str, str]
    threshold: float
    temperature: float
    best_epoch: int
    best_validation_accuracy: float | None
    split: dict[str, Any]
    settings: dict[str, Any]
    run_fingerprint: str
    versions: dict[str, str]
    identity: dict[str, Any] = field(default_factory=dict)
    computed_on: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    vouched_by: dict[str, Any] = field(default_factory=dict)

    @property
    def known_fakes(self) -> list[str]:
        """Class folders of the fakes that it was trained on."""
        return [name for name, label in self.classes.items() if label == "fake"]


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

        Args:
            path: The file; or a folder of its versions, as the catalog writes them: the latest.

        Raises:
            UserError: If there is no such file, or it is damaged or not a detector.
        """
        from deepfake_detection.models.detector_file import read_detector

        return read_detector(Path(path))

    @property
    def preprocessing(self) -> PreprocessingParameters:
        """Sizes and normalisation of its pictures."""
        return PreprocessingParameters.model_validate(self.card.preprocessing)

    def describe(self) -> dict[str, Any]:
        """Its card as a plain dictionary."""
        return asdict(self.card)

    @cached_property
    def hashes_trained_on(self) -> frozenset[bytes]:
        """SHA-256 of each file that it was trained on."""
        return frozenset(row.tobytes() for row in self.trained_on)

    @overload
    def score(  # type: ignore[overload-overlap]  # text is a sequence too
        self,
        images: ImageInput,
        *,
        flip: bool = ...,
        batch_size: int = ...,
        device: str = ...,
        precision: str = ...,
        max_pixels: int | None = ...,
        errors: Errors = ...,
    ) -> Score: ...

    @overload
    def score(
        self,
        images: Sequence[ImageInput],
        *,
        flip: bool = ...,
        batch_size: int = ...,
        device: str = ...,
        precision: str = ...,
        max_pixels: int | None = ...,
        errors: Errors = ...,
    ) -> list[Score]: ...

    def score(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        flip: bool = False,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "fp32",
        max_pixels: int | None = None,
        errors: Errors = "raise",
    ) -> Score | list[Score]:
        """Score one picture or many.

        Args:
            images: Paths of files of any type that Pillow reads; PIL images; arrays, [h, w, 3],
                or tensors, [3, h, w], of uint8 in 0…255 or floating in 0…1, red first, before any
                resizing and normalisation (`detector.given.to_image` says what else). A sequence
                of any of these, an array [n, h, w, 3] or a tensor [n, 3, h, w] is many.
            flip: Average the logits of each picture and its mirror image.
            batch_size: Pictures scored at once.
            device: auto (cuda, then mps, then cpu), cpu, cuda, cuda:N or mps.
            precision: fp32; bf16; auto: bf16 where the device is faster in it.
            max_pixels: Width × height above which a file is not opened; None: Pillow's own limit
                against decompression bombs.
            errors: What becomes of a picture that cannot be read: `raise`; or `record`, which gives
                it a score without a verdict that holds the reason.

        Returns:
            A score for one picture, a list of them for many, in order.

        Raises:
            UserError: If a picture cannot be read, naming it; or this machine lacks the device.
            TypeError: If a picture is of another type or dtype.
            ValueError: If an array or tensor has another shape, or floats outside of 0…1.
        """
        check: Callable[[Score], Score] = raise_error if errors == "raise" else lambda each: each
        one = is_single(images)
        several = cast("Sequence[ImageInput]", [images] if one else images)
        scores = self.score_each(
            several,
            flip=flip, batch_size=batch_size, device=device, precision=precision,
            max_pixels=max_pixels,
        )  # fmt: skip
        scored = [check(each) for each in scores]
        return scored[0] if one else scored

    def score_each(
        self,
        images: Iterable[ImageInput],
        *,
        flip: bool = False,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "fp32",
        max_pixels: int | None = None,
    ) -> Iterator[Score]:
        """Score pictures one after the other, in flat memory for any number of them.

        Args:
            images: As for `score`; they are taken only when their turn comes.
            flip: See `score`, as for the others.
            batch_size: See `score`.
            device: See `score`.
            precision: See `score`.
            max_pixels: See `score`.

        Yields:
            A score for each, in order; of a picture that cannot be read, one that says why.
        """
        return score_images(
            self, images, flip=flip, batch_size=batch_size, device=device, precision=precision,
            max_pixels=max_pixels,
        )  # fmt: skip

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
        forward = Forward(self, str(device), "fp32")
        logits = [np.empty(0)]
        batches = [chosen[at : at + batch_size] for at in range(0, len(chosen), batch_size)]
        bar = tqdm(batches, desc="Scoring", unit="batch", leave=False, disable=None)
        with keeping_memory(torch.device(device)):
            for read, _ in zip(prefetch_batches(pixels, batches), bar, strict=True):
                logits.append(forward(read))
        return np.concatenate(logits)

    def probabilities(
        self, logits: np.ndarray[Any, np.dtype[np.float64]]
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Fake probabilities of logits (fake minus real), with the detector's temperature."""
        scaled = torch.tensor(logits, dtype=torch.float64) / self.card.temperature
        return np.asarray(torch.sigmoid(scaled))


class Forward:
    """A detector's network on a device, from pixels to logits.

    Args:
        detector: Its network is moved to the device.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, or bf16, in which the network then computes with weights in fp32.

    Raises:
        UserError: If this machine lacks the device, or the device units for bf16.
    """

    def __init__(self, detector: Detector, device: str, precision: str) -> None:
        self.device = choose_device(device)
        self._bf16 = choose_precision(precision, self.device, "precision") == "bf16"
        use_ieee_float32(self.device)
        network = detector.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network: nn.Module = network.eval()
        self._normalise = Normalise(detector.preprocessing).to(self.device)

    @torch.inference_mode()
    def __call__(
        self, pixels: np.ndarray[Any, np.dtype[np.uint8]]
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Logits of fake minus real, float64 [n], of pixels, uint8 [n, crop, crop, 3]."""
        batch = self._normalise(to_batch(pixels, self.device))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            outputs = self._network(batch)
        # on the CPU: not every device has double precision
        outputs = outputs.cpu().double()
        return np.asarray(outputs[:, FAKE] - outputs[:, REAL])


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
