"""Damaged files: each reader gives what was saved, refuses in one line, or makes it anew."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch
from demo_project import make_project
from detector_samples import build_detector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_samples import make_sizes

from deepfake_detection import Detector
from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.datasets.atomic import AtomicDataset
from deepfake_detection.errors import user_error_behind
from deepfake_detection.images.listing import list_files
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.scoring import Score
from deepfake_detection.models.scoring_checkpoints import ScoringCheckpoint, stamp_of
from deepfake_detection.training.checkpoints import TrainingCheckpoints

quickly = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def damaged(draw, content):
    """The content cut, with changed or further bytes, or replaced by others."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "replace", "empty"]))
    at = draw(st.integers(0, len(content)))
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        return content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at:]
    if kind == "flip":
        changed = bytearray(content)
        # most of what matters is near the ends
        ends = st.integers(0, min(400, len(content) - 1)) | st.integers(0, len(content) - 1)
        for place in draw(st.lists(ends, min_size=1, max_size=3)):
            changed[draw(st.sampled_from([place, -1 - place]))] ^= draw(st.integers(1, 255))
        return bytes(changed)
    return b"" if kind == "empty" else draw(st.binary(max_size=300))


def load(read, path):
    """What is read, or None if it is refused in one line that names the file."""
    try:
        return read()
    except Exception as error:
        refusal = user_error_behind(error)
        if refusal is None:
            raise
        message = str(refusal)
    assert "\n" not in message
    assert str(path) in message
    return None


@pytest.fixture(scope="module")
def detector():
    return build_detector()


def test_a_damaged_detector_scores_as_before_or_is_refused(detector, tmp_path, photograph):
    path = tmp_path / "detector.safetensors"
    write_detector(detector, path)
    content = path.read_bytes()
    expected = Detector.load(path).score(photograph())

    @quickly
    @given(damaged(content))
    def check(changed):
        path.write_bytes(changed)
        read = load(lambda: Detector.load(path), path)
        assert read is None or read.score(photograph()) == expected

    check()


def test_a_damaged_training_checkpoint_is_the_saved_one_or_refused(tmp_path):
    checkpoints, run = TrainingCheckpoints(tmp_path), "a" * 64
    weights = torch.arange(300.0)
    result = dict.fromkeys(
        ["history", "best", "best_weights", "validation_logits", "not_finite"], 1
    )
    hardware = {"device": "cpu", "processes": 1, "precision": "fp32", "threads": 1}
    trainer = {"network": {"weight": weights}, "optimizer": {}, "schedule": {}}
    checkpoints.save(run, {"trainer": trainer, "result": result, "hardware": hardware})
    path = checkpoints.path(run)
    content = path.read_bytes()

    @quickly
    @given(damaged(content))
    def check(changed):
        path.write_bytes(changed)
        state = load(lambda: checkpoints.load(run), path)
        if state is not None:
            assert torch.equal(state["trainer"]["network"]["weight"], weights)
            assert state["result"] == result
            assert state["hardware"] == hardware

    check()


@pytest.mark.parametrize("name", ["pixels.npy", "sha256.npy", "list"])
def test_a_damaged_pixel_cache_is_refused_and_made_anew(
    tmp_path, photograph, encode, put_files, name
):
    files = {f"{number}.png": encode(photograph(number)) for number in range(3)}
    folder = put_files(tmp_path / "images", files)
    hashes = [hashlib.sha256(content).hexdigest() for content in files.values()]
    request = PixelRequest(folder, list(files), hashes, make_sizes(16, 12), stored=name != "list")
    caches = PixelCache(tmp_path / "caches")
    caches.build(request)
    (kept,) = caches.folder.iterdir()
    path = kept if name == "list" else kept / name
    content = path.read_bytes()

    def pixels():
        opened = caches.open(hashes, request.preprocessing)
        return opened.array[opened.rows(hashes)]

    expected = pixels()

    @quickly
    @given(damaged(content))
    def check(changed):
        path.write_bytes(changed)
        # the values of pixels have no checksum, and a list may name other files
        load(pixels, kept if name != "list" else "")
        if len(changed) != len(content):
            caches.build(request)
            assert np.array_equal(pixels(), expected)

    check()


