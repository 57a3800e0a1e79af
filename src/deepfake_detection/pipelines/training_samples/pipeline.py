"""The pipeline `training_samples`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines import training
from deepfake_detection.pipelines.training_samples.nodes import draw_training_samples


def create_pipeline() -> Pipeline:
    """From a split to a picture of augmented training images, before anything is trained."""
    settings = ["params:model", "params:backbones", "params:training", "params:reporting"]
    draw = Node(
        draw_training_samples,
        inputs=["split", "pixel_cache", *settings],
        outputs="training_samples",
        name="draw_training_samples",
    )
    return training.create_pipeline().only_nodes("build_pixel_cache") + Pipeline([draw])
