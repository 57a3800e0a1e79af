"""The pipeline `export`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.export.nodes import export_detector, write_model_card


def create_pipeline() -> Pipeline:
    """From a detector to an ONNX file, code that prepares images for it, and a model card."""
    return Pipeline(
        [
            Node(
                export_detector,
                inputs=["detector", "pictures_to_check", "params:model", "params:export"],
                outputs=["onnx_detector", "onnx_prepare", "onnx_check"],
                name="export_detector",
            ),
            Node(
                write_model_card,
                inputs=["detector", "onnx_check", "finished_scores"],
                outputs="model_card",
                name="write_model_card",
            ),
        ]
    )
