"""Images to scores, source scores and a submission."""

import copy
import io
import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from demo_project import ROOT
from detector_samples import make_sensitive_detector
from face_samples import face_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from natsort import natsorted, ns
from PIL import Image

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.images.listing import list_files
from deepfake_detection.interruptions import InterruptedWorkError
from deepfake_detection.models.scoring_checkpoints import ScoringCheckpoints
from deepfake_detection.parameters import InferenceParameters
from deepfake_detection.pipelines.inference.nodes import (
    average_sources,
    score_files,
    write_submission,
)

Score = Callable[..., pd.DataFrame]
DRAW = np.random.default_rng(0)
BLOCK = yaml.safe_load((ROOT / "conf/base/parameters_inference.yml").read_text())["inference"]


def picture(size=(40, 40)):
    coarse = DRAW.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def parameters(**changes):
    return InferenceParameters.model_validate(
        BLOCK | {"batch_size": 8, "max_pixels": 100_000, "device": "cpu"} | changes
    )


@pytest.fixture(scope="module")
def detector():
    return make_sensitive_detector()


@pytest.fixture
def states(tmp_path):
    return ScoringCheckpoints(tmp_path / "states")


@pytest.fixture
def score(detector, states):
    def run(path, **changes):
        return score_files(path, detector, states, parameters(**changes), face_settings())

    return run


