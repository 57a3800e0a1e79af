"""The detector file: safetensors, with the detector's card in the metadata."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deepfake_detection.atomic_write import atomic_write
from deepfake_detection.errors import UserError, first_line, in_line
from deepfake_detection.models.backbones import (
    build_detecting_network,
    expect_tensors,
    find_head,
    try_crop,
)
from deepfake_detection.models.detector_card import FORMAT_VERSION, DetectorCard, parse_card
from deepfake_detection.models.training_distance import (
    TrainingDistance,
    join_features,
    recording_features,
)

if TYPE_CHECKING:
    from deepfake_detection.models.detector import Detector

_METADATA_KEY, _CHECKSUM_KEY = "deepfake_detection", "sha256"
_TRAINED_ON, _VALIDATED_ON, _NETWORK = "trained_on", "validated_on", "network."
_DISTANCE = "training_distance."
_SCALE = f"{_DISTANCE}scale"
# As safetensors names what the networks' weights are made of
_DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}

_MOST_HASHES = 10_000_000
# SHA-256 of each file: [images, 32]
Hashes = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


def write_detector(detector: Detector, path: Path) -> None:
    """Write a detector file, whole or not at all; its folder is created.

    A UserError says that its weights are not finite, or that the file cannot be written.
    """
    # another program keeps its network itself
    weights = {} if detector.card.other_program else detector.network.state_dict()
    _check_values(path, weights)
    tensors: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in weights.items():
        # channels-last weights are not contiguous, and only contiguous ones can be written
        kept = value.detach().cpu().contiguous()
        # nor can a layer that stands in two places of a network
        tensors[f"{_NETWORK}{name}"] = kept.clone() if kept.data_ptr() in places else kept
        places.add(kept.data_ptr())
    tensors[_TRAINED_ON] = torch.from_numpy(detector.trained_on.copy())
    tensors[_VALIDATED_ON] = torch.from_numpy(detector.validated_on.copy())
    if detector.training_distance is not None:
        described = detector.training_distance.tensors()
        tensors |= {f"{_DISTANCE}{name}": value for name, value in described.items()}
    content = {"format_version": FORMAT_VERSION} | asdict(detector.card)
    card = json.dumps(content, sort_keys=True, allow_nan=False)
    metadata = {_METADATA_KEY: card, _CHECKSUM_KEY: _digest(card, tensors)}

    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata)


def _digest(card: str, tensors: Mapping[str, Any]) -> str:
    """SHA-256 over the card's text, and the name and the bytes of each tensor, by name."""
    digest = hashlib.sha256(card.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy())
    return digest.hexdigest()


def find_detector_file(path: Path) -> Path:
    """The file at this path, or the latest of a folder of versions; UserError if there is none."""
    if path.is_file():
        return path
    versions = sorted(path.glob(f"*/{path.name}"))
    if not versions:
        raise UserError(f"there is no detector file {path}")
    return versions[-1]


def read_calibration(path: Path) -> tuple[DetectorCard, Hashes, Hashes]:
    """Card and hashes of a detector file that was made for another program's detector."""
    with _opened(path) as file:
        trained_on, validated_on = (
            _read_hashes(path, file, name) for name in (_TRAINED_ON, _VALIDATED_ON)
        )
        return _read_card(path, file), trained_on, validated_on


def read_detector_file(
    path: Path,
) -> tuple[nn.Module, DetectorCard, Hashes, Hashes, TrainingDistance | None]:
    """What `Detector.load` makes a detector of."""
    path = find_detector_file(path)
    with _opened(path) as file:
        card = _read_card(path, file)
        if card.other_program:
            raise UserError(
                f"{path} holds the calibration of {card.other_program['location']}, and no network"
            )
        crop = card.preprocessing["crop"]
        if problem := try_crop(card.backbone, crop, training=False):
            raise UserError(
                f"{path} cannot be used: its pictures do not fit its network: {problem}"
            )
        expected = expect_tensors(card.backbone, transform_input=card.transform_input, crop=crop)
        stored = {f"{_NETWORK}{name}": value for name, value in expected.items()}
        _check_shapes(path, file, card, stored)
        state = {name: file.get_tensor(f"{_NETWORK}{name}") for name in expected}
        trained_on = _read_hashes(path, file, _TRAINED_ON)
        validated_on = _read_hashes(path, file, _VALIDATED_ON)
        tensors = {f"{_NETWORK}{name}": value for name, value in state.items()}
        hashes = {_TRAINED_ON: trained_on, _VALIDATED_ON: validated_on}
        tensors |= {name: torch.from_numpy(value) for name, value in hashes.items()}
        distance = _read_distance(path, file)
        if distance is not None:
            described = {f"{_DISTANCE}{name}": value for name, value in distance.tensors().items()}
            tensors |= {name: described[name] for name in described.keys() & set(file.keys())}
        metadata = file.metadata()
        # a file of an earlier version has none
        digest = _digest(metadata[_METADATA_KEY], tensors)
        if metadata.get(_CHECKSUM_KEY, digest) != digest:
            raise UserError(f"{path} is damaged: it has another SHA-256. Copy it again")
    _check_values(path, state)
    network = build_detecting_network(
        card.backbone,
        state,
        len(card.class_names),
        transform_input=card.transform_input,
        crop=crop,
    )
    if distance is not None:
        _check_features(path, network, card, len(distance.mean))
    return network.eval(), card, trained_on, validated_on, distance


