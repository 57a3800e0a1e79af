"""Detectors of every kind: detector files, ONNX files, functions, tables of scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deepfake_detection.errors import UserError
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import (
    DetectorFile,
    find_detector_file,
    read_calibration,
)
from deepfake_detection.models.onnx_detector import load_onnx
from deepfake_detection.models.python_detector import (
    is_function,
    load_function,
    split_function,
)
from deepfake_detection.models.score_table import load_score_table

# What a calibration belongs to
_SAME = ("kind", "sha256", "function")


def load_detector(location: str | Path) -> Detector:
    """Load a detector, onto the CPU.

    Args:
        location: A detector file, or a folder of its versions; an ONNX file with a YAML file beside
            it (see `load_onnx`); a CSV file of scores (see `load_score_table`);
            `python:module:function` (see `load_function`), or with a detector file that was
            calibrated for it: `python:module:function@FILE`.

    Raises:
        UserError: If there is no such detector, or it cannot be used.
    """
    if is_function(location):
        folder, function = split_function(location)
        function, _, file = function.partition("@")
        detector = load_function(function)
        return _calibrate(detector, find_detector_file(folder / file)) if file else detector
    path = Path(location)
    if path.suffix.lower() in (".onnx", ".csv") and path.is_file():
        return load_onnx(path) if path.suffix.lower() == ".onnx" else load_score_table(path)
    path = find_detector_file(path)
    program = DetectorFile(path).read_card().other_program
    if program is None:
        return Detector.load(path)
    other = str(program["location"])
    # a file that comes from anyone does not choose the code that is run
    if is_function(other) or Path(other).suffix.lower() not in (".onnx", ".csv"):
        raise UserError(
            f"{path} was calibrated for a function, whose code runs only if you name it: "
            f"detector=python:MODULE:FUNCTION@{path}"
        )
    return _calibrate(load_detector(other), path)


def _calibrate(detector: Detector, path: Path) -> Detector:
    """The detector of another program with the card of the file that was calibrated for it."""
    card, trained_on, validated_on = read_calibration(path)
    now, then = detector.card.other_program or {}, card.other_program or {}
    if [now.get(name) for name in _SAME] != [then.get(name) for name in _SAME]:
        raise UserError(
            f"{path} was made for {then.get('location', 'no other program')} as it was, and this "
            f"is {now.get('location')} as it is now: calibrate it again"
        )
    known = dataclasses.replace(detector, trained_on=trained_on, validated_on=validated_on)
    return known.with_card(card)
