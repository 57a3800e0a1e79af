"""The distance from the training images: what it is, what it tells, and that a file keeps it."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from detector_samples import build_detector
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import build_network, replace_heads
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.network_blocks import choose_described_layers, list_blocks
from deepfake_detection.models.training_distance import TrainingDistance, join_features, sample_rows


def _draw(random, count, features=20):
    """Features of which a few vary much, as those of a network do."""
    return (random.normal(size=(count, features)) * np.linspace(3, 0.1, features)).astype("f4")


def _measure(training, validation):
    fitted = TrainingDistance.fit(training)
    distances = np.sort(fitted.of(validation)).astype("f4")
    return dataclasses.replace(fitted, validation=distances)


@pytest.fixture
def fitted():
    random = np.random.default_rng(0)
    return _measure(_draw(random, 200), _draw(random, 300))


def test_it_is_the_mahalanobis_distance_of_probabilistic_pca(fitted):
    features = _draw(np.random.default_rng(1), 50)
    *known, other = fitted.variances.astype(float)
    components = fitted.components.astype(float)
    covariance = components.T @ np.diag(np.array(known) - other) @ components
    covariance += other * np.eye(features.shape[1])
    centred = (features.astype(float) - fitted.mean) / fitted.scale
    squares = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(covariance), centred)
    assert fitted.of(features) == pytest.approx(np.sqrt(squares / features.shape[1]), rel=1e-4)


def test_other_images_of_the_same_kind_are_as_far_and_unlike_ones_farther(fitted):
    random = np.random.default_rng(2)
    alike = fitted.unlikeness(fitted.of(_draw(random, 500)))
    # they leave the directions in which training images vary
    unlike = fitted.unlikeness(fitted.of(_draw(random, 500)[:, ::-1]))
    assert 0.4 < alike.mean() < 0.6
    assert (alike > 0.95).mean() < 0.12
    assert unlike.mean() > 0.95


def test_unlikeness_of_the_validation_images_themselves_is_a_half(fitted):
    assert fitted.unlikeness(fitted.validation.astype(float)).mean() == pytest.approx(0.5)


@pytest.mark.parametrize("varying", [1, 2, 5])
def test_features_of_which_most_never_vary_give_finite_distances(varying):
    features = np.ones((40, 6), "f4")
    features[:, :varying] = np.random.default_rng(0).normal(size=(40, varying))
    fitted = TrainingDistance.fit(features)
    moved = features + np.eye(6, dtype="f4")[5]
    assert np.isfinite([*fitted.of(features), *fitted.of(moved)]).all()
    assert fitted.of(moved).min() > fitted.of(features).max()


@pytest.mark.parametrize("shape", [(0, 6), (3, 6), (40, 1), (40, 6)])
def test_images_that_are_too_few_or_all_the_same_have_no_distance(shape):
    assert TrainingDistance.fit(np.ones(shape, "f4")) is None


def test_rows_are_spread_evenly():
    assert sample_rows(10, 4).tolist() == [0, 3, 6, 9]
    assert sample_rows(3, 4).tolist() == [0, 1, 2]
    assert sample_rows(0, 4).tolist() == []


@pytest.fixture(scope="module")
def measured():
    """A detector with a distance that was fitted on flat colours, and such pixels."""
    detector = build_detector("shufflenet_v2_x0_5")
    random, crop = np.random.default_rng(0), detector.preprocessing.crop
    colours = random.integers(0, 256, (40, 1, 1, 3), dtype=np.uint8)
    pixels = np.broadcast_to(colours, (40, crop, crop, 3)).copy()
    features = detector.features(pixels)
    distance = _measure(features[:30], features[30:])
    farthest = 1.001 * float(distance.validation[-1])
    verdict = {"verdict": {"unsure": [0.0, 0.0], "unlike_from": farthest}}
    card = dataclasses.replace(detector.card, calibration=verdict)
    return dataclasses.replace(detector, training_distance=distance, card=card), pixels


def test_a_file_of_format_2_is_read_as_it_was_written(measured, tmp_path):
    """It has features of the head alone, which are not scaled."""
    detector, pixels = measured
    head = detector.network.fc.in_features
    old = TrainingDistance.fit(detector.features(pixels)[:, -head:])
    card = dataclasses.replace(detector.card, described_layers=[])
    unscaled = dataclasses.replace(old, scale=np.ones(head, "f4"))
    write_detector(
        dataclasses.replace(detector, training_distance=unscaled, card=card),
        tmp_path / "x.safetensors",
    )
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        text = json.loads(file.metadata()["deepfake_detection"]) | {"format_version": 2}
    del text["described_layers"]
    tensors = load_file(tmp_path / "x.safetensors")
    del tensors["training_distance.scale"]
    save_file(tensors, tmp_path / "x.safetensors", {"deepfake_detection": json.dumps(text)})
    read = Detector.load(tmp_path / "x.safetensors")
    assert np.array_equal(
        read.describe_pixels(pixels)[1], unscaled.of(detector.features(pixels)[:, -head:])
    )


@pytest.mark.parametrize("model", ["resnet18", "vit_b_16", "swin_t", "inception_v3"])
def test_blocks_hold_all_but_the_heads_once(model):
    with torch.device("meta"):
        network = build_network(model, transform_input=False)
        heads = replace_heads(network)
    names = [name for block in list_blocks(network, heads) for name in block]
    for name, _ in network.named_parameters():
        above = [each for each in [*names, *heads] if name.startswith(f"{each}.")]
        assert len(above) == (0 if name in ("class_token", "encoder.pos_embedding") else 1), name
    assert set(choose_described_layers(network, heads)) <= set(names)


def test_layers_without_a_row_for_each_image_are_left_out():
    whole, pieces, head = torch.ones(2, 3), torch.ones(8, 4), torch.zeros(2, 5)
    assert join_features([whole, pieces, head]).shape == (2, 8)


def test_a_file_keeps_it(measured, tmp_path):
    detector, pixels = measured
    write_detector(detector, tmp_path / "x.safetensors")
    read = Detector.load(tmp_path / "x.safetensors")
    for ours, theirs in zip(
        detector.describe_pixels(pixels), read.describe_pixels(pixels), strict=True
    ):
        assert np.array_equal(ours, theirs)
    assert np.isfinite(detector.describe_pixels(pixels)[1]).all()


def test_an_image_unlike_training_has_an_unsure_verdict_and_the_others_have_not(measured):
    detector, pixels = measured
    noise = np.random.default_rng(1).integers(0, 256, pixels[0].shape, dtype=np.uint8)
    *like, unlike = detector.score([*pixels[30:34], noise])
    assert (unlike.verdict, unlike.doubt, unlike.unlikeness) == ("unsure", "unlike training", 1.0)
    for score in like:
        assert score.verdict in ("real", "fake")
        assert score.doubt is None
        assert 0 <= score.unlikeness <= 1


def test_an_image_and_its_mirror_image_are_as_unlike_with_flip(measured):
    detector, pixels = measured
    here, there = detector.score([pixels[0], pixels[0][:, ::-1]], flip=True)
    assert here.unlikeness == there.unlikeness


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("training_distance.mean"),
        lambda tensors: tensors["training_distance.mean"].fill_(np.nan),
        lambda tensors: tensors["training_distance.variances"].neg_(),
        lambda tensors: tensors["training_distance.validation"].neg_(),
        lambda tensors: tensors.update(
            {"training_distance.mean": tensors["training_distance.mean"][:-1].clone()}
        ),
        # of another network
        lambda tensors: tensors.update(
            {
                name: tensors[name][..., :-1].clone()
                for name in ("training_distance.mean", "training_distance.components")
            }
        ),
        lambda tensors: tensors.update(
            {"training_distance.variances": tensors["training_distance.variances"].double()}
        ),
    ],
)
def test_a_damaged_one_is_refused(measured, tmp_path, change):
    detector, _ = measured
    write_detector(detector, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        # without the checksum, which would be refused first
        card = {name: text for name, text in file.metadata().items() if name != "sha256"}
    tensors = load_file(tmp_path / "x.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "y.safetensors", card)
    with pytest.raises(UserError, match=r"y\.safetensors"):
        Detector.load(tmp_path / "y.safetensors")
