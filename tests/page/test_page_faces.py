"""Faces of photographs and clips on the page, and the interface for other programs."""

import json

import jsonschema
import numpy as np
import pytest
from video_samples import cut_off

from deepfake_detection.models.score_json import as_json


def scored(page, path, query=""):
    status, _, answer = page.score(path.read_bytes(), query)
    assert status == 200, answer
    return json.loads(answer)


def same(answer, score):
    """An answer is what Python gives for the file, but for its path and the last digits."""
    told = json.loads(json.dumps(as_json(score)))
    del told["path"]
    assert {key: answer[key] for key in told}.keys() == told.keys()
    assert answer["fake_probability"] == pytest.approx(score.fake_probability, abs=1e-5)
    assert answer["verdict"] == score.verdict


def test_each_face_of_a_photograph_is_scored(face_page, face_detector, people):
    answer = scored(face_page, people / "two.png", "pictures=1&heat_maps=1")
    score = face_detector.score(people / "two.png")
    same(answer, score)
    assert {face["verdict"] for face in answer["faces"]} == {"fake", "real"}
    for told, face in zip(answer["faces"], score.faces, strict=True):
        assert told["box"] == pytest.approx(face.box)
    assert len(answer["crops"]) == len(answer["heat_maps"]) == 2
    assert answer["seen"] is None


def test_a_clip_of_two_people_has_two_tracks(face_page, face_detector, people):
    answer = scored(face_page, people / "two.mp4", "pictures=1")
    same(answer, face_detector.score_video(people / "two.mp4"))
    assert sorted(track["verdict"] for track in answer["tracks"]) == ["fake", "real"]
    assert [frame["number"] for frame in answer["frames"]] == list(range(6))


def test_a_clip_of_two_halves_changes_in_the_middle(face_page, people):
    answer = scored(face_page, people / "halves.mov")
    frames = [frame for track in answer["tracks"] for frame in track["frames"]]
    first, second = (
        [frame["face"]["logit"] for frame in frames if (frame["seconds"] < 0.55) == early]
        for early in (True, False)
    )
    assert len(first) == len(second) == 6
    assert max(np.ptp(first), np.ptp(second)) < abs(np.mean(first) - np.mean(second))
    assert "frames" not in answer


def test_webm_is_a_clip(face_page, people):
    assert scored(face_page, people / "one.webm")["searched"] == 3


def test_no_face_is_an_answer_without_a_verdict(face_page, people):
    answer = scored(face_page, people / "nobody.png", "pictures=1&heat_maps=1")
    assert (answer["verdict"], answer["fake_probability"]) == (None, None)
    assert answer["error"] == "no face"
    assert answer["heat_maps"] == answer["crops"] == []


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (lambda people, _: (people / "sound.mp4").read_bytes(), 400, "video stream"),
        (lambda people, _: (people / "long.mp4").read_bytes(), 400, "5"),
        (lambda people, _: (people / "two.mp4").read_bytes()[:300], 400, "video"),
        (lambda people, _: (people / "two.mp4").read_bytes() + bytes(2_000_000), 413, "2 MB"),
    ],
    ids=["sound alone", "too long", "its start alone", "too large"],
)
def test_clips_that_are_refused(face_page, people, tmp_path, make, status, said):
    found, _, answer = face_page.score(make(people, tmp_path))
    assert found == status
    assert said in json.loads(answer)["error"]


def test_what_is_lost_of_a_truncated_clip_is_told(face_page, people, tmp_path):
    path = tmp_path / "cut.webm"
    path.write_bytes((people / "one.webm").read_bytes())
    status, _, answer = face_page.score(cut_off(path, 0.8).read_bytes())
    answer = json.loads(answer)
    assert status in {200, 400}
    assert answer.get("lost") or answer["error"]


@pytest.mark.parametrize(
    ("name", "query"),
    [("two.png", ""), ("two.png", "pictures=1&heat_maps=1"), ("nobody.png", ""), ("two.mp4", "")],
)
def test_answers_are_as_the_interface_says(face_page, people, name, query):
    status, _, described = face_page.ask("GET", "/openapi.json")
    assert status == 200
    described = json.loads(described)
    content = described["paths"]["/score"]["post"]["responses"]["200"]["content"]
    schema = content["application/json"]["schema"] | {"components": described["components"]}
    answer = scored(face_page, people / name, query)
    jsonschema.validate(answer, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer | {"verdict": 5}, schema)
