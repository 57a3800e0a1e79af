"""Nodes of `generalisation`: each detector on each set, what it loses there, and who is better."""

import hashlib
import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from deepfake_detection.atomic_write import atomic_write
from deepfake_detection.errors import UserError, first_line
from deepfake_detection.images.pixel_cache import FolderPixels
from deepfake_detection.metrics.caveats import EXTERNAL, join_notes
from deepfake_detection.metrics.drops import measure_drops
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.metrics.predicting import check_unseen, predict
from deepfake_detection.metrics.several_detectors import compare_all, judging_of
from deepfake_detection.metrics.source_scores import score_sources
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.parameters import (
    EvaluationParameters,
    FaceExtractionParameters,
    GeneralisationParameters,
    LabelledSetParameters,
)
from deepfake_detection.pipelines.evaluation.nodes import (
    ask_whether_swapped,
    make_metrics,
    take_all_images,
)
from deepfake_detection.pipelines.generalisation.labelled_sets import (
    IndexedSet,
    SetReader,
    count_lost,
)
from deepfake_detection.reports.words import counted

log = logging.getLogger(__name__)

LOST_COLUMNS = ["detector", "set", "path", "frame", "reason"]
# Of a detector that no name is given to
ONLY = "detector"
_KEYS = ["level", "metric", "class_name"]


def take_one_detector(detector: Detector) -> dict[str, Detector]:
    """The one detector of the catalog, by name."""
    return {ONLY: detector}


def open_detectors(
    detector_files: Callable[[str], Detector], generalisation: GeneralisationParameters
) -> dict[str, Detector]:
    """The detectors that the parameters name.

    Raises:
        UserError: Naming the first that cannot be loaded.
    """
    opened = {}
    for name, location in generalisation.detectors.items():
        try:
            opened[name] = detector_files(location)
        except UserError as error:
            raise UserError(f"parameter 'generalisation.detectors.{name}': {error}") from None
    return opened


