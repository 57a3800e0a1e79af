"""Networks of timm as backbones: names, sizes, heads, and weights of its own."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detector_samples import build_detector
from safetensors.torch import save_file
from timm_samples import FAMILIES

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import (
    build_backbone,
    build_network,
    check_backbone,
    check_crop,
    expect_body,
    expect_heads,
    expect_tensors,
    find_head,
    replace_heads,
    split_parameters,
    try_crop,
)
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.initial_weights import check_weights, fetch_weights
from deepfake_detection.parameters import Backbones

VIT, CNN = "timm/test_vit.r160_in1k", "timm/test_efficientnet.r160_in1k"
DEFAULT = {"resize": 256, "crop": 224, "mean": [0.4] * 3, "std": [0.2] * 3}


def sizes_of(model, **entries):
    return Backbones.model_validate({"default": DEFAULT} | entries).preprocessing(model)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_has_two_outputs_and_its_head_apart(name):
    model, crop = f"timm/{name}", FAMILIES[name]
    check_backbone(model)
    assert sizes_of(model).crop >= 176
    assert try_crop(model, crop) is None
    assert try_crop(model, crop, training=False) is None
    tensors = expect_tensors(model, transform_input=False, crop=crop)
    heads = expect_heads(model, crop)
    assert [len(tensors[f"{head}.weight"]) for head in heads] == [2] * len(heads)
    assert len(heads) == (2 if name in ("deit_tiny_distilled_patch16_224", "levit_128s") else 1)
    body = expect_body(model, crop)
    assert not [name for name in body if name.startswith(tuple(heads))]
    assert len(body) > 0.7 * len(tensors)


@pytest.mark.parametrize("model", [VIT, CNN])
def test_its_parameters_are_split_and_its_head_is_found(model):
    network, heads = build_backbone(model, {}, transform_input=False, crop=48)
    rest, head = split_parameters(network, heads)
    assert len(rest) + len(head) == len(list(network.parameters()))
    assert {id(each) for each in head} == {id(each) for each in find_head(network).parameters()}
    # one that was built for ImageNet's classes gets the same
    published = build_network(model, transform_input=False, crop=48)
    assert replace_heads(published) == heads
    assert published(torch.zeros(2, 3, 48, 48)).shape == (2, 2)


def test_sizes_are_those_of_timm_unless_an_entry_says_otherwise():
    xception = "timm/legacy_xception"
    found = sizes_of(xception)
    assert (found.resize, found.crop, found.mean) == (333, 299, (0.5, 0.5, 0.5))
    assert sizes_of("resnet18").mean == (0.4, 0.4, 0.4)
    # the resized picture follows from the crop
    smaller = sizes_of(xception, **{xception: {"crop": 150, "std": [0.3] * 3}})
    assert (smaller.resize, smaller.crop, smaller.std) == (167, 150, (0.3, 0.3, 0.3))
    # an entry without a tag is for all tags; the command line knows no dots in names
    clip = "timm/vit_base_patch32_clip_224"
    entries = {clip: {"crop": 64}, f"{clip}.openai": {"resize": 80}}
    assert sizes_of(f"{clip}.openai", **entries).resize == 80
    assert sizes_of(f"{clip}.openai", **entries).crop == 64
    assert sizes_of(f"{clip}.openai").mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)


def test_unknown_names_list_close_ones_and_addresses_are_no_names():
    with pytest.raises(UserError, match=r"'timm/efficientnet_b44'.*timm/efficientnet_b4"):
        check_backbone("timm/efficientnet_b44")
    with pytest.raises(UserError, match=r"'timm/resnet18\.nobody'.*timm/resnet18"):
        sizes_of("timm/resnet18.nobody")
    for address in ("timm/hf-hub:somebody/network", "timm/local-dir:/tmp", "timm/"):
        with pytest.raises(UserError, match="unknown model"):
            check_backbone(address)


def test_without_timm_one_line_says_what_to_install(monkeypatch, tmp_path):
    write_detector(build_detector(VIT), tmp_path / "detector.safetensors")
    monkeypatch.setitem(sys.modules, "timm", None)
    for needs in (
        lambda: check_backbone(VIT),
        lambda: sizes_of(VIT),
        lambda: Detector.load(tmp_path / "detector.safetensors"),
    ):
        with pytest.raises(UserError, match=r'pip install "deepfake-detection\[timm\]"') as caught:
            needs()
        assert "\n" not in str(caught.value)
    check_backbone("resnet18")


def test_a_size_too_small_says_which_parameter_to_set():
    said = r"timm/swin_tiny_patch4_window7_224 cannot take pictures of 2×2"
    with pytest.raises(UserError, match=rf"{said}.*backbones\.timm/swin_tiny_patch4_window7_224"):
        check_crop("timm/swin_tiny_patch4_window7_224", 2)


# coat has layers that stand in two places
@pytest.mark.parametrize("model", [VIT, CNN, "timm/coat_lite_tiny", "timm/coat_tiny"])
def test_a_detector_of_it_is_written_read_and_scores_the_same(model, tmp_path):
    detector = build_detector(model)
    write_detector(detector, tmp_path / "detector.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    read = Detector.load(tmp_path / "detector.safetensors")
    assert read.card == detector.card
    assert np.array_equal(read.logits(pixels), detector.logits(pixels))
    features = read.features(pixels)
    assert features.shape == (3, find_head(read.network).in_features)


def test_position_embeddings_are_resampled_to_the_crop():
    small, _ = build_backbone(VIT, {}, transform_input=False, crop=64)
    with torch.no_grad():
        small.pos_embed[:] = torch.linspace(-1, 1, small.pos_embed.shape[-1])
    large, _ = build_backbone(VIT, small.state_dict(), transform_input=False, crop=96)
    assert small.pos_embed.shape[1] < large.pos_embed.shape[1]
    # equal in every place before, and so after
    places = large.pos_embed[:, 1:]
    assert torch.allclose(places, small.pos_embed[:, 1:2].expand_as(places), atol=1e-5)
    for name, value in small.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(value, large.state_dict()[name]), name


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Hugging Face's cache on this machine with a file of weights, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repository, name, write):
        folder = tmp_path / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("0123abcd")
        file = folder / "snapshots" / "0123abcd" / name
        file.parent.mkdir(parents=True)
        write(file)
        return file

    return put


def test_published_weights_are_timms_safetensors_file(cached):
    state = build_network(CNN, transform_input=False).state_dict()
    cached(
        "timm/test_efficientnet.r160_in1k", "model.safetensors", lambda path: save_file(state, path)
    )
    network, heads = build_backbone(CNN, fetch_weights(CNN, "imagenet"), transform_input=False)
    for name, value in network.state_dict().items():
        assert name.startswith(tuple(heads)) or torch.equal(value, state[name]), name


def test_published_weights_that_cannot_be_fetched_or_read_say_the_way_out(cached):
    way_out = r"training\.weights=PATH.*training\.weights=none"
    with pytest.raises(UserError, match=rf"test_vit\.r160_in1k/.*model\.safetensors.*{way_out}"):
        fetch_weights(VIT, "imagenet")
    # a pickle beside it is not taken
    cached(
        "timm/test_vit.r160_in1k", "pytorch_model.bin", lambda path: path.write_bytes(b"pickled")
    )
    with pytest.raises(UserError, match=way_out):
        fetch_weights(VIT, "imagenet")
    with pytest.raises(UserError, match=rf"no weights of test_mambaout\. .*{way_out}"):
        fetch_weights("timm/test_mambaout", "imagenet")


def test_without_the_hub_published_weights_say_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"huggingface.*training\.weights=PATH") as caught:
        fetch_weights(VIT, "imagenet")
    assert "\n" not in str(caught.value)


def as_clip(state):
    """Names and shapes of OpenAI's files, the text's network included."""
    swaps = [
        ("patch_embed.proj", "conv1"), ("pos_embed", "positional_embedding"),
        ("blocks.", "transformer.resblocks."), ("norm_pre", "ln_pre"), ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"), ("norm1", "ln_1"), ("norm2", "ln_2"), ("qkv.", "in_proj_"),
        ("attn.proj", "attn.out_proj"), ("norm.", "ln_post."),
    ]  # fmt: skip
    made = {"positional_embedding": torch.zeros(77, 8), "visual.proj": torch.zeros(768, 512)}
    for name, value in state.items():
        if name == "cls_token":
            made["visual.class_embedding"] = value[0, 0]
        elif not name.startswith("head."):
            changed = name
            for ours, theirs in swaps:
                changed = changed.replace(ours, theirs)
            made[f"visual.{changed}"] = value[0] if name == "pos_embed" else value
    return made


def as_dino(state):
    """Names and shapes of the authors' DINOv2 files."""
    made = {name: value for name, value in state.items() if not name.startswith("head.")}
    registers = made.pop("reg_token", None)
    if registers is not None:
        made["register_tokens"] = registers
        made["pos_embed"] = torch.cat([torch.zeros_like(made["cls_token"]), made["pos_embed"]], 1)
    return made | {"mask_token": torch.zeros(1, 8)}


