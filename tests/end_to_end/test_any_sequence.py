"""After any sequence of runs and losses, what is loaded is whole and belongs together."""

import json
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from demo_project import MODEL, latest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from kedro.io import DatasetError

from deepfake_detection import Detector
from deepfake_detection.atomic_write import check_whole
from deepfake_detection.errors import UserError, user_error_behind

MODELS, OUTPUT = f"data/demo/06_models/{MODEL}", f"data/demo/07_model_output/{MODEL}"
THRESHOLDS = st.sampled_from([0.3, 0.5])
PIPELINES = ["data_preparation", "training", "evaluation", "calibration", "reporting"]
LOSSES = [
    "data/demo/05_model_input/pixel_cache", "data/demo/05_model_input/split.parquet",
    f"{MODELS}/detector.safetensors", f"{OUTPUT}/predictions.csv", f"{OUTPUT}/metrics.json",
]  # fmt: skip


@pytest.mark.slow
def test_any_sequence_leaves_what_belongs_together(demo_project, run_here):
    class Sequences(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.folder = tempfile.mkdtemp()
            self.project = Path(shutil.copytree(demo_project, f"{self.folder}/project"))

        def teardown(self):
            shutil.rmtree(self.folder)

        @rule(
            name=st.sampled_from(PIPELINES),
            seed=st.integers(0, 1),
            value=THRESHOLDS,
        )
        def run(self, name, seed, value):
            given = {
                "split": {"seed": seed}, "training": {"epochs": 1},
                "calibration": {"threshold": {"value": value}},
            }  # fmt: skip
            try:
                run_here(self.project, name, **given)
            except (UserError, DatasetError) as error:
                refusal = user_error_behind(error)
                assert refusal is not None
                assert "\n" not in str(refusal)
                return
            if name == "reporting":
                # it was written only if all of these belong together
                run = Detector.load(latest(self.project, f"{MODELS}/detector.safetensors")).card
                metrics = json.loads(latest(self.project, f"{OUTPUT}/metrics.json").read_text())
                predictions = pd.read_csv(latest(self.project, f"{OUTPUT}/predictions.csv"))
                assert {run.run_fingerprint} == set(predictions["run_fingerprint"])
                assert run.run_fingerprint == metrics["run_fingerprint"]
                assert (run.threshold, len(predictions)) == (
                    metrics["threshold"], metrics["rows"]["predictions"],
                )  # fmt: skip

        @rule(lost=st.sampled_from(LOSSES), all_of_it=st.booleans())
        def lose(self, lost, all_of_it):
            path = self.project / lost
            versions = sorted(path.iterdir()) if path.is_dir() else []
            for version in versions if all_of_it else versions[-1:]:
                shutil.rmtree(version)

        @invariant()
        def is_whole(self):
            for checksum in self.project.rglob("*.sha256"):
                check_whole(checksum.with_suffix(""))

    run_state_machine_as_test(
        Sequences,
        settings=settings(
            max_examples=5, stateful_step_count=8, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
