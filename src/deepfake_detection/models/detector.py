"""A detector: a network with its preprocessing, classes, settings and split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack, cast, overload

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from deepfake_detection.errors import UserError
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.finding import FaceFinder
from deepfake_detection.faces.video import open_frames
from deepfake_detection.images.pixel_cache import PixelArray, prefetch_batches
from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.models.detector_file import DetectorCard, Hashes, read_detector_file
from deepfake_detection.models.devices import keeping_memory
from deepfake_detection.models.forward import Forward
from deepfake_detection.models.image_inputs import is_single
from deepfake_detection.models.scoring import Score, score_images
from deepfake_detection.models.training_distance import Float32s, TrainingDistance
from deepfake_detection.models.verdicts import VerdictRule
from deepfake_detection.models.video_scoring import LARGEST_FRAME, VideoScore, score_video
from deepfake_detection.parameters import PreprocessingParameters
from deepfake_detection.parameters.base import Label

if TYPE_CHECKING:
    from deepfake_detection.models.image_inputs import ImageInput

T = TypeVar("T")
CLASS_NAMES: tuple[Label, Label] = ("real", "fake")

Errors = Literal["raise", "record"]
Faces = Literal["find", "given"]
Float64s = np.ndarray[Any, np.dtype[np.float64]]


class ScoreOptions(TypedDict, total=False):
    """Keyword arguments of `Detector.score`."""

    flip: bool | None
    batch_size: int
    device: str
    precision: str
    max_pixels: int | None
    errors: Errors
    faces: Faces | FaceFinder | None


@dataclass(frozen=True)
class Detector:
    """Tells real face images from fake ones.

    Attributes:
        network: In evaluation mode; [n, 3, crop, crop] float32, normalised, to [n, 2] logits.
        trained_on: uint8, [images, 32]: SHA-256 of each training file.
        validated_on: uint8, [images, 32]: SHA-256 of each validation file.
        training_distance: Tells images that are unlike the training images; None if not fitted.
    """

    network: nn.Module
    card: DetectorCard
    trained_on: Hashes
    validated_on: Hashes
    training_distance: TrainingDistance | None = None

    @classmethod
    def load(cls, path: str | Path) -> Detector:
        """Read a detector file, or the latest of a folder of versions, onto the CPU.

        A UserError says that there is no such file, or that it is damaged or not a detector.
        """
        return cls(*read_detector_file(Path(path)))

    @property
    def preprocessing(self) -> PreprocessingParameters:
        """Sizes and normalisation of its images."""
        return PreprocessingParameters.model_validate(self.card.preprocessing)

    @property
    def crop_recipe(self) -> CropRecipe | None:
        """How the crops that it was trained on were made; None if they were made elsewhere."""
        recipe = self.card.split.get("crop_recipe")
        # a later version may have further keys
        return recipe and CropRecipe.model_validate(recipe, extra="ignore")

    @cached_property
    def face_finder(self) -> FaceFinder:
        """Finds and cuts faces by its own recipe; a UserError if that is unknown."""
        if self.crop_recipe is None:
            raise UserError(
                "the detector does not know how its training crops were cut: it scores crops of "
                'one face (faces="given"), or faces found with FaceFinder.with_margin(…)'
            )
        return FaceFinder(self.crop_recipe)

    @property
    def reads_files(self) -> bool:
        """Whether it needs files, or whole pictures, in place of pixels at a network's size."""
        return False

    def with_card(self, card: DetectorCard) -> Self:
        """The same detector with another card of the same network."""
        return replace(self, card=card)

    def prepare(self, image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """An upright RGB picture as the network sees it: uint8, [crop, crop, 3]."""
        return crop_pixels(image, self.preprocessing)

    @property
    def flip_average(self) -> bool:
        """Whether a score is the mean of the logits of a picture and its mirror image."""
        return bool(self.card.settings.get("training", {}).get("flip_average", False))

    @property
    def verdict_rule(self) -> VerdictRule:
        """How probabilities and training distances become verdicts."""
        return VerdictRule.of(self.card.threshold, self.card.calibration)

    def describe(self) -> dict[str, Any]:
        """Return the card as a plain dictionary."""
        return asdict(self.card)

    @cached_property
    def hashes_trained_on(self) -> frozenset[bytes]:
        """SHA-256 of each file that it was trained on."""
        return frozenset(row.tobytes() for row in self.trained_on)

    @cached_property
    def weights_fingerprint(self) -> str:
        """SHA-256 over the names and values of all weights, hexadecimal."""
        digest = hashlib.sha256()
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy())
        return digest.hexdigest()

    @overload
    def score(  # type: ignore[overload-overlap]  # text is a sequence too
        self, images: ImageInput, **options: Unpack[ScoreOptions]
    ) -> Score: ...

    @overload
    def score(
        self, images: Sequence[ImageInput], **options: Unpack[ScoreOptions]
    ) -> list[Score]: ...

    def score(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        flip: bool | None = None,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "fp32",
        max_pixels: int | None = None,
        errors: Errors = "raise",
        faces: Faces | FaceFinder | None = None,
    ) -> Score | list[Score]:
        """Score one image or several.

        Args:
            images: A path, a PIL image, an array [h, w, 3] or a tensor [3, h, w] (RGB, uint8 in
                0…255 or floating point in 0…1, neither resized nor normalised; `to_image` lists
                all forms). Several: a sequence of these, an array [n, h, w, 3] or a tensor
                [n, 3, h, w].
            flip: Average the logits of each image and its mirror image; None: if the detector was
                trained to be used so (`training.flip_average`).
            batch_size: Images in a batch.
            device: auto (cuda, then mps, then cpu), cpu, cuda, cuda:N or mps.
            precision: fp32, bf16, or auto (bf16 if the device is faster with it).
            max_pixels: Files of more pixels (width × height) are not opened; None: Pillow's own
                limit against decompression bombs.
            errors: `raise`; or `record`: an image that cannot be read gets a score with `error`,
                and so does one without a face.
            faces: `given`: an image is a crop of one face. `find`: faces are found and cut as those
                of the training images were. Or a `FaceFinder`, which does so in another way. None:
                `find`, except for images that are such crops already, if the detector knows how
                its training crops were cut; `given` if not.

        Returns:
            A score for one image; a list of scores, in order, for several.

        Raises:
            UserError: If an image cannot be read or has no face, this machine lacks the device, or
                faces cannot be found.
            TypeError: If an image is of another type or dtype.
            ValueError: If an array or tensor has another shape, or floats outside of 0…1.
        """
        single = is_single(images)
        several = cast("Sequence[ImageInput]", [images] if single else images)
        scores = []
        for score in self.score_each(
            several,
            flip=flip, batch_size=batch_size, device=device, precision=precision,
            max_pixels=max_pixels, faces=faces,
        ):  # fmt: skip
            if errors == "raise" and score.error is not None:
                raise UserError(f"{score.path or 'an image in memory'}: {score.error}")
            scores.append(score)
        return scores[0] if single else scores

    def score_each(
        self,
        images: Iterable[ImageInput],
        *,
        flip: bool | None = None,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "fp32",
        max_pixels: int | None = None,
        faces: Faces | FaceFinder | None = None,
    ) -> Iterator[Score]:
        """Score images in order, in constant memory; arguments as for `score`.

        `images` is consumed one batch ahead. An image that cannot be read gets a score with
        `error`.
        """
        forward = Forward(self, device, precision, flip=flip)
        finder, look = self.choose_finder(faces)
        return score_images(self, forward, images, batch_size, max_pixels, finder, look=look)

    def score_video(
        self,
        path: str | Path,
        *,
        frames: int = 32,
        every_seconds: float | None = None,
        flip: bool | None = None,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "fp32",
        max_pixels: int = LARGEST_FRAME,
        errors: Errors = "raise",
        faces: Faces | FaceFinder | None = None,
    ) -> VideoScore:
        """Score a video: as a whole, each of its face tracks, and each face of a chosen frame.

        Args:
            path: Of a file that FFmpeg can read.
            frames: The middle frames of so many equal parts; all, where it has fewer.
            every_seconds: Instead of that, a frame every so many seconds.
            flip: As for `score`, and so are batch_size, device and precision.
            batch_size: Frames in a batch.
            device: auto, cpu, cuda, cuda:N or mps.
            precision: fp32, bf16 or auto.
            max_pixels: Videos with larger frames (width × height) are not read.
            errors: `raise`; or `record`: a video without a score has the reason in `error`.
            faces: As for `score`. With `given`, each frame is a crop of one face.

        Raises:
            UserError: If the video cannot be read or has no face, PyAV or the face detector is
                missing, or this machine lacks the device.
        """
        forward = Forward(self, device, precision, flip=flip)
        open_chosen = partial(open_frames, Path(path), frames, every_seconds, max_pixels)
        finder, _ = self.choose_finder(faces)
        score = score_video(self, forward, str(path), open_chosen, batch_size, finder)
        if errors == "raise" and score.error is not None:
            raise UserError(f"{path}: {score.error}")
        return score

    def choose_finder(self, faces: Faces | FaceFinder | None) -> tuple[FaceFinder | None, bool]:
        """What finds faces, if anything does, and whether to look for crops of one face first.

        `faces` is as for `score`.
        """
        if faces is None:
            return (self.face_finder, True) if self.crop_recipe else (None, False)
        if faces == "given":
            return None, False
        return (self.face_finder if faces == "find" else faces), False

    def logits(
        self,
        pixels: PixelArray,
        rows: Iterable[int] | None = None,
        *,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
    ) -> Float64s:
        """Logits (fake minus real, before the temperature) of pixels, uint8 [n, crop, crop, 3].

        They are computed in float32 and given as float64. `rows` are the images to score, in order.
        A UserError says that the network gives no finite number for one of them.
        """
        return self.describe_pixels(pixels, rows, batch_size=batch_size, device=device)[0]

    def describe_pixels(
        self,
        pixels: PixelArray,
        rows: Iterable[int] | None = None,
        *,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
    ) -> tuple[Float64s, Float64s]:
        """Logits as from `logits`, and distances from the training images, float64, [n].

        Distances (see `TrainingDistance`) are NaN where the detector has no measure of them.
        """
        forward = Forward(self, str(device), "fp32")
        outputs = [(np.empty(0), np.empty(0))]
        outputs += _forward_all(forward, forward, pixels, rows, batch_size)
        found, distances = map(np.concatenate, zip(*outputs, strict=True))
        if not np.isfinite(found).all():
            raise UserError(
                f"the network of this detector ({self.card.backbone}) gives no finite number for "
                f"{np.count_nonzero(~np.isfinite(found))} of {len(found)} images: train again, "
                "with a lower learning rate or in fp32"
            )
        return found, distances

    def features(
        self,
        pixels: PixelArray,
        rows: Iterable[int] | None = None,
        *,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
    ) -> Float32s:
        """What `TrainingDistance` is fitted to: float32, [n, features]; as for `logits`."""
        forward = Forward(self, str(device), "fp32")
        outputs = [*_forward_all(forward, forward.describe, pixels, rows, batch_size)]
        return np.concatenate([features for _, features in outputs])

    def unlikeness(self, distances: Float64s) -> Float64s:
        """Share of the validation images that are nearer (see `TrainingDistance`), or NaN."""
        if self.training_distance is None or not len(self.training_distance.validation):
            return np.full(np.shape(distances), np.nan)
        return self.training_distance.unlikeness(distances)

    def probabilities(self, logits: Float64s) -> Float64s:
        """Convert logits (fake minus real) to fake probabilities, with the temperature."""
        scaled = torch.tensor(logits, dtype=torch.float64) / self.card.temperature
        return np.asarray(torch.sigmoid(scaled))


def _forward_all(
    forward: Forward,
    apply: Callable[[Any], T],
    pixels: PixelArray,
    rows: Iterable[int] | None,
    batch_size: int,
) -> Iterator[T]:
    """Apply a network to chosen rows of pixels, all if None, batch by batch."""
    chosen = np.arange(len(pixels)) if rows is None else np.asarray(list(rows), dtype=np.intp)
    batches = [chosen[at : at + batch_size] for at in range(0, len(chosen), batch_size)]
    bar = tqdm(batches, desc="Scoring", unit="batch", leave=False, disable=None)
    with keeping_memory(forward.device):
        for read, _ in zip(prefetch_batches(pixels, batches), bar, strict=True):
            yield apply(read)
