"""Where a report comes from: the detector, the run that wrote it, versions, fingerprints."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepfake_detection.reports.settings import setting_in_words
from deepfake_detection.reports.words import counted


def tell_provenance(
    description: Mapping[str, Any],
    split_summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    history: pd.DataFrame,
) -> dict[str, list[tuple[str, str]]]:
    """Names and values in blocks, as `flatten_settings` gives them; what is unknown is left out.

    The manifest is of the run that writes the report, which may not be the one that trained.
    """
    read = manifest["read"].get("detector", manifest["written"].get("detector"))
    trained = None
    if len(history):
        took = counted(round(history["seconds"].sum()), "second")
        trained = f"{took} for {counted(len(history), 'epoch')}"
    blocks = {
        "This report": {
            "made": manifest["started"], "command": manifest.get("command"),
            "commit": manifest.get("commit"), "data folder": manifest.get("data"),
            "detector version": read, "training took": trained,
            "run took until here": manifest.get("elapsed"),
        },
        "Hardware of this run": manifest.get("hardware", {}),
        "Versions of this run": manifest.get("versions", {}),
        "Versions at training": description["versions"],
        "Detector": {
            "backbone": description["backbone"], "preprocessing": description["preprocessing"],
            "outputs": description["class_names"], "class folders": description["classes"],
            "threshold": description["threshold"], "temperature": description["temperature"],
        },
        "Fingerprints": {
            "run": description["run_fingerprint"],
            "split of the training": description["split"]["fingerprint"],
            "split shown here": split_summary["fingerprint"],
        },
    }  # fmt: skip
    told = {
        title: [(name, setting_in_words(value)) for name, value in block.items() if value]
        for title, block in blocks.items()
    }
    return {title: rows for title, rows in told.items() if rows}
