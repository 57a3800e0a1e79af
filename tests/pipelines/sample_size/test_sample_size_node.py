"""The node of sample_size: from predictions, and a comparison if there is one."""

import numpy as np
import pandas as pd
import pytest
from explanation_samples import EVALUATION
from simulated_scores import draw_detectors

from deepfake_detection.metrics.sample_size import INDEPENDENT
from deepfake_detection.parameters import SampleSizeParameters
from deepfake_detection.pipelines.sample_size.nodes import plan_sample_sizes

ASKED = SampleSizeParameters(widths=[0.05, 0.1], differences=[0.02, 0.05], power=0.8)
TABLES = draw_detectors(np.random.default_rng(0), (0.8, 0.85, 0.9), 80)
PREDICTIONS = TABLES[0].assign(run_fingerprint="ab" * 32)


def _compared():
    named = zip(("one", "two", "three"), TABLES, strict=True)
    return pd.concat([table.assign(detector=name) for name, table in named])


@pytest.mark.parametrize("compared", [False, True])
def test_the_table_has_all_that_was_asked_and_the_log_a_line_for_each_metric(compared, caplog):
    evaluation = EVALUATION.model_copy(update={"few_groups": 100})
    with caplog.at_level("INFO"):
        table = plan_sample_sizes(PREDICTIONS, _compared() if compared else None, ASKED, evaluation)
    widths, differences = (table[table["purpose"] == name] for name in ("width", "difference"))
    assert len(widths) == 4 * 2
    assert len(differences) == (3 if compared else 1) * 2 * 2
    assert set(table["subset"]) == {"test"}
    if compared:
        assert differences["other_detector"].unique().tolist() == ["two", "three"]
    else:
        assert set(differences["note"]) == {INDEPENDENT}
    assert table["groups"].dtype == "Int64"
    said = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert len(said) == 6
    most = differences[(differences["metric"] == "roc_auc") & (differences["wanted"] == 0.02)]
    assert any(f"0.02: {most['groups'].max():,};" in line for line in said)
    assert "only 80 groups" in caplog.text


def test_without_a_test_subset_validation_is_taken():
    only = PREDICTIONS.assign(subset="validation")
    table = plan_sample_sizes(only, None, ASKED, EVALUATION)
    assert set(table["subset"]) == {"validation"}
    both = pd.concat([only, PREDICTIONS.head(200)])
    assert set(plan_sample_sizes(both, None, ASKED, EVALUATION)["images_now"]) <= {200, 100}
