"""Detector files from strangers: refused in one line, or harmless wherever they are used."""

import json
import math
import struct

import pytest
import torch
from detector_samples import HASHES, VOUCHED_BY, build_detector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.models.detector_file import DetectorFile, write_detector
from deepfake_detection.models.run_identity import complete_settings
from deepfake_detection.page.statements import describe_detector
from deepfake_detection.pipelines.export.agreement import Agreement
from deepfake_detection.pipelines.export.model_card import render_model_card

KEY = "deepfake_detection"
PICTURE = Image.new("RGB", (50, 40), (200, 150, 120))
INF, NAN = math.inf, math.nan
COLOUR = [0.5, 0.5, 0.5]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A detector file that nothing is wrong with, its card and its tensors."""
    path = tmp_path_factory.mktemp("sound") / "detector.safetensors"
    write_detector(build_detector(), path)
    with safe_open(path, framework="pt") as file:
        return path, json.loads(file.metadata()[KEY]), load_file(path)


def use(path):
    """Whatever is done with a detector from elsewhere; a UserError has one printable line."""
    try:
        detector = Detector.load(path)
        DetectorFile(path).read_card()
        score = detector.score(PICTURE, errors="record")
        describe_detector(detector)
        # as the page sends it
        json.dumps(detector.describe(), allow_nan=False, ensure_ascii=False).encode()
        render_model_card(detector.card, None, Agreement(1, 0.0)).encode()
    except UserError as error:
        message = str(error)
    else:
        assert 0 <= score.fake_probability <= 1 or score.verdict is None
        return score
    assert message.isprintable()
    assert str(path) in message
    assert len(message) < 1000 + len(str(path))
    return None


def put(path, tensors, card):
    text = card if isinstance(card, str) else json.dumps(card)
    save_file(tensors, path, {KEY: text})
    return path


def inside(name, **changes):
    return lambda card: card | {name: card[name] | changes}


REFUSED = {
    "threshold": [1e9, NAN, INF, -INF, -1, "0.5", None, True, [0.5], 10**400],
    "temperature": [0, -1, INF, NAN, 1e-300, 1e300, "1", None, False],
    "class_names": [["fake", "real"], ["real"], [], ["real", "fake", "fake"], "real", None],
    "transform_input": [1, "true", None],
    "backbone": [None, 3, [], {}, "resnet18", "a\nb\x1b[2J", "x" * 10**6, "lambda", "vit_b_16"],
    "preprocessing": [
        None, [], "x", {}, {"resize": 40, "crop": 32},
        *({"resize": resize, "crop": crop, "mean": mean, "std": std}
          for resize, crop, mean, std in [
            (20000, 32, COLOUR, COLOUR), (1025, 1025, COLOUR, COLOUR), (32, 40, COLOUR, COLOUR),
            (40, 0, COLOUR, COLOUR), (40, -3, COLOUR, COLOUR), (40, 3.5, COLOUR, COLOUR),
            (40, 32, COLOUR[:2], COLOUR), (40, 32, COLOUR, [1, 1, 0]), (40, 32, COLOUR, [1, 1, -1]),
            (40, 32, [NAN] * 3, COLOUR), (40, 32, COLOUR, [INF] * 3), (40, 32, "abc", COLOUR),
            (40, None, COLOUR, COLOUR), (True, True, COLOUR, COLOUR),
        ]),
    ],
    "classes": [None, [], {"real": 3}, {"real": "no"}, {"a\nb": "x\ny"}, {"x" * 10**5: "real"}],
    "best_epoch": [-1, 1.5, "3", None, 10**19],
    "best_validation_accuracy": [-0.1, 1.1, NAN, "1", []],
    "split": [None, [], "x", {}, {"method": "group"}, {"method": 3, "fingerprint": "ab"}],
    "settings": [
        None, [1], "x", {"training": []}, {"training": None}, {"calibration": []},
        {"calibration": {"threshold": []}}, {"x": INF}, {"x": "\ud800"}, {"\udfff": 1},
        {"x": 10**30},
    ],
    "run_fingerprint": [None, 3, [], "a\nb", "\x1b[2J", "x" * 10**4],
    "versions": [None, [], {"torch": 2}],
    "identity": [None, [], "x"],
    "computed_on": [None, [], {"device": []}, {"threads": 1.5}],
    "calibration": [
        None, [], {"fitted": "threshold"}, {"fitted": ["x"]}, {"fitted": None}, {"notes": [3]},
        {"source_score": {}}, {"source_score": {"rule": "best"}}, {"source_score": "top_share"},
        {"source_score": {"rule": "top_share", "top_share": 0.0}},
        {"source_score": {"rule": "mean_logit", "areas": {"mean_logit": NAN}}},
    ],
    "vouched_by": [None, [], {"images": "many"}, {"best_validation_accuracy": 0.5}],
    "format_version": [None, "1", 0, 4, True, 99, [], "x\ny", 10**400],
}  # fmt: skip
CHANGED = {
    f"{name}={str(value)[:40]!a}": lambda card, name=name, value=value: card | {name: value}
    for name, values in REFUSED.items()
    for value in values
} | {
    f"{name}: {key}={str(value)[:40]!a}": inside(name, **{key: value})
    for name, key, values in [
        ("split", "method", [None, "a\nb", "x" * 1000]),
        ("split", "images", [None, [], {"train": []}, {"train": {"real": -1}}]),
        ("split", "groups", [None, {"train": "x"}]),
        ("split", "groups_in_more_than_one_subset", [None, "no", 10**30]),
        ("split", "note", [3, [], {}]),
        ("split", "medium", [3, "a\nb", []]),
        ("split", "crop_recipe", ["none", [], {}, {"detector": "centerface"}]),
        ("split", "ratios", [None, [], {"train": "x"}, {"train": 0.5}]),
        ("split", "fold", [None, 3, {"number": 1}]),
        ("split", "image_sizes", [None, {}, {"shorter_side": [1], "proportions": [1, 2]}]),
        ("calibration", "source_score", [
            3, {}, {"rule": "best"}, {"rule": "top_share", "top_share": 0},
            {"rule": "mean_logit", "areas": {"mean_logit": 2}},
        ]),
        ("vouched_by", "images", [-1, 4.5, None]),
    ]
    for value in values
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_card_with_a_wrong_value_is_refused(sound, tmp_path, change):
    _, card, tensors = sound
    assert use(put(tmp_path / "x.safetensors", tensors, change(card))) is None


HARMLESS = {
    "no fakes": lambda card: card | {"classes": {}},
    "odd names": lambda card: card | {"classes": {"a\nb\x1b[2J|<b>": "fake", "=1+1": "real"}},
    "odd texts": inside("split", note="a\nb\x1b[2J<script>", seed=[{}], own={"a": [None]}),
    "no note": lambda card: card | {"split": {"method": "group", "fingerprint": "ab" * 32}},
    "odd versions": lambda card: card | {"versions": {"<b>\n": "\u202e"}},
    "odd settings": lambda card: card | {"settings": {"training": {"a": [{"b": None}]}}},
    "odd rule": lambda card: card | {"settings": {"calibration": {"temperature": {"rule": [1]}}}},
    "great weights of colours": inside("preprocessing", mean=[9e18] * 3, std=[1e-300] * 3),
    "text for a size": inside("preprocessing", resize="40"),
    "no accuracy": lambda card: card | {"best_validation_accuracy": None},
    "vouched by a run": lambda card: card | {"vouched_by": VOUCHED_BY},
    "nothing is fake": lambda card: card | {"threshold": math.nextafter(1, 2)},
    "further keys": lambda card: card | {"of_tomorrow": {"a": 1}},
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_an_odd_card_is_harmless(sound, tmp_path, change):
    _, card, tensors = sound
    assert use(put(tmp_path / "x.safetensors", tensors, change(card))) is not None


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "3", '"x"', "{}", "{", "NaN", "[" * 100_000, '{"a":' * 100_000,
        "[" * 900 + "]" * 900, "1" * 5_000, "{}x", '{"format_version": 1}', "\0", "é",
    ],
)  # fmt: skip
def test_text_that_is_no_card_is_refused(sound, tmp_path, text):
    assert use(put(tmp_path / "x.safetensors", sound[2], text)) is None


@pytest.mark.parametrize(
    "part",
    ['"threshold": 0.1, "threshold": 0.9', f'"x": {"1" * 5000}', f'"x": {"[" * 60}{"]" * 60}',
     f'"x": "{"y" * 5_000_000}"', '"x": 1e999', '"x": -Infinity', '"x": "\\ud800"'],
)  # fmt: skip
def test_a_card_with_another_odd_part_is_refused(sound, tmp_path, part):
    text = json.dumps(sound[1])
    assert use(put(tmp_path / "x.safetensors", sound[2], f"{text[:-1]}, {part}}}")) is None


FIRST, VARIANCE = "network.conv1.0.weight", "network.conv1.1.running_var"


def cast(dtype):
    return lambda tensors: {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in tensors.items()
    }


def replaced(name, value):
    return lambda tensors: tensors | {name: value(tensors.get(name))}


TENSORS = {
    "float16": cast(torch.float16),
    "bfloat16": cast(torch.bfloat16),
    "float64": cast(torch.float64),
    "a weight NaN": replaced(
        FIRST, lambda value: value.clone().index_fill_(0, torch.tensor(0), NAN)
    ),
    "weights infinite": replaced(FIRST, lambda value: value / 0),
    "variance negative": replaced(VARIANCE, lambda value: -value),
    "variance NaN": replaced(VARIANCE, lambda value: value * NAN),
    "shape": replaced(FIRST, lambda value: value[:, :, 0].contiguous()),
    "scalar": replaced(FIRST, lambda _: torch.tensor(1.0)),
    "empty": replaced(FIRST, lambda _: torch.empty(0)),
    "missing": lambda tensors: {key: each for key, each in tensors.items() if key != FIRST},
    "nothing": lambda _: {},
    "too much": replaced("network.a\nb\x1b[2J" + "x" * 10_000, lambda _: torch.zeros(1)),
    "hashes float": replaced("trained_on", lambda value: value.float()),
    "hashes bfloat16": replaced("validated_on", lambda value: value.bfloat16()),
    "hashes int8": replaced("trained_on", lambda value: value.view(torch.int8)),
    "hashes flat": replaced("trained_on", lambda value: value.flatten()),
    "hashes scalar": replaced("trained_on", lambda _: torch.tensor(1, dtype=torch.uint8)),
    "hashes short": replaced("validated_on", lambda value: value[:, :31].contiguous()),
    "hashes deep": replaced("validated_on", lambda value: value[None]),
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_tensors_other_than_a_network_s_are_refused(sound, tmp_path, change):
    _, card, tensors = sound
    assert use(put(tmp_path / "x.safetensors", change(tensors), card)) is None


def _with_header(content, change):
    length = struct.unpack("<Q", content[:8])[0]
    header = change(content[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


FILES = {
    "empty": lambda _: b"",
    "cut header": lambda content: content[:100],
    "cut": lambda content: content[:-1],
    "trailing bytes": lambda content: content + b"x",
    "header larger than the file": lambda content: struct.pack("<Q", 2**40) + content[8:],
    "header of 2^64": lambda content: b"\xff" * 8 + content[8:],
    "overlapping tensors": lambda content: _with_header(
        content, lambda header: b'{"x":{"dtype":"U8","shape":[2,32],"data_offsets":[0,64]},'
        + header[1:]
    ),
    "metadata twice": lambda content: _with_header(
        content, lambda header: b'{"__metadata__":{"deepfake_detection":"null"},' + header[1:]
    ),
    "huge tensor": lambda content: _with_header(
        content, lambda header: header.replace(b'"shape":[2,32]', b'"shape":[9999999999,32]')
    ),
    "no JSON": lambda content: _with_header(content, lambda header: header[:-9] + b"\xff" * 9),
    "nested header": lambda content: _with_header(content, lambda _: b"[" * 100_000),
    "a pickle": lambda _: b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x02os.",
}  # fmt: skip


@pytest.mark.parametrize("change", FILES.values(), ids=FILES)
def test_files_that_are_not_well_formed_are_refused(sound, tmp_path, change):
    path = tmp_path / "x.safetensors"
    path.write_bytes(change(sound[0].read_bytes()))
    assert use(path) is None


def test_more_hashes_than_any_training_has_are_refused_unread(sound, tmp_path):
    """A sparse file of 6 GB."""
    _, card, tensors = sound
    path, rows = tmp_path / "x.safetensors", 200_000_000
    save_file({name: tensors[name] for name in tensors if name != "validated_on"}, path,
              {KEY: json.dumps(card)})  # fmt: skip

    def add(header):
        content = json.loads(header)
        end = max(each["data_offsets"][1] for each in list(content.values())[1:])
        offsets = [end, end + 32 * rows]
        content["validated_on"] = {"dtype": "U8", "shape": [rows, 32], "data_offsets": offsets}
        return json.dumps(content).encode()

    path.write_bytes(_with_header(path.read_bytes(), add))
    end = path.stat().st_size + 32 * rows
    with path.open("rb+") as file:
        file.truncate(end)
    assert use(path) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=9)
    | st.sampled_from(["real", "fake", "group", 0, 1, -1, 0.5, 1e-300, 1e308]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def _places(value, above=()):
    yield above
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield from _places(value[key], (*above, key))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_change_of_a_card_is_refused_or_harmless(sound, tmp_path, data):
    _, card, tensors = sound
    card = json.loads(json.dumps(card | {"vouched_by": VOUCHED_BY, "calibration": {"fitted": []}}))
    for _ in range(data.draw(st.integers(1, 3))):
        *above, key = data.draw(st.sampled_from([each for each in _places(card) if each]))
        block = card
        for name in above:
            block = block[name]
        action = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "remove":
            del block[key]
        elif action == "replace" or isinstance(block, list):
            block[key] = data.draw(VALUES)
        else:
            block[data.draw(st.text(max_size=5))] = data.draw(VALUES)
    use(put(tmp_path / "x.safetensors", tensors, card))


def test_a_file_of_format_1_as_it_was_first_written_is_read(sound, tmp_path):
    """Card and tensors as the writer before the typed card put them, with all that it knew."""
    _, _, tensors = sound
    preprocessing = {"resize": 40, "crop": 32, "mean": COLOUR, "std": [0.25, 0.25, 0.25]}
    counts = {"train": {"real": 30, "fakes": 60}, "validation": {"real": 10, "fakes": 20}}
    ratios = {"train": 0.8, "validation": 0.2, "test": 0.0}
    card = {
        "format_version": 1, "backbone": "shufflenet_v2_x0_5", "transform_input": False,
        "preprocessing": preprocessing, "class_names": ["real", "fake"],
        "classes": {"real": "real", "fakes": "fake"}, "threshold": 0.25, "temperature": 2,
        "best_epoch": 3, "best_validation_accuracy": 1,
        "split": {
            "method": "group", "ratios": ratios, "seed": 0, "images": counts,
            "groups": {"train": 6, "validation": 2}, "groups_in_more_than_one_subset": 0,
            "fingerprint": "ab" * 32, "note": "Only drawings.\n", "fold": {"number": 1, "of": 5},
            "image_sizes": {"shorter_side": [250, 300], "proportions": [0.9, 1.1]},
            "data_preparation": {"source": {"rule": "consecutive", "pattern": None, "size": 5}},
        },
        "settings": {
            "model": "shufflenet_v2_x0_5", "preprocessing": preprocessing,
            "training": {"epochs": 3, "seed": 0, "weights": "none", "optimizer": {"lr": 1e-4}},
            "calibration": {"threshold": {"rule": "fixed", "value": 0.25}},
        },
        "run_fingerprint": "cd" * 32, "versions": {"torch": "2.15.0", "python": "3.11"},
        "identity": {"model": "shufflenet_v2_x0_5"},
        "computed_on": {"device": "cpu", "processes": 1, "precision": "fp32", "threads": 2},
        "calibration": {"fitted": ["temperature"], "notes": ["a note"]},
        "vouched_by": VOUCHED_BY | {"best_validation_accuracy": None},
    }  # fmt: skip
    path = put(tmp_path / "x.safetensors", tensors, card)
    assert use(path) is not None
    detector = Detector.load(path)
    # a parameter that came later has the value that repeats what was done before
    rule = {"rule": "mean_logit", "top_share": 0.25}
    verdict = {"error_rate": None, "unlike_share": None}
    card["settings"]["calibration"] |= {"source_score": rule, "verdict": verdict}
    assert detector.card.settings["training"]["flip_average"] is False
    card["settings"] = complete_settings(card["settings"])
    card["described_layers"] = []
    assert json.loads(json.dumps({"format_version": 1} | detector.describe())) == card
    assert [row.tobytes().hex() for row in detector.trained_on] == HASHES[:2]