@pytest.mark.parametrize(
    ("model", "crop", "write"),
    [
        ("timm/vit_base_patch32_clip_224.openai", 224, as_clip),
        ("timm/vit_small_patch14_dinov2.lvd142m", 518, as_dino),
        ("timm/vit_small_patch14_reg4_dinov2.lvd142m", 518, as_dino),
    ],
)
def test_files_of_their_authors_are_converted(model, crop, write, tmp_path, caplog):
    caplog.set_level("INFO")
    torch.manual_seed(1)
    given, heads = build_backbone(model, {}, transform_input=False, crop=crop)
    state = given.state_dict()
    torch.save({"teacher": write(state)}, tmp_path / "authors.pth")
    weights = fetch_weights(model, str(tmp_path / "authors.pth"))
    network, _ = build_backbone(model, weights, transform_input=False, crop=crop)
    for name, value in network.state_dict().items():
        if not name.startswith(tuple(heads)):
            assert torch.equal(value, state[name]), name
    (said,) = [line for line in caplog.messages if "authors.pth" in line]
    assert "(teacher)" in said
    assert "new, with random values: head.weight, head.bias" in said


def in_checkpoint(state):
    return {
        "epoch": 3, "state_dict": {name: value + 1 for name, value in state.items()},
        "state_dict_ema": {f"module.{name}": value for name, value in state.items()},
    }  # fmt: skip


