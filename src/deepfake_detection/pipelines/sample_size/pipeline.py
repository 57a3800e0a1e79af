"""The pipeline `sample_size`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.sample_size.nodes import plan_sample_sizes


def create_pipeline() -> Pipeline:
    """From predictions, and a comparison if there is one, to the sizes of further test sets."""
    return Pipeline(
        [
            Node(
                plan_sample_sizes,
                inputs=[
                    "predictions",
                    "earlier_comparisons",
                    "params:sample_size",
                    "params:evaluation",
                ],
                outputs="sample_sizes",
                name="plan_sample_sizes",
            )
        ]
    )