def fill(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture().save(folder / name)
    return folder


UNREADABLE = {
    "empty.png", "huge.png", "notes.md", "truncated.jpg", "broken_link.png", "pipe.png"
}  # fmt: skip
ODD = UNREADABLE | {
    "grey.png", "16_bit.png", "cmyk.jpg", "palette.gif", "alpha.png", "animated.gif",
    "animated.webp", "rotated.jpg", "one_bit.bmp", "float.tif", "deep/er/plain.JPG",
}  # fmt: skip


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    (folder / "deep/er").mkdir(parents=True)
    (folder / "empty.png").touch()
    Image.new("L", (1000, 1000)).save(folder / "huge.png")
    (folder / "notes.md").write_text("not a picture")
    picture().save(folder / "whole.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:300])
    (folder / "whole.jpg").unlink()
    (folder / "broken_link.png").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.png")
    picture().convert("L").save(folder / "grey.png")
    Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257).save(
        folder / "16_bit.png"
    )
    picture().convert("CMYK").save(folder / "cmyk.jpg")
    picture().convert("P").save(folder / "palette.gif")
    picture().convert("RGBA").save(folder / "alpha.png")
    for name in ("animated.gif", "animated.webp"):
        picture().save(folder / name, save_all=True, append_images=[picture()])
    exif = Image.Exif()
    exif[0x0112] = 6
    picture((60, 40)).save(folder / "rotated.jpg", exif=exif)
    picture().convert("1").save(folder / "one_bit.bmp")
    Image.fromarray(np.asarray(picture().convert("L"), dtype=np.float32) / 255).save(
        folder / "float.tif"
    )
    picture().save(folder / "deep/er/plain.JPG")
    (folder / ".hidden.png").write_bytes(b"passed over")
    return folder


def test_every_kind_of_file_gets_a_row_and_stops_nothing(odd_files, detector, score):
    scores = score(odd_files)
    assert sorted(scores["path"]) == sorted(ODD)
    assert list(scores["path"]) == natsorted(sorted(ODD), alg=ns.PATH)
    failed = scores["error"].notna()
    assert set(scores.loc[failed, "path"]) == UNREADABLE
    assert scores.loc[failed, ["fake_probability", "verdict"]].isna().all(axis=None)
    # a reason for each
    assert scores.loc[failed, "error"].nunique() == len(UNREADABLE)
    assert scores.loc[~failed, "fake_probability"].between(0, 1).all()
    assert set(scores.loc[~failed, "verdict"]) <= {"fake", "real"}
    assert set(scores["known_fakes"]) == {"fake_deepfake"}
    assert set(scores["detector"]) == {detector.card.run_fingerprint}
    rotated = scores.set_index("path").loc["rotated.jpg"]
    assert (rotated["width"], rotated["height"]) == (40, 60)
    # as from Python
    by_python = detector.score(odd_files / "rotated.jpg")
    assert rotated["logit"] == pytest.approx(by_python.logit, abs=1e-5)


def test_a_thousand_damaged_files_give_a_thousand_rows(tmp_path, score):
    whole = {}
    for kind in ("jpeg", "png", "gif", "webp", "tiff", "bmp", "ppm", "ico", "tga", "jpeg2000"):
        buffer = io.BytesIO()
        picture().save(buffer, kind)
        whole[kind] = np.frombuffer(buffer.getvalue(), np.uint8)
    folder = tmp_path / "fuzzed"
    folder.mkdir()
    for number in range(1000):
        kind = list(whole)[number % len(whole)]
        content = whole[kind][: DRAW.integers(1, len(whole[kind]) + 1)].copy()
        places = DRAW.integers(0, len(content), DRAW.integers(0, 20))
        content[places] = DRAW.integers(0, 256, len(places))
        (folder / f"{number}.{kind}").write_bytes(content.tobytes())
    scores = score(folder, batch_size=64)
    assert len(scores) == 1000
    read = scores["error"].isna()
    assert 0 < read.sum() < 1000
    assert scores.loc[read, "fake_probability"].between(0, 1).all()
    assert scores.loc[~read, "fake_probability"].isna().all()


def test_folder_list_and_single_file_give_the_same_scores(tmp_path, score):
    folder = fill(tmp_path / "pictures", ["2.png", "10.png", "a/1.png"])
    scores = score(folder)
    assert list(scores["path"]) == ["2.png", "10.png", "a/1.png"]
    listed = tmp_path / "list.txt"
    listed.write_text(
        f"\ufeff# pictures\npictures/a/1.png\n\n{folder / '10.png'}\nmissing.png\n",
        encoding="utf-8",
    )
    by_list = score(listed)
    assert list(by_list["path"]) == ["pictures/a/1.png", str(folder / "10.png"), "missing.png"]
    assert by_list["error"].isna().tolist() == [True, True, False]
    assert np.allclose(by_list["logit"][:2], scores["logit"][[2, 1]], atol=1e-5)
    alone = score(folder / "2.png")
    assert alone["logit"].tolist() == pytest.approx(scores["logit"][:1].tolist(), abs=1e-5)


def test_a_list_is_split_at_line_ends_alone(tmp_path):
    names = ["a\u2028b.png", "a\x85b.png", "a blank follows.png ", "=1.png", "quoted.png"]
    lines = [*names[:-1], f'"{names[-1]}"', ""]
    (tmp_path / "list.txt").write_bytes("\r\n".join(lines).encode())
    assert list_files(tmp_path / "list.txt") == [(name, tmp_path / name) for name in names]


def test_a_table_is_a_list_and_windows_separators_are_understood(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").touch()
    (tmp_path / "table.csv").write_bytes('\ufeffnote;path\r\nx;"a\\1.png"\r\ny;2.png\r\n'.encode())
    assert [path for _, path in list_files(tmp_path / "table.csv")] == [
        tmp_path / "a/1.png",
        tmp_path / "2.png",
    ]
    (tmp_path / "list.txt").write_text("a\\1.png")
    assert list_files(tmp_path / "list.txt") == [("a\\1.png", tmp_path / "a/1.png")]
    (tmp_path / "other.csv").write_text("file\na.png\n")
    with pytest.raises(UserError, match="path"):
        list_files(tmp_path / "other.csv")


@pytest.mark.parametrize("content", [b"\n# nothing\n", b"\xff\xfe\x00bad"])
def test_a_list_without_paths_is_refused(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"list\.txt"):
        list_files(tmp_path / "list.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=str(tmp_path / "empty")):
        list_files(tmp_path / "empty")


def test_a_name_that_is_no_text_is_scored_and_written(tmp_path, score):
    folder = fill(tmp_path / "pictures", ["1.png"])
    (folder / "1.png").rename(folder / os.fsdecode(b"\xff.png"))
    scores = score(folder)
    assert scores["error"].isna().all()
    assert scores["path"].tolist() == [r"\udcff.png"]
    scores.to_csv(tmp_path / "scores.csv")


@pytest.fixture
def interrupted(tmp_path, score, monkeypatch):
    """A folder of 30 pictures, whose scoring was interrupted in its third batch of eight."""
    folder = fill(tmp_path / "many", [f"{number}.png" for number in range(30)])
    score_each = Detector.score_each

    def stop(self, images, **options):
        for number, each in enumerate(score_each(self, images, **options)):
            if number == 20:
                os.kill(os.getpid(), signal.SIGTERM)
            yield each

    with monkeypatch.context() as patch:
        patch.setattr(Detector, "score_each", stop)
        with pytest.raises(InterruptedWorkError) as error:
            score(folder)
    return folder, str(error.value)


def test_an_interrupted_scoring_goes_on_to_the_same_table(
    interrupted, score, states,
    caplog,
):  # fmt: skip
    folder, message = interrupted
    (state,) = states.folder.iterdir()
    assert "16 of 30 files" in message
    assert str(state) in message
    assert threading.active_count() < 10
    rows = [json.loads(line.split(" ", 1)[1]) for line in state.read_text().splitlines() if line]
    assert len(rows) == 16
    assert {"path", "stamp", "medium", "score"} == rows[0].keys()
    # the process was killed while it wrote a line
    state.write_text(state.read_text() + '{"path": "cut o')
    # a file that changed since
    picture().save(folder / "3.png")
    os.utime(folder / "3.png", ns=(1, 1))
    caplog.set_level(logging.INFO)
    again = score(folder)
    assert "15 of 30 files" in caplog.text
    states.remove_used()
    assert not states.folder.exists()
    whole = score(folder)
    exact = again["path"] != "3.png"
    pd.testing.assert_frame_equal(again[exact], whole[exact], rtol=0, atol=1e-5)
    assert again["logit"][3] == pytest.approx(whole["logit"][3], abs=1e-5)


def test_other_settings_or_weights_do_not_resume(interrupted, detector, score, states, caplog):
    folder, _ = interrupted
    caplog.set_level(logging.INFO)
    score(folder, flip=True)
    assert str(states.folder) not in caplog.text
    trained_again = replace(detector, network=copy.deepcopy(detector.network))
    next(trained_again.network.parameters()).data += 1e-3
    score_files(folder, trained_again, states, parameters(), face_settings())
    assert str(states.folder) not in caplog.text
    # what a score does not depend on
    score(folder, source={"rule": "image", "size": 1, "pattern": None})
    assert str(states.folder) in caplog.text


def test_sources_are_scored_by_the_rule_of_the_detector(tmp_path, detector, score):
    names = [f"{video}_{frame}.png" for video in ("a", "b") for frame in range(3)]
    folder = fill(tmp_path / "frames", names)
    (folder / "b_0.png").write_bytes(b"broken")
    rule = {"rule": "pattern", "size": 1, "pattern": r"(.+)_\d+\.png"}
    scores = score(folder, source=rule)
    sources = average_sources(scores, detector)
    assert sources["source"].tolist() == ["a", "b"]
    assert set(sources["level"]) == {"source"}
    assert sources["images"].tolist() == [3, 2]
    of_a = scores[scores["source"] == "a"]
    assert sources["logit"][0] == pytest.approx(of_a["logit"].mean())
    expected = detector.probabilities(sources["logit"].to_numpy())
    assert np.allclose(sources["fake_probability"], expected)
    top = {"source_score": {"rule": "top_share", "top_share": 0.3}}
    other = replace(detector, card=replace(detector.card, calibration=top))
    highest = average_sources(scores, other)
    assert highest["logit"][0] == pytest.approx(of_a["logit"].max())
    assert highest["images"].tolist() == [3, 2]
    unknown = score(folder)
    assert average_sources(unknown, detector).empty


def test_consecutive_sources_are_counted_folder_by_folder(tmp_path, score):
    folder = fill(tmp_path / "rows", [f"{sub}/{n}.png" for sub in ("x", "y") for n in range(4)])
    rule = {"rule": "consecutive", "size": 2, "pattern": None}
    scores = score(folder, source=rule)
    assert scores["source"].tolist() == ["x/0", "x/0", "x/1", "x/1", "y/0", "y/0", "y/1", "y/1"]


def submit(scores, **changes):
    # without videos
    sources = pd.DataFrame(columns=["source", "level", "verdict", "fake_probability", "threshold"])
    given = parameters(submission=BLOCK["submission"] | changes)
    return write_submission(scores, sources, given)


def table_of(verdicts):
    """Rows of `scores` by path; above the threshold is what is called fake."""
    rows = [
        {
            "path": path, "medium": "picture", "verdict": verdict, "threshold": 0.5,
            "fake_probability": {"fake": 0.9, "real": 0.1, "unsure": 0.55}.get(verdict, np.nan),
            "logit": 0.0, "error": None if verdict else "empty file",
        }
        for path, verdict in verdicts.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_submission_has_the_given_columns_and_values(odd_files, score, caplog):
    scores = score(odd_files)
    table = submit(
        scores, name_column="Id", value_column="Prediction", name="path", unreadable="unknown"
    )
    assert list(table.columns) == ["Id", "Prediction"]
    # a text file is not an image, by name and content
    assert set(table["Id"]) == ODD - {"notes.md"}
    answers = table.set_index("Id")["Prediction"]
    verdicts = scores.set_index("path")["verdict"]
    for path, answer in answers.items():
        assert answer == {"real": 1, "fake": 0}.get(verdicts[path], "unknown")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("5 of 16" in each and "'unknown'" in each for each in warned)
    assert any("1 file;" in each and "notes.md" in each for each in warned)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, unique=True), st.randoms())
def test_the_submission_is_in_natural_order_and_complete(numbers, random):
    random.shuffle(numbers)
    verdicts = ["real", *(random.choice(["real", "fake", "unsure", None]) for _ in numbers[1:])]
    names = [f"{number}.png" for number in numbers]
    scores = table_of(dict(zip(names, verdicts, strict=True)))
    table = submit(scores, real=1, fake=0, unreadable=0)
    assert table["id"].tolist() == [str(number) for number in sorted(numbers)]
    expected = {"real": 1, "fake": 0, "unsure": 0, None: 0}
    answers = table.set_index("id")["label"]
    assert [answers[str(number)] for number in numbers] == [expected[each] for each in verdicts]


def test_where_nothing_can_be_read_the_run_fails(tmp_path, score):
    (tmp_path / "a.png").write_bytes(b"no picture")
    scores = score(tmp_path / "a.png")
    assert len(scores) == 1
    with pytest.raises(UserError, match=r"a\.png"):
        submit(scores)


def test_where_two_pictures_have_one_name_all_are_named_by_their_paths(caplog):
    paths = ["2.png", "a/1.png", "b/1.jpg"]
    scores = table_of(dict(zip(paths, ["real", "fake", "fake"], strict=True)))
    for name in ("stem", "path"):
        assert submit(scores, name=name)["id"].tolist() == paths
    assert submit(scores, name="name")["id"].tolist() == ["1.jpg", "1.png", "2.png"]
    assert len(caplog.records) == 1
