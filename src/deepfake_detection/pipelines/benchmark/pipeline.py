"""The pipeline `benchmark`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.benchmark.nodes import (
    draw_benchmark,
    draw_scoring_benchmark,
    measure_scoring_speed,
    measure_speed,
)


def create_pipeline() -> Pipeline:
    """From the image index to how fast this machine trains on its images, and scores them."""
    return Pipeline(
        [
            Node(
                measure_speed,
                inputs=[
                    "training_images",
                    "image_index",
                    "benchmark_pixels",
                    "params:backbones",
                    "params:training",
                    "params:benchmark",
                ],
                outputs="benchmark_table",
                name="measure_speed",
            ),
            Node(
                draw_benchmark,
                inputs="benchmark_table",
                outputs="benchmark_figure",
                name="draw_benchmark",
            ),
            Node(
                measure_scoring_speed,
                inputs=[
                    "training_images",
                    "image_index",
                    "params:backbones",
                    "params:training",
                    "params:benchmark",
                ],
                outputs="scoring_benchmark_table",
                name="measure_scoring_speed",
            ),
            Node(
                draw_scoring_benchmark,
                inputs="scoring_benchmark_table",
                outputs="scoring_benchmark_figure",
                name="draw_scoring_benchmark",
            ),
        ]
    )
