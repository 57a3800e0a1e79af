from functools import partial

import pytest
from reporting_samples import report_inputs


@pytest.fixture
def inputs(tmp_path):
    """All that `write_report` takes; any of it can be given."""
    return partial(report_inputs, tmp_path)
