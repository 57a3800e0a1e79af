import csv
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepfake_detection.datasets.csv_table import CsvTableDataset

ODD = ["=1+1", "NA", "1", "0.5", "'", "a\rb", "a\nb", "\\n", "true", "-x", "@", "\u202e"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1) | st.sampled_from(ODD), min_size=1))
def test_text_comes_back_as_it_was_and_begins_no_formula(tmp_path: Path, texts: list[str]) -> None:
    dataset = CsvTableDataset(filepath=str(tmp_path / "t.csv"), save_args={"index": False})
    dataset.save(pd.DataFrame({"path": texts, "n": range(len(texts))}))
    table = dataset.load()
    assert table["path"].tolist() == texts
    assert table["n"].tolist() == list(range(len(texts)))
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        written = [row["path"] for row in csv.DictReader(file)]
    assert len(written) == len(texts)
    assert not [cell for cell in written if cell[:1] in set("=+-@\t\r")]


def test_numbers_and_what_is_missing_stay_so(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1.5, None], "word": ["a", None], "mixed": [1, "a"]})
    dataset = CsvTableDataset(filepath=str(tmp_path / "t.csv"), save_args={"index": False})
    dataset.save(table)
    read = dataset.load()
    assert read["x"].isna().tolist() == read["word"].isna().tolist() == [False, True]
    assert (tmp_path / "t.csv").read_text() == "x,word,mixed\n1.5,a,1\n,,a\n"
