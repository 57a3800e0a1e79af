"""The detector file: safetensors, with the detector's card in the metadata."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from deepfake_detection.atomic_write import atomic_write
from deepfake_detection.errors import UserError
from deepfake_detection.models import run_identity
from deepfake_detection.models.backbones import build_detecting_network, list_backbones

if TYPE_CHECKING:
    from deepfake_detection.models.detector import Detector

# Raised when older readers could not read a new file.
FORMAT_VERSION = 1
_METADATA_KEY = "deepfake_detection"
_TRAINED_ON, _VALIDATED_ON, _NETWORK = "trained_on", "validated_on", "network."
# Keys of `split` in older files, with their names today
_RENAMED = {"looks": "image_sizes"}

# SHA-256 of each file: [images, 32]
Hashes = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


@dataclass(frozen=True)
class DetectorCard:
    """What is known about a detector, as plain JSON.

    Attributes:
        transform_input: See `build_network`.
        preprocessing: resize, crop (pixels), mean, std (of RGB in [0, 1]).
        class_names: Of the outputs, in order: real, fake.
        classes: Class folders of the training images, each with its label.
        threshold: The verdict is fake if the fake probability is at least this.
        temperature: Logits (fake minus real) are divided by it before the sigmoid.
        best_epoch: The epoch, from 1, of the weights.
        best_validation_accuracy: In that epoch, in [0, 1]; None if all images were used to train.
        split: Summary of the split: method, ratios, seed, images, fingerprint …
        run_fingerprint: SHA-256 over `identity`, which determines the weights (`run_identity`).
        computed_on: Device, processes, precision and threads of its training.
        calibration: `fitted`: which of threshold and temperature were chosen on validation;
            `notes`: remarks on them.
        vouched_by: Of a detector trained on all images, which cannot be evaluated: the run that its
            settings and number of epochs come from. run_fingerprint, split_fingerprint,
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


def write_detector(detector: Detector, path: Path) -> None:
    """Write a detector file, whole or not at all; its folder is created."""
    tensors = {
        # channels-last weights are not contiguous, and only contiguous ones can be written
        f"{_NETWORK}{name}": value.detach().cpu().contiguous()
        for name, value in detector.network.state_dict().items()
    }
    tensors[_TRAINED_ON] = torch.from_numpy(detector.trained_on.copy())
    tensors[_VALIDATED_ON] = torch.from_numpy(detector.validated_on.copy())
    card = {"format_version": FORMAT_VERSION} | asdict(detector.card)
    metadata = {_METADATA_KEY: json.dumps(card, sort_keys=True, allow_nan=False)}

    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata)


def find_detector_file(path: Path) -> Path:
    """The file at this path, or the latest of a folder of versions; UserError if there is none."""
    if path.is_file():
        return path
    versions = sorted(path.glob(f"*/{path.name}"))
    if not versions:
        raise UserError(f"there is no detector file {path}")
    return versions[-1]


def read_detector_file(path: Path) -> tuple[nn.Module, DetectorCard, Hashes, Hashes]:
    """What `Detector.load` makes a detector of."""
    path = find_detector_file(path)
    with _opened(path) as file:
        card = _read_card(path, file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    none = torch.empty((0, 32), dtype=torch.uint8)
    hashes = [tensors.pop(name, none).numpy() for name in (_TRAINED_ON, _VALIDATED_ON)]
    state = {name.removeprefix(_NETWORK): value for name, value in tensors.items()}
    try:
        network = build_detecting_network(
            card.backbone, state, len(card.class_names), transform_input=card.transform_input
        )
    except RuntimeError as error:
        problem = f"does not hold the weights of {card.backbone}"
        raise UserError(f"{path} {problem}: {str(error).splitlines()[-1].strip()}") from error
    return network.eval(), card, *hashes


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is truncated, damaged or not a detector file ({error}). "
            "Copy it again, or train again."
        ) from error


def _read_card(path: Path, file: Any) -> DetectorCard:
    metadata = file.metadata() or {}
    if _METADATA_KEY not in metadata:
        raise UserError(f"{path} is not a detector file: its metadata have no detector card")
    content: dict[str, Any] = json.loads(metadata[_METADATA_KEY])
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} is a detector file of format {version}; this version of deepfake-detection "
            f"reads format {FORMAT_VERSION}"
        )
    # fields with a default were added later, and older files lack them
    needed = {each.name for each in fields(DetectorCard) if each.default_factory is MISSING}
    if missing := needed - content.keys():
        raise UserError(f"{path} is incomplete: its detector card lacks {min(missing)}")
    if content["backbone"] not in list_backbones():
        raise UserError(f"{path} needs {content['backbone']}, which this torchvision does not have")
    content["split"] = {_RENAMED.get(key, key): value for key, value in content["split"].items()}
    try:
        if "identity" not in content:
            content["identity"] = run_identity.identify_older_run(content)
            content["run_fingerprint"] = run_identity.fingerprint_of(content["identity"])
        content["settings"] = run_identity.complete_settings(content["settings"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is incomplete: its settings lack {error}") from None
    known = {each.name for each in fields(DetectorCard)}
    return DetectorCard(**{name: content[name] for name in known & content.keys()})


@dataclass(frozen=True)
class DetectorFile:
    """A detector file that is copied without being loaded."""

    path: Path

    def read_card(self) -> DetectorCard:
        """Read the card alone; UserError if the file is no detector of a known format."""
        with _opened(self.path) as file:
            return _read_card(self.path, file)

    def put(self, path: Path) -> None:
        """Hard-link the file to another path, or copy it where links are not possible."""
        with atomic_write(path) as temporary:
            temporary.unlink()
            try:
                temporary.hardlink_to(self.path)
            except OSError:
                shutil.copyfile(self.path, temporary)


@dataclass(frozen=True)
class DetectorSlot:
    """A path to which a node may write a detector file while it runs."""

    path: Path

    def fill(self, detector: Detector) -> None:
        """Write a detector there; an older one is replaced."""
        write_detector(detector, self.path)
