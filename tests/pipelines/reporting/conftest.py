from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from reporting_samples import PIXEL, report_inputs

from deepfake_detection.reports import embedded_figures as page_figures


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures have tests of their own, and take most of the time that a page takes."""
    monkeypatch.setattr(page_figures, "svg", lambda *_: PIXEL)


@pytest.fixture
def inputs(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """All that `write_report` takes; any of it can be given."""

    def build(predictions: pd.DataFrame | None = None, **changed: Any) -> dict[str, Any]:
        return report_inputs(tmp_path, predictions, **changed)

    return build
