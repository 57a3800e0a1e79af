"""Export a detector to one ONNX file: from cropped images to fake probabilities."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.forward import FAKE, Normalise

INPUT = "picture"
OUTPUT = "fake_probability"

# A protobuf message has at most 2 GiB, of which the graph takes a little
_LARGEST_WEIGHTS = 2**31 - 2**24


class PictureNetwork(nn.Module):
    """A detector's normalisation, network, temperature and softmax."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self._normalise = Normalise(detector.preprocessing)
        self._network = detector.network
        self._temperature = detector.card.temperature
        self._flip = detector.flip_average

    def forward(self, pictures: Tensor) -> Tensor:
        """Fake probabilities, float32 [n], of pictures, uint8 [n, crop, crop, 3]."""
        inputs = self._normalise(pictures.permute(0, 3, 1, 2))
        logits = self._network(inputs)
        if self._flip:
            logits = (logits + self._network(inputs.flip(-1))) / 2
        return (logits / self._temperature).softmax(dim=1)[:, FAKE]


def make_onnx_model(detector: Detector, opset: int | None) -> bytes:
    """Make the ONNX model of a detector.

    Input `picture`: uint8 [n, crop, crop, 3], RGB, any n. Output `fake_probability`: float32 [n].
    The content of the file is one protobuf message with all weights, and with metadata: text, lists
    and blocks as JSON. The detector is on the CPU. Without an opset (version of the operators)
    PyTorch's default is taken.

    Raises:
        UserError: If the network cannot be exported, or not in this opset, or is too large.
    """
    import onnx

    card = detector.card
    state = detector.network.state_dict().values()
    size = sum(value.numel() * value.element_size() for value in state)
    if size > _LARGEST_WEIGHTS:
        raise UserError(
            f"{card.backbone} has {size / 2**30:.1f} GiB of weights, and one ONNX file "
            "holds less than 2 GiB: export a detector with a smaller backbone"
        )
    model = _export(detector, opset)
    made = next(each.version for each in model.opset_import if not each.domain)
    if opset is not None and made != opset:
        raise UserError(
            f"parameter 'export.opset': {card.backbone} cannot be written in opset "
            f"{opset}, only in {made}. null takes PyTorch's default."
        )
    _remove_debugging_information(model)
    model.producer_name = "deepfake-detection"
    model.doc_string = (
        f"Input {INPUT}: uint8 [n, crop, crop, 3], RGB. Output {OUTPUT}: float32 [n]. Sizes and "
        "threshold are in the metadata."
    )
    recipe = detector.crop_recipe
    metadata = {
        "backbone": card.backbone,
        "classes": json.dumps(card.classes),
        "known_fakes": json.dumps(card.known_fakes),
        "threshold": repr(card.threshold),
        "temperature": repr(card.temperature),
        "verdict": json.dumps(card.calibration.get("verdict", {})),
        "preprocessing": json.dumps(card.preprocessing),
        "crop_recipe": json.dumps(recipe and recipe.model_dump()),
        "run_fingerprint": card.run_fingerprint,
        "split_fingerprint": card.split["fingerprint"],
        "note": card.split.get("note") or "",
    }
    onnx.helper.set_model_props(model, metadata)
    content = bytes(model.SerializeToString())
    onnx.checker.check_model(content, full_check=True)
    return content


def _export(detector: Detector, opset: int | None) -> Any:
    crop = detector.preprocessing.crop
    network = PictureNetwork(detector).eval()
    # two images, since the exporter takes a batch size of one for fixed
    pictures = torch.zeros(2, crop, crop, 3, dtype=torch.uint8)
    try:
        with _silenced(), _plain_attention(network):
            program = torch.onnx.export(
                network,
                (pictures,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                opset_version=opset,
            )
    # the exporter raises errors of many kinds if it cannot translate a part of the network
    except Exception as error:
        raise UserError(
            f"{detector.card.backbone} cannot be exported to ONNX ({first_line(error)}): export a "
            "detector with another backbone"
        ) from error
    assert program is not None  # noqa: S101  (for the type checker)
    return program.model_proto


@contextlib.contextmanager
def _plain_attention(network: nn.Module) -> Iterator[None]:
    """Let timm's layers compute attention step by step: some fused ones cannot be translated."""
    fused: list[Any] = [each for each in network.modules() if getattr(each, "fused_attn", False)]
    for layer in fused:
        layer.fused_attn = False
    try:
        yield
    finally:
        for layer in fused:
            layer.fused_attn = True


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Hide the exporter's progress, notes and tracebacks of its fallbacks."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _remove_debugging_information(model: Any) -> None:
    """Remove lines of code with paths of this machine, which the exporter adds."""
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for described in (graph, model, *model.functions):
        del described.metadata_props[:]