@pytest.mark.parametrize("model", [VIT, CNN])
def test_files_in_timms_names_are_read(model, tmp_path, caplog):
    caplog.set_level("INFO")
    state = build_network(model, transform_input=False, crop=64).state_dict()
    torch.save(in_checkpoint(state), tmp_path / "w.pth")
    # also for pictures of another size
    check_weights(model, str(tmp_path / "w.pth"), 96)
    network, heads = build_backbone(
        model, fetch_weights(model, str(tmp_path / "w.pth")), transform_input=False, crop=64
    )
    for name, value in network.state_dict().items():
        if not name.startswith(tuple(heads)) and value.is_floating_point():
            assert torch.equal(value, state[name]), name
    (said,) = [line for line in caplog.messages if "w.pth" in line]
    for part in ("(state_dict_ema)", "prefix module.", "1000 outputs", "one with two"):
        assert part in said


@pytest.mark.parametrize("model", [VIT, CNN, "timm/deit_tiny_distilled_patch16_224"])
def test_files_of_other_networks_are_refused_in_one_line(model, tmp_path: Path):
    others = ["timm/test_resnet.r160_in1k", "timm/vit_tiny_patch16_224"]
    for other in others:
        state = build_network(other, transform_input=False).state_dict()
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(UserError, match=r"training\.weights.*other\.pth") as caught:
            fetch_weights(model, str(tmp_path / "other.pth"))
        assert model.removeprefix("timm/") in str(caught.value)
        assert "\n" not in str(caught.value)
