"""The figures of a study. Each function returns a Matplotlib figure that belongs to nobody else."""

from deepfake_detection.pipelines.studies.figures.comparisons import draw_comparisons
from deepfake_detection.pipelines.studies.figures.curves import draw_curves, draw_losses
from deepfake_detection.pipelines.studies.figures.inflation import draw_inflation
from deepfake_detection.pipelines.studies.figures.scores import draw_scores

__all__ = [
    "draw_comparisons",
    "draw_curves",
    "draw_inflation",
    "draw_losses",
    "draw_scores",
]