def test_a_damaged_scoring_checkpoint_keeps_scores_as_they_were_or_not_at_all(tmp_path):
    path, pictures = tmp_path / "scores.jsonl", [str(tmp_path / f"é{at}.png") for at in range(4)]
    scores = {
        each: Score(each, 0.25 * at, "real", 0.5, -1.5 * at, 3, 4, None, None)
        for at, each in enumerate(pictures)
    }
    ScoringCheckpoint(path).keep([(stamp_of(each), score) for each, score in scores.items()])
    content = path.read_bytes()
    assert ScoringCheckpoint(path).find(pictures[3]) == scores[pictures[3]]

    @quickly
    @given(damaged(content))
    def check(changed):
        path.write_bytes(changed)
        found = {each: ScoringCheckpoint(path).find(each) for each in pictures}
        assert all(score in (None, scores[each]) for each, score in found.items())
        # more is kept behind the damage
        ScoringCheckpoint(path).keep([(stamp_of(pictures[0]), scores[pictures[0]])])
        assert ScoringCheckpoint(path).find(pictures[0]) == scores[pictures[0]]

    check()


def test_a_damaged_list_of_pictures_names_files_or_is_refused(tmp_path):
    path = tmp_path / "list.txt"

    @quickly
    @given(damaged("\ufeffa.png\r\n\"b c.png\"\n# é\n'd.png'\n\n".encode()))
    def check(changed):
        path.write_bytes(changed)
        for name, file in load(lambda: list_files(path), path) or []:
            # a list may come from Windows
            assert file in (tmp_path / name, tmp_path / name.replace("\\", "/"))
            stamp_of(str(file))

    check()


TABLE = pd.DataFrame({"path": ["a.png", "=é\n", "'"], "n": [1, 2, 3], "x": [0.5, None, 1.0]})
CSV = "deepfake_detection.datasets.csv_table.CsvTableDataset"
SAVED = {
    "csv": ({"type": CSV, "save_args": {"index": False}}, TABLE),
    "parquet": ({"type": "pandas.ParquetDataset"}, TABLE),
    "json": ({"type": "json.JSONDataset"}, {"a": [1, 2.5, None], "b": {"é": "x"}}),
    "txt": ({"type": "text.TextDataset"}, "one\ntwo é\n"),
}


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("kind", SAVED)
def test_a_damaged_table_or_json_is_the_saved_one_or_refused(tmp_path, kind, checked):
    config, saved = SAVED[kind]
    path = tmp_path / f"x.{kind}"
    dataset = AtomicDataset(filepath=str(path), dataset=config)
    dataset.save(saved)
    content = path.read_bytes()
    if not checked:
        path.with_name(f"{path.name}.sha256").unlink()

    @quickly
    @given(damaged(content))
    def check(changed):
        path.write_bytes(changed)
        read = load(dataset.load, path)
        if read is not None and checked:
            assert read.equals(saved) if kind in ("csv", "parquet") else read == saved

    check()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5_000])
def test_json_that_python_cannot_hold_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    dataset = AtomicDataset(filepath=str(path), dataset=SAVED["json"][0])
    assert load(dataset.load, path) is None


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("configured") / "project")


ODD_YAML = [
    b"- a\n", b"3\n", b"a: &x [*x]\n", b"? [a]\n: b\n", b"a: ${b\n", b"a: ${nowhere}\n",
    b"a: !!python/x {}\n", b"training: 3\n", b"training:\n", b"studies: [1]\n",
    b"a: 2026-13-45\n", b"null: 1\n", b"1: 2\n", b"a: ${a}\n", b"[" * 5000, b"\xff\xfe",
    b"a: \x00\n", b"a: {b: 1, b: 2}\n", b"!!binary x", b"a: .nan\n", b"training: ${studies}\n",
    b"training: ???\n", b"backbones: null\n", b"training: {1: 2, null: 3}\n", b"studies: {1: a}\n",
    b"studies: {mine: Mine}\nmine: {1: {}}\n",
]  # fmt: skip


@pytest.mark.parametrize("env", ["base", "demo"])
def test_a_damaged_parameter_file_is_read_or_refused_in_one_line(project, env):
    path = project / "conf" / env / "parameters.yml"
    content = path.read_bytes()

    def read():
        loader = StudyConfigLoader(
            str(project / "conf"), env="demo", base_env="base", default_run_env="local",
            merge_strategy={"parameters": "soft"},
        )  # fmt: skip
        return loader["parameters"]

    @settings(quickly, max_examples=15)
    @given(damaged(content))
    def check(changed):
        path.write_bytes(changed)
        load(read, "")

    try:
        for odd in ODD_YAML:
            check.hypothesis.inner_test(odd if env == "base" else content + b"\n" + odd)
        check()
    finally:
        path.write_bytes(content)
