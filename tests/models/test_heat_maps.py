"""Heat maps, over all kinds of networks."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from detector_samples import build_detector, make_overflowing_detector
from PIL import Image
from torch import nn

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.models.grid_layers import GridLayer
from deepfake_detection.models.heat_maps import HeatMaps, overlay


def detector_of(model, crop):
    usual = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    return build_detector(model, preprocessing={"resize": crop, "crop": crop, **usual})


def pictures(count, crop):
    return np.random.default_rng(0).integers(0, 256, (count, crop, crop, 3), dtype=np.uint8)


def state_of(network):
    asking = [each.requires_grad for each in network.parameters()]
    gradients = [each.grad for each in network.parameters()]
    layers = list(network.modules())
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    hooks = [dict(getattr(layer, kind)) for layer in layers for kind in kinds]
    return asking, gradients, [layer.training for layer in layers], hooks


# residual, branched (with auxiliary outputs), dense, inverted residuals, a grid as classifier,
# channels last, tokens, windows
KINDS = [
    ("resnet18", 56, 7, "layer2", "channels first", 7),
    ("shufflenet_v2_x0_5", 64, 7, "stage2", "channels first", 8),
    ("googlenet", 64, 2, "inception5b", "channels first", 2),
    ("inception_v3", 96, 7, "Mixed_5d", "channels first", 9),
    ("densenet121", 64, 2, "features.norm5", "channels first", 2),
    ("efficientnet_b0", 64, 7, "features.3", "channels first", 8),
    ("squeezenet1_1", 64, 2, "features.12", "channels first", 3),
    ("convnext_tiny", 64, 2, "features.7", "channels first", 2),
    ("swin_t", 64, 7, "features.3", "channels last", 8),
    ("vit_b_32", 224, 7, "encoder.layers.encoder_layer_10", "class token and places", 7),
    ("maxvit_t", 224, 7, "blocks.3", "channels first", 7),
]


@pytest.mark.parametrize(
    ("model", "crop", "smallest", "name", "layout", "grid"), KINDS, ids=[kind[0] for kind in KINDS]
)
def test_any_network_is_explained_and_left_as_it_was(model, crop, smallest, name, layout, grid):
    detector = detector_of(model, crop)
    pixels = pictures(1, crop)
    before, logits = state_of(detector.network), detector.logits(pixels)
    maps = HeatMaps(detector, smallest_grid=smallest)
    assert maps.layer == GridLayer(name, layout, grid)
    heats = [maps.explain(pixels, towards) for towards in ("fake", "real")]
    for heat in heats:
        assert heat.shape == (1, crop, crop)
        assert heat.dtype == np.float32
        assert heat.min() >= 0
        assert heat.max() in (0, 1)
    # what speaks for one speaks against the other
    assert heats[0].any() or heats[1].any()
    assert state_of(detector.network) == before
    assert np.array_equal(detector.logits(pixels), logits)


@pytest.mark.parametrize(("towards", "sign"), [("fake", 1), ("real", -1)])
def test_it_is_grad_cam_as_published(towards, sign):
    """Written out by the formulas of Selvaraju et al. 2017, section 3."""
    detector, pixels = detector_of("resnet18", 56), pictures(4, 56)
    kept = []
    hook = detector.network.layer2.register_forward_hook(lambda *given: kept.append(given[2]))
    mean, std = (
        torch.tensor(detector.card.preprocessing[name]).view(3, 1, 1) for name in ("mean", "std")
    )
    outputs = detector.network((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std)
    hook.remove()
    target = sign * (outputs[:, 1] - outputs[:, 0]).sum()
    (gradient,) = torch.autograd.grad(target, kept[0])
    weights = gradient.sum((2, 3)) / (7 * 7)
    heat = torch.einsum("nc,nchw->nhw", weights, kept[0]).clamp(min=0)
    fine = nn.Upsample((56, 56), mode="bilinear")(heat[:, None])[:, 0].detach().numpy()
    expected = fine / np.maximum(fine.max(axis=(1, 2), keepdims=True), 1e-30)
    found = HeatMaps(detector, smallest_grid=7).explain(pixels, towards)
    assert found.any()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def maps_of_red(**changes):
    """Fake is as likely as the picture is red, real as it is blue; green counts for nothing."""
    grid, head = nn.Conv2d(3, 3, 4, stride=4, bias=False), nn.Linear(3, 2, bias=False)
    grid.weight.data = torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) / 16
    head.weight.data = torch.tensor([[0.0, 0, 1], [1, 0, 0]])
    layers = {"features": nn.Sequential(grid), "pool": nn.AdaptiveAvgPool2d(1)}
    network = nn.Sequential(OrderedDict(layers | {"flat": nn.Flatten(), "head": head})).eval()
    plain = {"resize": 32, "crop": 32, "mean": [0.0] * 3, "std": [1.0] * 3}
    return HeatMaps(replace(build_detector(preprocessing=plain, **changes), network=network))


@pytest.fixture
def marked():
    """Red at the upper left, green at the upper right, blue at the lower right."""
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[0, 4:12, 4:12, 0] = pixels[0, 4:12, 20:28, 1] = pixels[0, 20:28, 20:28, 2] = 255
    return pixels


def test_the_heat_lies_on_what_the_verdict_was_read_from_and_nowhere_without_it(marked):
    maps = maps_of_red()
    assert maps.layer == GridLayer("features.0", "channels first", 8)
    for towards, (top, left) in (("fake", (4, 4)), ("real", (20, 20))):
        black, heat = maps.explain(np.concatenate([np.zeros_like(marked), marked]), towards)
        assert not black.any()
        inside = np.zeros((32, 32), bool)
        inside[top : top + 8, left : left + 8] = True
        # bilinear between places: half a place of 4 pixels beyond the edge
        around = np.zeros((32, 32), bool)
        around[top - 2 : top + 10, left - 2 : left + 10] = True
        assert heat[inside].min() > 0.3
        assert heat[~around].max() == 0
        assert heat[top + 2 : top + 6, left + 2 : left + 6].min() == 1


@pytest.mark.parametrize(("threshold", "verdict"), [(0.4, "fake"), (0.6, "real")])
def test_the_verdict_is_the_detector_s_own(threshold, verdict):
    """As much red as blue: fake probability 0.5, whose verdict the threshold decides."""
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[0, :8, :8, 0] = pixels[0, 24:, 24:, 2] = 255
    maps = maps_of_red(threshold=threshold)
    assert np.array_equal(maps.explain(pixels), maps.explain(pixels, verdict))
    assert not np.array_equal(maps.explain(pixels, "fake"), maps.explain(pixels, "real"))


def test_the_sign_comes_from_known_verdicts_or_scoring_and_not_from_the_pass_that_explains(
    marked, monkeypatch
):
    """A pass in another precision would have the other sign near the threshold."""
    maps = maps_of_red()
    known = maps.explain(np.concatenate([marked, marked]), [1, 0], batch_size=1)
    assert np.array_equal(known[:1], maps.explain(marked, "fake"))
    assert np.array_equal(known[1:], maps.explain(marked, "real"))
    monkeypatch.setattr(Detector, "logits", lambda _, pixels, **__: np.full(len(pixels), -1.0))
    assert np.array_equal(maps.explain(marked), maps.explain(marked, "real"))


def test_a_heat_map_is_finite_or_refused():
    detector, pixels = make_overflowing_detector(), np.zeros((2, 32, 32, 3), np.uint8)
    pixels[1, ..., 0] = 255
    assert np.isfinite(detector.logits(pixels)).all()
    maps = HeatMaps(detector)
    lost, kept = maps.explain(pixels, errors="record")
    assert np.isnan(lost).all()
    np.testing.assert_allclose(kept, maps.explain(pixels[1:])[0], atol=1e-4)
    assert kept.max() in (0, 1)
    with pytest.raises(UserError):
        maps.explain(pixels)


def test_batches_are_small_and_change_nothing():
    detector, pixels = detector_of("shufflenet_v2_x0_5", 32), pictures(7, 32)
    maps = HeatMaps(detector)
    sizes = []
    hook = detector.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    heat = maps.explain(pixels, "real", batch_size=3)
    hook.remove()
    assert sizes == [3, 3, 1]
    np.testing.assert_allclose(heat, maps.explain(pixels, "real"), atol=1e-4)
    assert maps.explain(pixels[:0]).shape == (0, 32, 32)


def test_whatever_goes_wrong_the_network_is_left_as_it_was():
    detector = detector_of("shufflenet_v2_x0_5", 32)
    network = detector.network.train()
    network.conv5.eval()
    network.fc.requires_grad_(False)
    before = state_of(network)
    maps = HeatMaps(detector)
    assert state_of(network) == before
    with pytest.raises(RuntimeError):
        maps.explain(np.zeros((1, 32, 32, 4), np.uint8))
    assert state_of(network) == before


def test_an_overlay_covers_the_box_as_far_as_there_is_heat(photograph):
    picture, before = (photograph(0, (80, 60)) for _ in range(2))
    heat = np.zeros((8, 8), np.float32)
    heat[2:6, 4:] = 1
    laid = overlay(picture, heat, (0.25, 0.0, 1.0, 1.0))
    changed = np.asarray(laid) != np.asarray(before)
    assert laid.size == picture.size
    assert not changed[:, :20].any()
    # of the box, 60 × 60 pixels, its right half between a quarter and three quarters of its height
    assert changed[20:40, 55:].any(axis=2).all()
    assert not changed[:10].any()
    assert picture == before
    assert overlay(picture, np.zeros((8, 8), np.float32)) == before


def test_more_heat_is_brighter_on_black():
    heat = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    luma = np.asarray(overlay(Image.new("RGB", (64, 64)), heat).convert("L"), np.float64)[0]
    assert (np.diff(luma) >= 0).all()
    assert luma[-1] > 150