def score_sets(
    detectors: dict[str, Detector],
    project_folder: Path,
    crops_of_sets: Path,
    scores_of_sets: Path,
    generalisation: GeneralisationParameters,
    face_extraction: FaceExtractionParameters,
    evaluation: EvaluationParameters,
    **folders: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score each set with each detector; what an earlier run scored is not scored again.

    A set that is not there, or that a detector cannot be scored on, is left out and named.

    Args:
        detectors: By name.
        project_folder: To which the paths of sets are relative.
        crops_of_sets: Where faces are cut out of videos and photographs.
        scores_of_sets: Where the scores of each detector on each set are kept.
        generalisation: The sets.
        face_extraction: How faces are cut where a detector does not tell.
        evaluation: Batch size and device.
        folders: Of sets whose parameters name no path (`set:NAME`).

    Returns:
        Predictions as of `predict`, with the columns detector and set in front; and what was lost:
        `LOST_COLUMNS`, a row for each file or frame; without path for a set as a whole.

    Raises:
        UserError: If there are no sets, or nothing could be scored.
    """
    if not generalisation.sets:
        raise UserError(
            "parameter 'generalisation.sets' names no set: name labelled sets in "
            "conf/local/parameters.yml (docs/compare.md), or choose a protocol: "
            "--params protocol=ffpp_to_all"
        )
    if wanted := generalisation.trained_on:
        for name, detector in detectors.items():
            method = detector.card.split["method"]
            if method != "official":
                log.warning(
                    "The protocol is for detectors trained on %s; %s was trained with the split "
                    "method %s", wanted, name, method,
                )  # fmt: skip
    reader = SetReader(project_folder, folders, crops_of_sets, face_extraction)
    scored: list[pd.DataFrame] = []
    lost: list[pd.DataFrame] = []
    said: list[IndexedSet] = []
    for set_name, labelled in generalisation.sets.items():
        for name, detector in detectors.items():
            try:
                indexed = reader.read(set_name, labelled, detector)
                predictions = _score(indexed, detector, labelled, scores_of_sets, evaluation)
            except UserError as error:
                log.warning("%s is left out for %s: %s", set_name, name, error)
                missing = pd.DataFrame([{"path": "", "frame": pd.NA, "reason": first_line(error)}])
                lost.append(missing.assign(detector=name, set=set_name))
                continue
            if indexed not in said:
                _say_once(set_name, labelled.note, indexed)
                said.append(indexed)
            lost.append(indexed.lost.assign(detector=name, set=set_name))
            predictions.insert(0, "detector", name)
            predictions.insert(1, "set", set_name)
            scored.append(predictions)
    if not scored:
        raise UserError(
            f"parameter 'generalisation.sets': none of {', '.join(generalisation.sets)} could be "
            "scored; the log names the reasons"
        )
    all_lost = pd.concat(lost, ignore_index=True)[LOST_COLUMNS].astype({"frame": "Int64"})
    return pd.concat(scored, ignore_index=True), all_lost


def _score(
    indexed: IndexedSet,
    detector: Detector,
    labelled: LabelledSetParameters,
    kept: Path,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Predictions on a set, from an earlier run if it was the same detector and set.

    Those of a function are not kept: what it depends on is not known.
    """
    # its note is said once, not for each detector
    split = take_all_images(indexed.index, detector, labelled.model_copy(update={"note": None}))
    check_unseen(detector, split)
    if EXTERNAL not in set(split["subset"]):
        raise UserError("all of its images are among those that calibrated the detector")
    path = kept / f"{_fingerprint(split, detector)}.parquet"
    if path.is_file():
        log.info("The same detector scored these images before (%s)", path.name)
        return pd.read_parquet(path)
    files = dict(zip(split["sha256"], split["path"], strict=True))
    pixels = FolderPixels(indexed.folder, files)
    predictions = predict(detector, split, split, pixels, evaluation)
    if (detector.card.other_program or {}).get("kind") != "python":
        with atomic_write(path) as temporary:
            predictions.to_parquet(temporary)
    return predictions


def _fingerprint(split: pd.DataFrame, detector: Detector) -> str:
    """Of all that determines predictions."""
    card = detector.card
    told = [
        card.run_fingerprint, detector.weights_fingerprint, card.threshold, card.temperature,
        card.calibration, card.settings.get("other_program"), detector.flip_average,
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    columns = ["path", "sha256", "class_name", "label", "source", "group", "subset"]
    digest.update(split[columns].to_csv(index=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:24]


def _say_once(set_name: str, note: str | None, indexed: IndexedSet) -> None:
    """What holds of a set for all detectors: its note, and what was lost."""
    if note:
        log.info("%s", note)
    for reason, files, frames in count_lost(indexed.lost):
        what = " and ".join(
            counted(number, noun) for number, noun in ((files, "file"), (frames, "frame")) if number
        )
        log.warning("%s: %s lost: %s", set_name, what, reason)


def measure_sets(
    set_predictions: pd.DataFrame,
    detectors: dict[str, Detector],
    all_finished_scores: FinishedScores,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Measure each detector on each set, and what it loses against its own test set or validation.

    Returns:
        The rows of the metric table with columns detector, set, own_subset, own_value, drop (value
        minus own_value), drop_low and drop_high; NaN where the own scores are not known, or sets
        cannot be compared.
    """
    tables = []
    for (name, set_name), predictions in set_predictions.groupby(["detector", "set"], sort=False):
        detector = detectors[str(name)]
        table, _ = make_metrics(predictions, detector, evaluation)
        if question := ask_whether_swapped(table[table["subset"] == EXTERNAL]):
            log.warning("%s on %s: %s", name, set_name, question)
        table = table[table["subset"] == EXTERNAL].drop(columns="subset")
        elsewhere = predictions[predictions["subset"] == EXTERNAL]
        drops = _measure_drops(elsewhere, detector, all_finished_scores, evaluation)
        table = table.astype({"class_name": object}).merge(drops, on=_KEYS, how="left")
        table.insert(0, "detector", str(name))
        table.insert(1, "set", str(set_name))
        tables.append(table)
        _log_set(str(name), str(set_name), table)
    # where no own scores are known, nothing tells pandas that these are numbers
    numbers = dict.fromkeys(("own_value", "drop", "drop_low", "drop_high"), "float64")
    return pd.concat([table.astype(numbers) for table in tables], ignore_index=True)


def _measure_drops(
    elsewhere: pd.DataFrame,
    detector: Detector,
    finished: FinishedScores,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    columns = [*_KEYS, "own_subset", "own_value", "drop", "drop_low", "drop_high"]
    found = finished.find_predictions(detector.card)
    if found is None:
        return pd.DataFrame(columns=columns).astype({"class_name": object})
    subset, own = headline_predictions(found)
    card = detector.card
    judge = (card.threshold, card.temperature, SourceScore.of(card.calibration))
    levels = {
        "image": (own, elsewhere),
        "source": (score_sources(own, *judge), score_sources(elsewhere, *judge)),
    }
    rows = [
        asdict(row)
        for level, pair in levels.items()
        for row in measure_drops(*pair, card.temperature, level, evaluation.confidence)
    ]
    table = pd.DataFrame(rows).rename(
        columns={"difference": "drop", "low": "drop_low", "high": "drop_high"}
    )
    return table.assign(own_subset=subset)[columns].astype({"class_name": object})


def _log_set(name: str, set_name: str, table: pd.DataFrame) -> None:
    figures = {
        (row["level"], row["metric"]): row
        for row in table[table["class_name"].isna()].to_dict("records")
    }
    said = []
    for level, metric, words in (
        ("image", "roc_auc", "ROC AUC"),
        ("source", "roc_auc", "by source"),
        ("image", "accuracy", "accuracy"),
    ):
        row = figures[level, metric]
        against = "" if math.isnan(row["drop"]) else f" ({row['drop']:+.3f} against its own set)"
        value = "undefined" if math.isnan(row["value"]) else f"{row['value']:.3f}"
        said.append(f"{words} {value}{against}")
    log.info("%s on %s: %s", name, set_name, ", ".join(said))


def compare_on_sets(
    set_predictions: pd.DataFrame, detectors: dict[str, Detector], evaluation: EvaluationParameters
) -> pd.DataFrame:
    """Compare every two detectors on each set by the images that all of them scored.

    Columns: set, then those of `compare_all`; no rows for one detector. Detectors that cut faces in
    unlike ways have other images, and are compared only if the paths are the same.
    """
    tables = []
    for set_name, rows in set_predictions.groupby("set", sort=False):
        external = rows[rows["subset"] == EXTERNAL]
        by_name = {str(name): each for name, each in external.groupby("detector", sort=False)}
        first = set(next(iter(by_name.values()))["path"])
        for name in [name for name, each in by_name.items() if first.isdisjoint(each["path"])]:
            log.warning("%s: %s scored other images, and is not compared", set_name, name)
            del by_name[name]
        common = first.intersection(*(set(each["path"]) for each in by_name.values()))
        kept = {name: each[each["path"].isin(common)] for name, each in by_name.items()}
        if len(kept) < 2:
            continue
        if any(each["label"].nunique() < 2 for each in kept.values()):
            log.warning("%s: the images in common are of one class", set_name)
            continue
        judging = {name: judging_of(detectors[name].card) for name in kept}
        table = compare_all(kept, judging, evaluation.confidence)
        left = sum(len(each) for each in by_name.values()) - len(common) * len(kept)
        note = f"without {left} scores of images that not all detectors scored" if left else None
        told = table["note"].astype(object).where(table["note"].notna(), None)
        table["note"] = [join_notes(each, note) for each in told]
        table.insert(0, "set", set_name)
        tables.append(table)
    if not tables:
        columns = ["set", "detector", "other_detector", "metric", "subset", "level", "class_name"]
        return pd.DataFrame(columns=columns)
    return pd.concat(tables, ignore_index=True)
