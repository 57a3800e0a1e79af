from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from reporting_samples import report_inputs


@pytest.fixture
def inputs(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """All that `write_report` takes; any of it can be given."""

    def build(predictions: pd.DataFrame | None = None, **changed: Any) -> dict[str, Any]:
        return report_inputs(tmp_path, predictions, **changed)

    return build