def _check_features(path: Path, network: nn.Module, card: DetectorCard, expected: int) -> None:
    """Refuse a training distance of other layers or of another network."""
    problem = f"{path} is damaged: its training_distance"
    crop = card.preprocessing["crop"]
    try:
        layers = [network.get_submodule(name) for name in card.described_layers]
        with torch.inference_mode(), recording_features(find_head(network), layers) as features:
            network.eval()(torch.zeros(1, 3, crop, crop))
        found = join_features(features).shape[1]
    # layers that a network lacks, or whose outputs are no features
    except (AttributeError, TypeError, IndexError) as error:
        raise UserError(f"{problem} is of other layers ({first_line(error)})") from None
    if found != expected:
        raise UserError(f"{problem} has {expected} features, and its network {found}")


def _check_values(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse weights with which the network could give no verdict."""
    for name, value in state.items():
        negative = name.endswith("running_var") and bool((value < 0).any())
        if negative or not bool(torch.isfinite(value).all()):
            raise UserError(
                f"{path} could give no verdict: its weights {name} are not finite, or are negative "
                "variances. Copy it again, or train again"
            )


def _check_shapes(path: Path, file: Any, card: DetectorCard, stored: dict[str, Tensor]) -> None:
    """Compare the names, shapes and types of the stored weights before any of them is read."""
    problem = f"{path} does not hold the weights of {card.backbone}"
    others = {_TRAINED_ON, _VALIDATED_ON, *_names_of_distance()}
    there = set(file.keys()) - others
    if other := sorted(there ^ stored.keys()):
        raise UserError(
            f"{problem}: {'too much' if other[0] in there else 'missing'}: {in_line(other[0])}"
        )
    for name, value in stored.items():
        found = file.get_slice(name)
        shape, dtype = found.get_shape(), found.get_dtype()
        if shape != list(value.shape) or dtype != _DTYPES.get(value.dtype):
            raise UserError(
                f"{problem}: {name} is {dtype} {in_line(shape)}, not {_DTYPES.get(value.dtype)} "
                f"{list(value.shape)}"
            )


def _read_hashes(path: Path, file: Any, name: str) -> Hashes:
    if name not in file.keys():  # noqa: SIM118  (the file is no mapping)
        return np.empty((0, 32), np.uint8)
    found = file.get_slice(name)
    rows, *columns = found.get_shape() or [0]
    if found.get_dtype() != "U8" or columns != [32] or rows > _MOST_HASHES:
        raise UserError(f"{path} is damaged: {name} holds no SHA-256 values, or too many")
    hashes: Hashes = file.get_tensor(name).numpy()
    return hashes


def _names_of_distance() -> list[str]:
    return [f"{_DISTANCE}{each.name}" for each in fields(TrainingDistance)]


def _read_distance(path: Path, file: Any) -> TrainingDistance | None:
    """What tells images unlike the training images; UserError if it does not fit together."""
    names = _names_of_distance()
    there = set(file.keys()) & set(names)
    if not there:
        return None
    problem = f"{path} is damaged: its training_distance"
    # files of format 2 have no scale: it was 1
    if missing := set(names) - there - {_SCALE}:
        raise UserError(f"{problem} lacks {min(missing)}")
    found = {name: file.get_slice(name) for name in names if name in there}
    shapes = {name: each.get_shape() for name, each in found.items()}
    mean = shapes[names[0]]
    _, scale, components, variances, validation = (shapes.get(name, mean) for name in names)
    if (
        {each.get_dtype() for each in found.values()} != {"F32"}
        or [len(mean), len(components), len(variances), len(validation)] != [1, 2, 1, 1]
        or not scale == mean == components[1:]
        or variances != [components[0] + 1]
        or validation[0] > _MOST_HASHES
    ):
        raise UserError(f"{problem} has other shapes or types than those of this version")
    values = {name: file.get_tensor(name).numpy() for name in found}
    distance = TrainingDistance(*(values.get(name, np.ones(mean, np.float32)) for name in names))
    positive = min(distance.variances.min(), distance.scale.min()) > 0
    ascending = bool((np.diff(distance.validation) >= 0).all())
    if not (positive and ascending and all(np.isfinite(each).all() for each in values.values())):
        raise UserError(f"{problem} holds values that are not finite, positive or in order")
    return distance


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is truncated, damaged or not a detector file ({first_line(error)}). "
            "Copy it again, or train again."
        ) from error


def _read_card(path: Path, file: Any) -> DetectorCard:
    metadata = file.metadata() or {}
    if _METADATA_KEY not in metadata:
        raise UserError(f"{path} is not a detector file: its metadata have no detector card")
    try:
        return parse_card(metadata[_METADATA_KEY])
    except ValueError as error:
        raise UserError(f"{path} cannot be used: {first_line(error)}") from None


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
