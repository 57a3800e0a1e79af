"""Nodes of `export`: from a detector to files with which it is used elsewhere."""

import logging
from pathlib import Path

from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import ExportParameters
from deepfake_detection.pipelines.export.agreement import Agreement, check_agreement
from deepfake_detection.pipelines.export.model_card import render_model_card
from deepfake_detection.pipelines.export.onnx_model import make_onnx_model
from deepfake_detection.pipelines.export.preparation import render_prepare

log = logging.getLogger(__name__)


def export_detector(
    detector: Detector, pictures_to_check: Path, model: str, export: ExportParameters
) -> tuple[bytes, str, Agreement]:
    """Export a detector to ONNX, and check the result against it on real pictures.

    All in one node, so that nothing is written that was not checked.

    Args:
        detector: What is exported.
        pictures_to_check: A folder of pictures.
        model: The backbone in whose folder the files will lie.
        export: Opset, and how the result is checked.

    Returns:
        Content of the ONNX file; code that prepares pictures for it; how far both agree.

    Raises:
        UserError: If the network cannot be exported, or the result says something else.
    """
    if detector.card.backbone != model:
        log.warning(
            "The detector is of %s, and its files will lie in the folder of %s: --params model=%s "
            "puts them in its own",
            detector.card.backbone, model, detector.card.backbone,
        )  # fmt: skip
    log.info("Exporting %s to ONNX, which may take a minute or more", detector.card.backbone)
    content = make_onnx_model(detector, export.opset)
    agreement = check_agreement(content, detector, pictures_to_check, export)
    log.info(
        "The ONNX model (%.0f MB) agrees with the detector on %d pictures: fake probabilities "
        "differ by %.1g at most",
        len(content) / 1e6, agreement.pictures, agreement.largest_difference,
    )  # fmt: skip
    return content, render_prepare(detector.preprocessing), agreement


def write_model_card(
    detector: Detector, onnx_check: Agreement, finished_scores: FinishedScores
) -> str:
    """Write what has to be known of a detector before it is used, as Markdown.

    Args:
        detector: What is described.
        onnx_check: How far its ONNX model agrees with it.
        finished_scores: Where those of its own split are, if they are known here.
    """
    card = detector.card
    # a detector that was trained on all images has none of its own
    scored = card.vouched_by.get("run_fingerprint", card.run_fingerprint)
    metric_table = finished_scores.find_metric_table(scored)
    if metric_table is None:
        log.warning(
            "How the detector of run %s did on its own split is not known here, and the model "
            "card says so: kedro run --pipelines evaluation makes it, where it was made",
            scored[:12],
        )
    return render_model_card(card, metric_table, onnx_check)
