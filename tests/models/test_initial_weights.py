"""Weights that training starts from: published ones, and files of other programs."""

import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from detector_samples import build_detector
from safetensors.torch import save_file

from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import build_backbone, build_network
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.initial_weights import fetch_weights

MODEL = "shufflenet_v2_x0_5"


def make_state(model=MODEL):
    return dict(build_network(model, transform_input=True).state_dict())


def build_from(path, model=MODEL):
    weights = fetch_weights(model, str(path))
    network, heads = build_backbone(model, weights, transform_input=True)
    return dict(network.state_dict()), tuple(heads)


@pytest.mark.parametrize(("name", "save"), [("w.safetensors", save_file), ("w.pth", torch.save)])
def test_weights_are_read_from_a_local_file(tmp_path, name, save):
    weights = build_network("shufflenet_v2_x0_5", transform_input=True).state_dict()
    save(weights, tmp_path / name)
    read = fetch_weights("shufflenet_v2_x0_5", str(tmp_path / name))
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)


class _Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap_was_sprung"),))


def test_an_unreadable_file_of_weights_is_named_and_no_code_in_it_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("trap.pth").write_bytes(pickle.dumps({"weight": _Trap()}))
    Path("text.pth").write_text("no weights")
    cut = Path("truncated.safetensors")
    save_file({"weight": torch.zeros(100)}, cut)
    cut.write_bytes(cut.read_bytes()[:60])
    for name in ("trap.pth", "text.pth", cut.name, "missing.pth"):
        with pytest.raises(UserError, match=name):
            fetch_weights("resnet18", name)
    assert not Path("trap_was_sprung").exists()


def test_imagenet_weights_that_are_out_of_reach_or_damaged_say_the_way_out(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    for part in (str(file.parent), str(file)):
        with pytest.raises(UserError, match=r"^.*training\.weights=none.*$") as caught:
            fetch_weights("resnet18", "imagenet")
        assert part in str(caught.value)
        assert "\n" not in str(caught.value)
        file.write_bytes(b"half a download")


def prefixed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


def without(state, *ends):
    return {name: value for name, value in state.items() if not name.endswith(ends)}


WRAPPED = {
    "in a checkpoint": lambda state: {"epoch": 3, "state_dict": state, "best": 0.5},
    "of DistributedDataParallel": lambda state: prefixed(state, "module."),
    "of Lightning": lambda state: {
        "state_dict": prefixed(state, "model.net."), "optimizer_states": [{"state": {}}],
    },
    "beside an optimiser's": lambda state: {
        "model": state, "optimizer": {"state": {}, "exp_avg": torch.zeros(3)},
    },
    "averaged, beside others": lambda state: {
        "model": {name: value + 1 for name, value in state.items()},
        "model_ema": prefixed(state, "module."),
    },
    "beside another head's": lambda state: prefixed(state, "backbone.")
    | {"classifier.weight": torch.zeros(4, 4)},
    "with a head of ten classes": lambda state: state
    | {"fc.weight": torch.zeros(10, 1024), "fc.bias": torch.zeros(10), "more": torch.ones(2)},
    "without a head": lambda state: without(state, "fc.weight", "fc.bias"),
    "of an old version": lambda state: without(state, "num_batches_tracked"),
}  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_files_of_other_programs_are_read(tmp_path, wrap):
    state = make_state()
    torch.save(wrap(state), tmp_path / "w.pth")
    built, heads = build_from(tmp_path / "w.pth")
    for name, value in built.items():
        if name.startswith(heads):
            assert value.shape[0] == 2
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[name])


def test_what_is_taken_renamed_new_and_left_out_is_said_in_one_line(tmp_path, caplog):
    caplog.set_level("INFO")
    torch.save(WRAPPED["averaged, beside others"](make_state()), tmp_path / "w.pth")
    ten = prefixed(WRAPPED["with a head of ten classes"](make_state()), "backbone.")
    torch.save(ten, tmp_path / "ten.pth")
    for name in ("w.pth", "ten.pth"):
        fetch_weights(MODEL, str(tmp_path / name))
    averaged, other = caplog.messages
    number = len(make_state())
    assert averaged == (
        f"{tmp_path}/w.pth (model_ema): took {number} of {number} tensors; left out the prefix "
        "module. of their names; its head has 1000 outputs and is replaced by one with two"
    )
    assert other == (
        f"{tmp_path}/ten.pth: took {number - 2} of {number + 1} tensors; left out the prefix "
        "backbone. of their names; left out 3, such as fc.weight; new, with random values: "
        "fc.weight, fc.bias; its head has 10 outputs and is replaced by one with two"
    )


def test_the_older_names_of_densenet_are_known_behind_a_prefix(tmp_path):
    state = make_state("densenet121")
    older = {
        f"module.{name.replace('norm1', 'norm.1').replace('conv2', 'conv.2')}": value
        for name, value in state.items()
    }
    torch.save(older, tmp_path / "w.pth")
    built, _ = build_from(tmp_path / "w.pth", "densenet121")
    name = "features.denseblock1.denselayer1.norm1.weight"
    assert torch.equal(built[name], state[name])


def test_a_detector_file_gives_its_weights_and_head(tmp_path):
    detector = build_detector(MODEL)
    write_detector(detector, tmp_path / "detector.safetensors")
    built, _ = build_from(tmp_path / "detector.safetensors")
    for name, value in detector.network.state_dict().items():
        assert torch.equal(built[name], value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: make_state("shufflenet_v2_x1_0"), "stage2"),
        (lambda: make_state("squeezenet1_1"), "lacks"),
        (lambda: {"epoch": 3}, "no tensors"),
        (lambda: [torch.zeros(3)], "list"),
        (lambda: make_state() | {"conv1.0.weight": torch.zeros(24, 1, 3, 3)}, r"\(24, 1, 3, 3\)"),
    ],
)
def test_a_file_that_does_not_fit_says_why(tmp_path, content, said):
    torch.save(content(), tmp_path / "other.pth")
    with pytest.raises(UserError, match=rf"training\.weights.*other\.pth.*{said}"):
        fetch_weights(MODEL, str(tmp_path / "other.pth"))
