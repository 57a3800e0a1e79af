"""The detector file: safetensors, with all that the detector says of itself in the metadata."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import (
    build_detecting_network,
    list_backbones,
)
from deepfake_detection.models.detector import Detector, DetectorCard
from deepfake_detection.models.run_identity import (
    complete_settings,
    fingerprint_of,
    identify_older_run,
)

# Raised when an older reader could not make sense of the file.
FORMAT_VERSION = 1
_METADATA_KEY = "deepfake_detection"
_TRAINED_ON, _VALIDATED_ON, _NETWORK = "trained_on", "validated_on", "network."


def write_detector(detector: Detector, path: Path) -> None:
    """Write a detector file, whole or not at all.

    Args:
        detector: What to write.
        path: Of the file; its folder is made.
    """
    tensors = {
        # channels-last weights are not contiguous, and only contiguous ones can be written
        f"{_NETWORK}{name}": value.detach().cpu().contiguous()
        for name, value in detector.network.state_dict().items()
    }
    tensors[_TRAINED_ON] = torch.from_numpy(detector.trained_on.copy())
    tensors[_VALIDATED_ON] = torch.from_numpy(detector.validated_on.copy())
    card = {"format_version": FORMAT_VERSION} | asdict(detector.card)
    metadata = {_METADATA_KEY: json.dumps(card, sort_keys=True, allow_nan=False)}

    with written_beside(path) as beside:
        save_file(tensors, beside, metadata)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A file to write into, which takes the place of `path` in the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def find_detector_file(path: Path) -> Path:
    """The detector file of this path, which may also be a folder of its versions: the latest.

    Args:
        path: A file; or what the catalog writes, a folder with a folder for each version.

    Raises:
        UserError: If there is none.
    """
    if path.is_file():
        return path
    versions = sorted(path.glob(f"*/{path.name}"))
    if not versions:
        raise UserError(f"there is no detector file {path}")
    return versions[-1]


def read_detector(path: Path) -> Detector:
    """Read a detector file, onto the CPU.

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
    return Detector(network.eval(), card, trained_on, validated_on)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is truncated, damaged or no detector file ({error}). "
            "Copy it again, or train again."
        ) from error


def _read_card(path: Path, metadata: dict[str, str]) -> DetectorCard:
    if _METADATA_KEY not in metadata:
        raise UserError(f"{path} holds weights, but is no detector file: its metadata lacks a card")
    content: dict[str, Any] = json.loads(metadata[_METADATA_KEY])
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} is a detector file of format {version}; this version of deepfake-detection "
            f"reads format {FORMAT_VERSION}"
        )
    # what has a default came later than the format, and older files lack it
    needed = {field.name for field in fields(DetectorCard) if field.default_factory is MISSING}
    if missing := needed - content.keys():
        raise UserError(f"{path} is no whole detector file: its card lacks {min(missing)}")
    if content["backbone"] not in list_backbones():
        raise UserError(f"{path} is of {content['backbone']}, which this torchvision does not have")
    try:
        if "identity" not in content:
            content["identity"] = identify_older_run(content)
            content["run_fingerprint"] = fingerprint_of(content["identity"])
        content["settings"] = complete_settings(content["settings"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no whole detector file: its settings lack {error}") from None
    known = {field.name for field in fields(DetectorCard)}
    return DetectorCard(**{name: content[name] for name in known & content.keys()})


@dataclass(frozen=True)
class DetectorFile:
    """A detector that lies in a file, and need not be loaded to be put elsewhere.

    Attributes:
        path: Of the file.
    """

    path: Path

    def read_card(self) -> DetectorCard:
        """What the detector says of itself, without its weights.

        Raises:
            UserError: If the file is damaged, or not a detector of a known format.
        """
        with _opened(self.path) as file:
            return _read_card(self.path, file.metadata() or {})

    def put(self, path: Path) -> None:
        """Put the file at another place too, whole or not at all; as a link where it can be."""
        with written_beside(path) as beside:
            beside.unlink()
            try:
                beside.hardlink_to(self.path)
            # another disk, or one that knows no links
            except OSError:
                shutil.copyfile(self.path, beside)


@dataclass(frozen=True)
class DetectorSlot:
    """A place for one detector file.

    Attributes:
        path: Of the file.
    """

    path: Path

    def fill(self, detector: Detector) -> None:
        """Write a detector there, in place of what was there."""
        write_detector(detector, self.path)
