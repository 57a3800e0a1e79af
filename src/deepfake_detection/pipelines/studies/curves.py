"""What the curves of a training say, in figures."""

from typing import Any

import pandas as pd


def describe_history(history: pd.DataFrame) -> dict[str, Any]:
    """Describe a training by its history.

    The gap between the curves and their smoothness are taken over the second half of the epochs:
    in the first, they rise.

    Args:
        history: A row for each epoch: epoch, train_accuracy, validation_accuracy, seconds.

    Returns:
        epochs; best_epoch, the first with the highest validation accuracy; best_validation_accuracy
        and train_accuracy in it; accuracy_gap, train minus validation accuracy, mean; roughness,
        mean absolute change of validation accuracy from one epoch to the next (None for a single
        epoch); fall_after_best, best minus last validation accuracy; seconds in all.
    """
    validation = history["validation_accuracy"]
    best = int(validation.argmax())
    # with the epoch before it, from which its first change is counted
    late = history.iloc[len(history) // 2 :]
    changes = validation.diff().abs().iloc[max(len(history) // 2, 1) :]
    return {
        "epochs": len(history),
        "best_epoch": int(history["epoch"].iloc[best]),
        "best_validation_accuracy": float(validation.iloc[best]),
        "train_accuracy": float(history["train_accuracy"].iloc[best]),
        "accuracy_gap": float((late["train_accuracy"] - late["validation_accuracy"]).mean()),
        "roughness": float(changes.mean()) if len(changes) else None,
        "fall_after_best": float(validation.iloc[best] - validation.iloc[-1]),
        "seconds": float(history["seconds"].sum()),
    }
