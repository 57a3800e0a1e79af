"""Backbones: heads, weights, sizes."""

import re

import pytest
import torch

from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import (
    build_backbone,
    build_network,
    check_backbone,
    check_crop,
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
