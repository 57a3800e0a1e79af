import pytest
from reporting_samples import report_inputs


@pytest.fixture
def inputs(tmp_path):
    """All that `write_report` takes; any of it can be given."""

    def build(predictions=None, **changed):
        return report_inputs(tmp_path, predictions, **changed)

    return build
