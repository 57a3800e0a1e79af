"""What lies beside a detector in its project: its test score, and pictures of the demo to try."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deepfake_detection.models.detector import Detector

# Kedro's layers, which lie beside each other
_MODELS, _OUTPUT = "06_models", "07_model_output"
# Of the demo alone: whose pictures other data sets are, and whether they may be shown, is not known
_DEMO_PICTURES, _DEMO_CLIPS = Path("01_raw/generated_faces"), Path("01_raw/generated_videos")
_CROPS = Path("03_primary/faces")
# That are offered, as many real as fake
_EXAMPLES = 6


@dataclass(frozen=True)
class Example:
    """A file to try: a picture or a clip of test or validation."""

    path: Path
    thumbnail: Path  # a picture

    @property
    def name(self) -> str:
        """Its class and its file's name."""
        return f"{self.path.parent.name}-{self.path.name}"


@dataclass(frozen=True)
class FinishedRun:
    """What is known of the run that a detector was made in.

    Attributes:
        test_scores: Metrics of the test images, as in `metrics.json`; None if there are none.
        examples: Files of the demo.
    """

    test_scores: Mapping[str, Any] | None = None
    examples: tuple[Example, ...] = ()


def find_run(detector: Detector, path: Path) -> FinishedRun:
    """Look for the scores of a detector's own run in the project that its file lies in."""
    data = next((each.parent for each in path.resolve().parents if each.name == _MODELS), None)
    found = data and _find_metrics(data / _OUTPUT, detector)
    if not data or not found:
        return FinishedRun()
    place, metrics = found
    scores = metrics["subsets"].get("test", {}).get("images")
    predictions = place.parents[2] / "predictions.csv" / place.parent.name / "predictions.csv"
    examples = _choose_examples(_read_rows(predictions), data, detector)
    return FinishedRun(scores, tuple(examples))


def _find_metrics(folder: Path, detector: Detector) -> tuple[Path, dict[str, Any]] | None:
    """The newest metrics of a detector that can be read, and their file."""
    card = detector.card
    own = {name: getattr(card, name) for name in ("run_fingerprint", "threshold", "temperature")}
    paths = folder.glob("**/metrics.json/*/metrics.json")
    for path in sorted(paths, key=lambda each: each.parent.name, reverse=True):
        try:
            metrics = json.loads(path.read_bytes())
            if {name: metrics.get(name) for name in own} == own and metrics["subsets"]:
                return path, metrics
        except (OSError, ValueError, KeyError, AttributeError):
            continue
    return None


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError):
        return []


def _choose_examples(
    rows: Iterable[dict[str, str]], data: Path, detector: Detector
) -> Iterator[Example]:
    """Files of the demo, each of another source, of test before validation."""
    left = {"0": _EXAMPLES // 2, "1": _EXAMPLES - _EXAMPLES // 2}
    seen = set()
    for row in sorted(rows, key=lambda row: row["subset"] != "test"):
        example = _find_example(data, PurePosixPath(row["path"]))
        if not left.get(row["label"]) or row["source"] in seen or example is None:
            continue
        # whatever the tables say, no training image is offered
        shown = hashlib.sha256(example.thumbnail.read_bytes()).digest()
        if shown in detector.hashes_trained_on:
            continue
        seen.add(row["source"])
        left[row["label"]] -= 1
        yield example


def _find_example(data: Path, path: PurePosixPath) -> Example | None:
    """The picture of the demo, or the clip that a crop was cut from: its folder has that name."""
    clip = Path(*path.parts[1:-1])
    for file, thumbnail in (
        (_DEMO_PICTURES / path, _DEMO_PICTURES / path), (_DEMO_CLIPS / clip, _CROPS / path),
    ):  # fmt: skip
        # a path of a table does not lead out of the folder
        if ".." not in path.parts and (data / file).is_file() and (data / thumbnail).is_file():
            return Example(data / file, data / thumbnail)
    return None
