"""Self-blended images: what they keep of the real one, and what a network learns from them."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_samples import TRAIN, fit, make_network, make_trainer, make_training

from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.self_blending import BlendDraws, draw_mask, self_blend

BLENDING = make_training(self_blending={"enabled": True}).self_blending
SIZE = 48


def _faces(count):
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(count, 3, 6, 6, generator=generator) * 200 + 20
    return torch.nn.functional.interpolate(small, SIZE, mode="bicubic").clamp(0, 255)


@given(st.integers(0, 2**31))
def test_the_fake_differs_from_its_real_one_inside_the_mask_alone(seed):
    batch = _faces(4)
    draws = BlendDraws.draw(4, torch.Generator().manual_seed(seed))
    before = batch.clone()
    real, fake = self_blend(batch, draws, BLENDING)
    assert torch.equal(batch, before)
    mask = draw_mask(draws, BLENDING, SIZE, SIZE)
    assert ((mask >= 0) & (mask <= draws.ratio.view(-1, 1, 1, 1))).all()
    outside = (mask == 0).expand_as(real)
    assert outside.any()
    assert torch.equal(real[outside], fake[outside])
    assert (real - fake).abs().amax(dim=(1, 2, 3)).min() > 0.5
    for each in (real, fake):
        assert each.min() >= 0
        assert each.max() <= 255.01
    # the copy that is not changed is the picture itself
    kept = real[draws.changes_source]
    assert torch.equal(kept, batch[draws.changes_source])


@given(st.integers(0, 2**31))
def test_the_mask_is_at_its_ratio_inside_and_falls_smoothly_to_0(seed):
    draws = BlendDraws.draw(4, torch.Generator().manual_seed(seed))
    mask = draw_mask(draws, BLENDING, 200, 200)
    x, y = (round(200 * share) for share in BLENDING.centre)
    assert mask[:, 0, y, x].numpy() == pytest.approx(draws.ratio.numpy())
    corners = mask[:, :, [0, -1]][..., [0, -1]]
    assert not corners.any()
    steps = torch.cat([mask.diff(dim=2).flatten(1), mask.diff(dim=3).flatten(1)], dim=1)
    assert steps.abs().max() < 0.4


def test_draws_of_some_pairs_are_those_of_the_whole():
    draws = BlendDraws.draw(6, torch.Generator().manual_seed(0))
    batch = _faces(6)
    whole = self_blend(batch, draws, BLENDING)
    for chosen in (slice(2, 4), torch.tensor([5, 0])):
        some = self_blend(batch[chosen], draws[chosen], BLENDING)
        for part, all_of_it in zip(some, whole, strict=True):
            assert torch.allclose(part, all_of_it[chosen], atol=1e-2)


def test_it_trains_on_real_images_alone():
    """Fakes in the train subset, whatever they are, change nothing."""
    training = make_training(self_blending={"enabled": True}, epochs=2)
    array = TRAIN.array.copy()
    array[TRAIN.labels.numpy() == 1] = 0
    histories = []
    for pictures in (TRAIN, dataclasses.replace(TRAIN, array=array)):
        trainer = make_trainer(make_network(), training, pictures=(pictures, TRAIN))
        histories.append([trainer.train(1), trainer.train(2)])
        assert trainer.seen == 2 * int((TRAIN.labels == 0).sum())
    assert histories[0] == histories[1]


def test_real_and_fake_are_as_many():
    real = LabelledPixels(TRAIN.array, TRAIN.rows, torch.zeros_like(TRAIN.labels))
    training = make_training(self_blending={"enabled": True}, epochs=1)
    loss, accuracy = make_trainer(make_network(), training, pictures=(real, TRAIN)).train(1)
    assert 0 < loss < 2
    assert 0.2 < accuracy < 0.9
    assert fit(self_blending={"enabled": True}, epochs=1).history[0].images_per_second > 0
