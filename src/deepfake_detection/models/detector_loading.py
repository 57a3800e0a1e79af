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
from deepfake_detection.models.python_detector import load_function
from deepfake_detection.models.score_table import load_score_table
from deepfake_detection.parameters.backbones import FUNCTION


def load_detector(location: str | Path) -> Detector:
    """Load a detector, onto the CPU.

    Args:
        location: A detector file, or a folder of its versions; an ONNX file with a YAML file beside
            it (see `load_onnx`); `python:module:function` (see `load_function`); a CSV file of
            scores (see `load_score_table`).

    Raises:
        UserError: If there is no such detector, or it cannot be used.
    """
    if (at := str(location).rfind(FUNCTION)) >= 0 and "/" not in str(location)[at:]:
        return load_function(str(location)[at:])
    path = Path(location)
    if path.suffix in (".onnx", ".csv") and path.is_file():
        return load_onnx(path) if path.suffix == ".onnx" else load_score_table(path)
    path = find_detector_file(path)
    program = DetectorFile(path).read_card().other_program
    return _reopen(path, program["location"]) if program else Detector.load(path)


def _reopen(path: Path, location: str) -> Detector:
    """The detector of another program that a detector file was calibrated for."""
    card, trained_on, validated_on = read_calibration(path)
    detector = load_detector(location)
    now, then = detector.card.other_program or {}, card.other_program or {}
    if now.get("sha256") != then.get("sha256"):
        raise UserError(
            f"{path} was made for {location} as it was: that has changed since. Calibrate it again"
        )
    known = dataclasses.replace(detector, trained_on=trained_on, validated_on=validated_on)
    return known.with_card(card)
