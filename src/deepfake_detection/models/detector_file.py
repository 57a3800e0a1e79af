"""The detector file: safetensors, with the detector's card in the metadata."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from deepfake_detection.atomic_write import atomic_write
from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import build_detecting_network, list_backbones
from deepfake_detection.models.detector_card import DetectorCard
from deepfake_detection.models.run_identity import (
    complete_settings,
    fingerprint_of,
    identify_older_run,
)

if TYPE_CHECKING:
    from deepfake_detection.models.detector import Detector

# Raised when older readers could not read a new file.
FORMAT_VERSION = 1
_METADATA_KEY = "deepfake_detection"
_TRAINED_ON, _VALIDATED_ON, _NETWORK = "trained_on", "validated_on", "network."
# Keys of `split` in older files, with their names today
_RENAMED = {"looks": "image_sizes"}


class DetectorContent(NamedTuple):
    """What a detector file holds; see `Detector`."""

    network: nn.Module
    card: DetectorCard
    trained_on: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    validated_on: np.ndarray[tuple[int, int], np.dtype[np.uint8]]


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
    """The file at this path; if it is a folder of versions, as the catalog writes, the latest.

    Raises:
        UserError: If there is none.
    """
    if path.is_file():
        return path
    versions = sorted(path.glob(f"*/{path.name}"))
    if not versions:
        raise UserError(f"there is no detector file {path}")
    return versions[-1]


def read_detector_file(path: Path) -> DetectorContent:
    """Read a detector file, or the latest of a folder of versions, onto the CPU.

    Raises:
        UserError: If there is no such file, or it is damaged, or not a detector of a known format.
    """
    path = find_detector_file(path)
    with _opened(path) as file:
        card = _read_card(path, file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    hashes = [tensors.pop(name, None) for name in (_TRAINED_ON, _VALIDATED_ON)]
    state = {name.removeprefix(_NETWORK): value for name, value in tensors.items()}
    try:
        network = build_detecting_network(
            card.backbone, state, len(card.class_names), transform_input=card.transform_input
        )
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise UserError(
            f"{path} does not hold the weights of {card.backbone}: {problem}"
        ) from error
    trained_on, validated_on = (
        np.empty((0, 32), np.uint8) if each is None else each.numpy() for each in hashes
    )
    return DetectorContent(network.eval(), card, trained_on, validated_on)


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


def _read_card(path: Path, metadata: dict[str, str]) -> DetectorCard:
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
    needed = {field.name for field in fields(DetectorCard) if field.default_factory is MISSING}
    if missing := needed - content.keys():
        raise UserError(f"{path} is incomplete: its detector card lacks {min(missing)}")
    if content["backbone"] not in list_backbones():
        raise UserError(
            f"{path} needs the backbone {content['backbone']}, which this torchvision does not have"
        )
    content["split"] = {_RENAMED.get(key, key): value for key, value in content["split"].items()}
    try:
        if "identity" not in content:
            content["identity"] = identify_older_run(content)
            content["run_fingerprint"] = fingerprint_of(content["identity"])
        content["settings"] = complete_settings(content["settings"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is incomplete: its settings lack {error}") from None
    known = {field.name for field in fields(DetectorCard)}
    return DetectorCard(**{name: content[name] for name in known & content.keys()})


@dataclass(frozen=True)
class DetectorFile:
    """A detector file that is copied without being loaded.

    Attributes:
        path: Of the file.
    """

    path: Path

    def read_card(self) -> DetectorCard:
        """Read the card without the weights.

        Raises:
            UserError: If the file is damaged, or not a detector of a known format.
        """
        with _opened(self.path) as file:
            return _read_card(self.path, file.metadata() or {})

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
    """A path to which a node may write a detector file while it runs.

    Attributes:
        path: Of the file.
    """

    path: Path

    def fill(self, detector: Detector) -> None:
        """Write a detector there; an older one is replaced."""
        write_detector(detector, self.path)
