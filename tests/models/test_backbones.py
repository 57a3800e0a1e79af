"""Backbones: heads, weights, sizes."""

import pickle
import re
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
def test_every_output_layer_gets_two_outputs_and_a_parameter_group_apart(model, heads):
    network = build_network(model, transform_input=True)
    replaced = replace_heads(network)
    assert len(replaced) == heads
    rest, head = split_parameters(network, replaced)
    assert len(rest) + len(head) == len(list(network.parameters()))
    assert {id(p) for p in rest}.isdisjoint(id(p) for p in head)
    in_heads = (network.get_submodule(name).parameters() for name in replaced)
    assert len(head) == sum(len(list(each)) for each in in_heads) > 0

    size = 299 if model == "inception_v3" else 224
    outputs = network.to("meta").train()(torch.empty(2, 3, size, size, device="meta"))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert [tuple(output.shape) for output in outputs] == [(2, 2)] * heads
    for layer in network.modules():
        assert getattr(layer, "out_features", getattr(layer, "out_channels", None)) != 1000


@pytest.mark.parametrize("model", ["resnet18", "densenet121"])
def test_pretrained_weights_reach_all_but_the_head(model):
    expected = build_network(model, transform_input=True).state_dict()
    # torchvision's files of densenet name `denselayer1.norm1.weight` as `denselayer1.norm.1.weight`
    published = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
        for name, value in expected.items()
    }
    network, heads = build_backbone(model, published, transform_input=True)
    for name, value in network.state_dict().items():
        if name.startswith(tuple(heads)):
            assert value.shape[0] == 2
        else:
            assert torch.equal(value, expected[name])


def test_weights_of_a_two_class_network_are_taken_with_their_head():
    trained, _ = build_backbone("shufflenet_v2_x0_5", {}, transform_input=True)
    again, _ = build_backbone("shufflenet_v2_x0_5", trained.state_dict(), transform_input=True)
    pairs = zip(trained.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_weights_of_another_network_are_refused():
    other = build_network("resnet34", transform_input=True).state_dict()
    with pytest.raises(UserError, match=r"training\.weights.*resnet18"):
        build_backbone("resnet18", other, transform_input=True)


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


def test_backbones_are_classification_networks_and_others_list_close_names():
    with pytest.raises(UserError, match=r"'resnet81'.*resnet18"):
        check_backbone("resnet81")
    assert {"resnet18", "vgg16", "inception_v3"} <= set(list_backbones())
    assert not any("rcnn" in name or "deeplab" in name for name in list_backbones())


# a vision transformer takes its own size only
@pytest.mark.parametrize(
    ("model", "crop"), [("inception_v3", 72), ("alexnet", 32), ("vit_b_16", 112)]
)
def test_a_size_too_small_for_the_backbone_says_which_is_enough(model, crop):
    refusal = rf"{model} cannot take pictures of {crop}×{crop}"
    with pytest.raises(UserError, match=refusal) as caught:
        check_crop(model, crop)
    enough = int(str(caught.value).split("the next size that it takes is ")[1].split(".")[0])
    check_crop(model, enough)
