"""The page in a real browser, where one is installed."""

from pathlib import Path

import pandas as pd
import pytest
from page_in_browser import BROWSER, HARMLESS, show_on_a_phone
from reporting_samples import predict, predict_at_random

from deepfake_detection.pipelines.reporting.nodes import write_report


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_page_fits_a_phone_and_runs_nothing_of_a_name(inputs, without_figures, tmp_path: Path):
    name = "<script>ran = 1<:script><img src=x onerror=ran=1>" + "x" * 80 + ".jpeg"
    rows = [(f"<b>fakes</b>/{name}", 1, -4.0)]
    hostile = predict("test", rows)
    hostile.loc[0, "source"] = "s" * 200
    scored = pd.concat([hostile, predict_at_random("test", 60)], ignore_index=True)
    shown = show_on_a_phone(write_report(**inputs(scored)), tmp_path)
    # its own script is the only one
    assert shown == HARMLESS | {"scripts": 1}
