"""Nodes of `export`."""

import logging
from pathlib import Path

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import ExportParameters
from deepfake_detection.pipelines.export import prepare
from deepfake_detection.pipelines.export.agreement import Agreement, check_agreement
from deepfake_detection.pipelines.export.model_card import render_model_card
from deepfake_detection.pipelines.export.onnx_model import make_onnx_model
from deepfake_detection.pipelines.export.standalone import make_standalone

log = logging.getLogger(__name__)


def export_detector(
    detector: Detector, pictures_to_check: Path, model: str, export: ExportParameters
) -> tuple[bytes, str, Agreement]:
    """Export a detector to ONNX and compare the result with it on real images.

    This is one node, so that nothing is written that was not checked. `model` is the backbone after
    which the output folder is named.

    Returns:
        Content of the ONNX file; Python code that scores pictures with it; the agreement.

    Raises:
        UserError: If the network cannot be exported, or the ONNX model does not agree with it.
    """
    if program := detector.card.other_program:
        raise UserError(
            f"{program['location']} is another program's: only detectors of this project are "
            "exported"
        )
    if detector.card.backbone != model:
        log.warning(
            "The backbone of the detector is %s, but its files go to the folder of %s: --params "
            "model=%s changes that",
            detector.card.backbone, model, detector.card.backbone,
        )  # fmt: skip
    log.info("Exporting %s to ONNX, which may take a minute or more", detector.card.backbone)
    content = make_onnx_model(detector, export.opset)
    agreement = check_agreement(content, detector, pictures_to_check, export)
    log.info(
        "The ONNX model (%.0f MB) agrees with the detector on %d images and %d faces that were "
        "found in photographs: fake probabilities differ by %.1g at most",
        len(content) / 1e6, agreement.pictures, agreement.faces, agreement.largest_difference,
    )  # fmt: skip
    return content, make_standalone(prepare), agreement


def write_model_card(
    detector: Detector, onnx_check: Agreement, finished_scores: FinishedScores
) -> str:
    """Write the model card of a detector, in Markdown, with the metrics of its evaluation."""
    card = detector.card
    # a detector trained on all images has no metrics of its own
    scored = card.vouched_by.get("run_fingerprint", card.run_fingerprint)
    metric_table = finished_scores.find_metric_table(scored)
    if metric_table is None and card.imported_from is None:
        log.warning(
            "The model card has no metrics: there is no evaluation of run %s here. Where it was "
            "trained, kedro run --pipelines evaluation makes one",
            scored[:12],
        )
    return render_model_card(card, metric_table, onnx_check)
