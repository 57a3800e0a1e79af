"""Backbones: heads, weights, sizes."""

import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import (
    build_backbone,
    build_network,
    check_backbone,
    check_crop,
    fetch_weights,
    list_backbones,
    replace_heads,
    split_parameters,
)

NETWORKS = {
    "alexnet": 1, "convnext_tiny": 1, "densenet121": 1, "efficientnet_b0": 1, "googlenet": 3,
    "inception_v3": 2, "maxvit_t": 1, "mnasnet0_5": 1, "mobilenet_v2": 1, "mobilenet_v3_small": 1,
    "regnet_y_400mf": 1, "resnet18": 1, "shufflenet_v2_x0_5": 1, "squeezenet1_1": 1, "swin_t": 1,
    "vgg16": 1, "vit_b_16": 1,
}  # fmt: skip


@pytest.mark.parametrize(("model", "heads"), NETWORKS.items())
def test_every_output_layer_of_a_network_gets_two_outputs(model: str, heads: int) -> None:
    network = build_network(model, transform_input=True)
    replaced = replace_heads(network)
    size = 299 if model == "inception_v3" else 224
    outputs = network.to("meta").train()(torch.empty(2, 3, size, size, device="meta"))
    assert len(replaced) == heads
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert [tuple(output.shape) for output in outputs] == [(2, 2)] * heads
    left = [
        layer
        for layer in network.modules()
        if getattr(layer, "out_features", getattr(layer, "out_channels", None)) == 1000
    ]
    assert left == []


@pytest.mark.parametrize("model", ["resnet18", "inception_v3", "squeezenet1_1", "swin_t"])
def test_two_parameter_groups_hold_each_parameter_once(model: str) -> None:
    with torch.device("meta"):
        network = build_network(model, transform_input=True)
        heads = replace_heads(network)
    rest, head = split_parameters(network, heads)
    assert len(rest) + len(head) == len(list(network.parameters()))
    assert {id(p) for p in rest}.isdisjoint(id(p) for p in head)
    expected = sum(len(list(network.get_submodule(name).parameters())) for name in heads)
    assert len(head) == expected > 0


def test_pretrained_weights_reach_all_but_the_head() -> None:
    published = build_network("resnet18", transform_input=True).state_dict()
    network, heads = build_backbone("resnet18", published, transform_input=True)
    for name, value in network.state_dict().items():
        if name.startswith(tuple(heads)):
            assert value.shape[0] == 2
        else:
            assert torch.equal(value, published[name])


def test_weights_of_a_two_class_network_are_taken_with_their_head() -> None:
    trained, _ = build_backbone("shufflenet_v2_x0_5", {}, transform_input=True)
    again, _ = build_backbone("shufflenet_v2_x0_5", trained.state_dict(), transform_input=True)
    pairs = zip(trained.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_densenet_weights_as_published_fit() -> None:
    network = build_network("densenet121", transform_input=True)
    # torchvision's files name `denselayer1.norm1.weight` as `denselayer1.norm.1.weight`
    published = {
        name.replace(".norm1.", ".norm.1.")
        .replace(".norm2.", ".norm.2.")
        .replace(".conv1.", ".conv.1.")
        .replace(".conv2.", ".conv.2."): value
        for name, value in network.state_dict().items()
    }
    build_backbone("densenet121", published, transform_input=True)


def test_weights_of_another_network_are_refused() -> None:
    other = build_network("resnet34", transform_input=True).state_dict()
    with pytest.raises(UserError, match=r"training\.weights.*do not fit resnet18"):
        build_backbone("resnet18", other, transform_input=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_are_read_from_a_local_file(tmp_path: Path, suffix: str) -> None:
    weights = build_network("shufflenet_v2_x0_5", transform_input=True).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    read = fetch_weights("shufflenet_v2_x0_5", str(path))
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)


class _Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap_was_sprung"),))


def test_a_pickle_with_code_in_it_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"weight": _Trap()}))
    with pytest.raises(UserError, match=r"weights\.pth"):
        fetch_weights("resnet18", str(path))
    assert not (tmp_path / "trap_was_sprung").exists()


@pytest.mark.parametrize("name", ["missing.pth", "truncated.safetensors", "text.pth"])
def test_an_unreadable_file_of_weights_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("truncated"):
        save_file({"weight": torch.zeros(100)}, path)
        path.write_bytes(path.read_bytes()[:60])
    elif name.startswith("text"):
        path.write_text("no weights")
    with pytest.raises(UserError, match=name):
        fetch_weights("resnet18", str(path))


def test_imagenet_weights_that_cannot_be_fetched_say_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(UserError) as caught:
        fetch_weights("resnet18", "imagenet")
    message = str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints") in message
    assert "training.weights=none" in message
    assert "\n" not in message


def test_damaged_imagenet_weights_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half a download")
    with pytest.raises(UserError, match="damaged: delete it"):
        fetch_weights("resnet18", "imagenet")


def test_an_unknown_model_lists_close_names() -> None:
    with pytest.raises(UserError, match=r"unknown model 'resnet81'.*resnet18"):
        check_backbone("resnet81")


def test_all_listed_backbones_are_classification_networks() -> None:
    assert {"resnet18", "vgg16", "inception_v3"} <= set(list_backbones())
    assert not any("rcnn" in name or "deeplab" in name for name in list_backbones())


# a vision transformer takes its own size only
@pytest.mark.parametrize(
    ("model", "crop"), [("inception_v3", 72), ("alexnet", 32), ("vit_b_16", 112)]
)
def test_a_size_too_small_for_the_backbone_says_which_is_enough(model: str, crop: int) -> None:
    refusal = rf"{model} cannot take pictures of {crop}×{crop}"
    with pytest.raises(UserError, match=refusal) as caught:
        check_crop(model, crop)
    enough = int(str(caught.value).split("the next size that it takes is ")[1].split(".")[0])
    check_crop(model, enough)
