"""docs/detector-file.md describes the detector file as the code reads and writes it."""

import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from detector_samples import build_detector, make_sensitive_detector

from deepfake_detection import Detector
from deepfake_detection.models import detector_card
from deepfake_detection.models.detector_card import FORMAT_VERSION, DetectorCard
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.parameters import PreprocessingParameters

DOCUMENT = Path(__file__).parents[2] / "docs" / "detector-file.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def _rows(first_column):
    """Rows of the table with this heading, a list of cells each."""
    lines = TEXT.split(f"| {first_column} |", maxsplit=1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_the_card_has_every_field_and_no_other():
    described = {name.strip("`"): required for name, required, *_ in _rows("field | required")}
    needed = {each.name: "yes" if each.default_factory is MISSING else "no"
              for each in fields(DetectorCard)}  # fmt: skip
    assert described == needed | {"format_version": "yes"}
    assert f"format version **{FORMAT_VERSION}**" in TEXT


def test_the_table_of_its_objects_has_every_key_that_is_checked_and_no_other():
    described, block = {}, None
    for name, keys, *_ in _rows("object | key"):
        block = name.strip("`") or block
        described.setdefault(block, set()).update(re.findall(r"`(\w+)`", keys))
    models = {
        "preprocessing": PreprocessingParameters, "split": detector_card._Split,
        "crop_recipe": detector_card._CropRecipe, "crop": detector_card._Crop,
        "calibration": detector_card._Calibration, "source_score": detector_card._SourceScore,
        "verdict": detector_card._Verdict, "vouched_by": detector_card._VouchedBy,
    }  # fmt: skip
    assert described == {name: set(model.model_fields) for name, model in models.items()}


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_sensitive_detector("shufflenet_v2_x0_5"),
        lambda: build_detector("googlenet", transform_input=True, temperature=0.02),
        lambda: build_detector("mnasnet0_5", temperature=0.02),
        lambda: build_detector("timm/test_vit.r160_in1k"),
        lambda: build_detector("timm/test_efficientnet", temperature=0.02),
    ],
)
def test_its_program_scores_as_the_detector_does_without_this_project(
    make, tmp_path, photograph, monkeypatch, capsys
):
    write_detector(make(), tmp_path / "detector.safetensors")
    photograph(3, (90, 61)).save(tmp_path / "picture.png")
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert "deepfake_detection." not in program
    assert not re.search(r"^(import|from) deepfake", program, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["score.py", "detector.safetensors", "picture.png"])
    exec(program, {"__name__": "__main__"})  # noqa: S102
    said = capsys.readouterr().out
    detector = Detector.load(tmp_path / "detector.safetensors")
    expected = detector.score(tmp_path / "picture.png").fake_probability
    assert 0.001 < expected < 0.999
    assert float(said) == pytest.approx(expected, abs=1e-4)
