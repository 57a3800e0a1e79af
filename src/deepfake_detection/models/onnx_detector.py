"""Detectors that are ONNX files, with a YAML file beside that tells how they are used."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
import yaml
from pydantic import Field, ValidationError
from torch import Tensor, nn

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_card import DetectorCard
from deepfake_detection.models.other_programs import make_card, to_logits
from deepfake_detection.parameters import PreprocessingParameters, describe_problems
from deepfake_detection.parameters.backbones import Colour, Spread
from deepfake_detection.parameters.base import Block, Distinct, Label, Side


class OnnxDescription(Block):
    """How an ONNX file is used: the YAML file beside it.

    Attributes:
        size: Side in pixels of the square that the network takes.
        resize: Shorter side to which a picture is resized before the centre crop; `size` if null.
        mean, std: Of values in [0, 1], as torchvision's Normalize takes them; a number for each
            channel, in the order of `channels`.
        channels: Order of the colours that the network takes: rgb or bgr.
        output: Name of the output that is read, where there are several.
        classes: What the output's numbers are of, in order; [fake] for a single number.
        gives: What they are: logits, probabilities, or a score of no known scale (of fake).
    """

    size: Side
    resize: Side | None = None
    mean: Colour
    std: Spread
    channels: Literal["rgb", "bgr"] = "rgb"
    output: str | None = None
    classes: Annotated[list[Label], Field(min_length=1, max_length=2), Distinct]
    gives: Literal["logits", "probabilities", "score"]

    def _check(self) -> None:
        if "fake" not in self.classes:
            raise ValueError("classes should name fake, and real where there are two numbers")
        if self.gives == "score" and len(self.classes) == 2:
            raise ValueError("gives should be logits or probabilities where there are two classes")

    @property
    def preprocessing(self) -> PreprocessingParameters:
        """The steps between a picture and the network."""
        step = -1 if self.channels == "bgr" else 1
        return PreprocessingParameters(
            resize=self.resize or self.size,
            crop=self.size,
            mean=self.mean[::step],
            std=self.std[::step],
        )


def load_onnx(path: Path) -> OnnxDetector:
    """A detector of NAME.onnx and NAME.yaml beside it, which holds an `OnnxDescription`.

    Raises:
        UserError: If onnxruntime or the YAML file is missing, or one of the files does not fit.
    """
    if find_spec("onnxruntime") is None:
        raise UserError(
            "ONNX files need onnxruntime, which is not installed: "
            "pip install -c constraints.txt -e '.[export]'"
        )
    described = _read_description(path.with_suffix(".yaml"))
    content = path.read_bytes()
    session = _open(path, content)
    digest = hashlib.sha256(content)
    # large networks keep their weights in files beside, as NAME.onnx.data
    for beside in sorted(path.parent.glob(f"{glob.escape(path.name)}?*")):
        digest.update(beside.read_bytes())
    sha256 = digest.hexdigest()
    gives: Any = {"logits": "logit", "probabilities": "probability"}.get(
        described.gives, described.gives
    )
    card = make_card(
        "onnx", str(path), sha256, gives, described.preprocessing,
        description=described.model_dump(mode="json"),
    )  # fmt: skip
    network = OnnxNetwork(session, described, card)
    try:
        with torch.inference_mode():
            values = torch.linspace(-2, 2, 8)[:, None, None, None]
            network(values.expand(-1, 3, described.size, described.size))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return OnnxDetector(network.eval(), card, pack_hashes([]), pack_hashes([]))


def _read_description(path: Path) -> OnnxDescription:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"there is no {path}, which tells how the ONNX file beside it is used (docs/compare.md)"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is no YAML file ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} should hold keys and values (docs/compare.md)")
    try:
        return OnnxDescription.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {describe_problems(error, OnnxDescription)}") from None


def _open(path: Path, content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        # by path: large models keep their weights in files beside them
        return onnxruntime.InferenceSession(
            path, options, providers=onnxruntime.get_available_providers()
        )
    # onnxruntime raises errors of many kinds
    except Exception as error:
        problem = "it is empty" if not content else first_line(error)
        raise UserError(f"{path} is no ONNX file that can be run ({problem})") from None


class OnnxNetwork(nn.Module):
    """An ONNX file as a network: [n, 3, size, size] float32, normalised, to [n, 2] logits."""

    sha256: Tensor

    def __init__(self, session: Any, described: OnnxDescription, card: DetectorCard) -> None:
        super().__init__()
        self._session, self._described, self.card = session, described, card
        # so that other files have other weights
        digest = bytes.fromhex((card.other_program or {})["sha256"])
        self.register_buffer("sha256", torch.tensor(list(digest), dtype=torch.uint8))
        taken = session.get_inputs()
        if len(taken) != 1:
            raise UserError(f"the network should take one input; it takes {len(taken)}")
        self._input, shape = taken[0].name, taken[0].shape
        if taken[0].type != "tensor(float)" or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise UserError(
                "the network should take float32 pictures of three channels, [n, 3, h, w] or "
                f"[n, h, w, 3]; it takes {taken[0].type} {shape}"
            )
        self._channels_last = shape[1] != 3
        sides = {side for side in shape[1:] if isinstance(side, int)} - {3}
        if sides - {described.size}:
            raise UserError(f"size is {described.size}, and the network takes {shape}")
        # a number where the file was exported for batches of one size
        self._batch = shape[0] if isinstance(shape[0], int) else None
        outputs = [each.name for each in session.get_outputs()]
        self._output = described.output or outputs[0]
        if self._output not in outputs or (described.output is None and len(outputs) > 1):
            raise UserError(f"output should name one of the outputs: {', '.join(outputs)}")

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        # a session cannot be copied, and nothing of this changes
        return self

    def with_card(self, card: DetectorCard) -> OnnxNetwork:
        """The same network under another card."""
        return OnnxNetwork(self._session, self._described, card).eval()

    def forward(self, batch: Tensor) -> Tensor:
        """Logits of real (0) and fake, float64."""
        pixels = batch.detach().cpu().float()
        if self._described.channels == "bgr":
            pixels = pixels.flip(1)
        array = pixels.permute(0, 2, 3, 1).numpy() if self._channels_last else pixels.numpy()
        values = np.concatenate([self._run(part) for part in self._parts(array)])[: len(array)]
        logits = torch.from_numpy(to_logits(self._of_fake(values), self.card))
        return torch.stack([torch.zeros_like(logits), logits], dim=1)

    def _parts(self, array: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        if self._batch is None:
            return [array]
        padding = -len(array) % self._batch
        full = np.concatenate([array, np.repeat(array[-1:], padding, axis=0)])
        return np.split(full, len(full) // self._batch)

    def _run(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        try:
            given = {self._input: np.ascontiguousarray(array)}
            values = np.asarray(self._session.run([self._output], given)[0], dtype=np.float64)
        # onnxruntime raises errors of many kinds
        except Exception as error:
            raise UserError(f"the network cannot be run ({first_line(error)})") from None
        wanted = (len(array), len(self._described.classes))
        if values.size != wanted[0] * wanted[1]:
            raise UserError(
                f"the output {self._output} has the shape {list(values.shape)} for "
                f"{wanted[0]} pictures, and classes name {wanted[1]} numbers for each"
            )
        return values.reshape(wanted)

    def _of_fake(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The number of fake: logit against real, probability or score."""
        classes, of = self._described.classes, values.T
        fake = of[classes.index("fake")]
        if self._described.gives != "logits":
            if self._described.gives == "probabilities" and not _are_probabilities(values):
                raise UserError(
                    "gives is probabilities, and the output has numbers that are none: it may be "
                    "logits"
                )
            return np.asarray(fake)
        return np.asarray(fake - of[classes.index("real")] if len(classes) == 2 else fake)


def _are_probabilities(values: np.ndarray[Any, Any]) -> bool:
    inside = bool(((values > -1e-6) & (values < 1 + 1e-6)).all())
    return inside and (values.shape[1] == 1 or bool(np.allclose(values.sum(1), 1, atol=1e-3)))


@dataclass(frozen=True)
class OnnxDetector(Detector):
    """A detector whose network is an ONNX file."""

    network: OnnxNetwork

    def with_card(self, card: DetectorCard) -> Self:
        """The same detector with another card."""
        return replace(self, card=card, network=self.network.with_card(card))
