"""The pipeline `import_checkpoint`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.import_checkpoint.nodes import import_detector


def create_pipeline() -> Pipeline:
    """From a checkpoint of another program to a detector whose training images are unknown."""
    parameters = ("model", "backbones", "import_checkpoint", "face_extraction")
    return Pipeline(
        [
            Node(
                import_detector,
                inputs=["checkpoint", *(f"params:{name}" for name in parameters)],
                outputs="imported_detector",
                name="import_detector",
            )
        ]
    )
