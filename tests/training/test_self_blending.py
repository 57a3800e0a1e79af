"""Self-blended images: what they keep of the real one, and what a network learns from them."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_samples import TRAIN, fit, make_network, make_trainer, make_training

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import PreprocessingParameters
from deepfake_detection.training.augmentation import Draws, augment
from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.face_ellipses import find_ellipses
from deepfake_detection.training.self_blending import BlendDraws, draw_mask, self_blend

BLENDING = make_training(self_blending={"enabled": True}).self_blending
SIZE = 48
PREPROCESSING = PreprocessingParameters(resize=60, crop=SIZE, mean=[0.5] * 3, std=[0.5] * 3)
# an upright face in the middle of a crop: eyes, nose, corners of the mouth
UPRIGHT = torch.tensor([[0.38, 0.4], [0.62, 0.4], [0.5, 0.52], [0.41, 0.64], [0.59, 0.64]])


def _labelled(landmarks, count=4):
    rows = torch.arange(count)
    return LabelledPixels(
        TRAIN.array, rows.numpy(), torch.zeros(count, dtype=torch.int64), landmarks=landmarks
    )


def _still(count, size=SIZE):
    draws = Draws.of(torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.float64))
    return draws.origins(size, size)


def _ellipses(count):
    return find_ellipses(_labelled(None, count), BLENDING, PREPROCESSING)


def _faces(count):
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(count, 3, 6, 6, generator=generator) * 200 + 20
    return torch.nn.functional.interpolate(small, SIZE, mode="bicubic").clamp(0, 255)


@given(st.integers(0, 2**31))
def test_the_fake_differs_from_its_real_one_inside_the_mask_alone(seed):
    batch = _faces(4)
    draws = BlendDraws.draw(4, torch.Generator().manual_seed(seed))
    before = batch.clone()
    real, fake = self_blend(batch, draws, _ellipses(len(batch)), _still(len(batch)))
    assert torch.equal(batch, before)
    mask = draw_mask(draws, _ellipses(4), _still(4))
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
    mask = draw_mask(draws, _ellipses(4), _still(4, 200))
    x, y = (round(200 * share) for share in BLENDING.centre)
    assert mask[:, 0, y, x].numpy() == pytest.approx(draws.ratio.numpy())
    corners = mask[:, :, [0, -1]][..., [0, -1]]
    assert not corners.any()
    steps = torch.cat([mask.diff(dim=2).flatten(1), mask.diff(dim=3).flatten(1)], dim=1)
    assert steps.abs().max() < 0.4


def test_draws_of_some_pairs_are_those_of_the_whole():
    draws = BlendDraws.draw(6, torch.Generator().manual_seed(0))
    batch = _faces(6)
    whole = self_blend(batch, draws, _ellipses(len(batch)), _still(len(batch)))
    for chosen in (slice(2, 4), torch.tensor([5, 0])):
        some = self_blend(batch[chosen], draws[chosen], _ellipses(2), _still(2))
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


@given(
    st.floats(-40, 40), st.floats(0.5, 1.2), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)
)  # fmt: skip
def test_the_ellipse_of_landmarks_moves_with_the_face(angle, scale, right, down):
    """Eyes, mouth and chin of any similar face are where those of the upright one are."""
    turn = torch.tensor(angle).deg2rad()
    matrix = scale * torch.tensor([[turn.cos(), -turn.sin()], [turn.sin(), turn.cos()]])
    chin, forehead = torch.tensor([0.5, 0.75]), torch.tensor([0.5, 0.1])
    points = torch.cat([UPRIGHT, chin[None], forehead[None]])
    moved = (points - 0.5) @ matrix.T + 0.5 + torch.tensor([right, down])
    blending = BLENDING.model_copy(update={"mask": "landmarks"})
    there = []
    for each in (points, moved):
        faces = find_ellipses(_labelled(each[None, :5], 1), blending, PREPROCESSING)
        seen = 0.5 + (each - 0.5) * PREPROCESSING.resize / PREPROCESSING.crop
        there.append(seen @ faces[0, :, :2].T + faces[0, :, 2])
    assert torch.allclose(*there, atol=1e-3)
    distance = there[0].norm(dim=1)
    assert (distance[:6] < 1).all()
    assert distance[6] > 1


@given(st.integers(0, 2**31))
def test_the_mask_moves_with_its_picture(seed):
    """The mask of a moved picture is the moved mask of the picture."""
    generator = torch.Generator().manual_seed(seed)
    count, size = 4, 64
    moves = Draws.of(
        torch.rand(count, generator=generator) < 0.5,
        torch.rand(count, generator=generator, dtype=torch.float64) * 40 - 20,
        torch.rand(count, generator=generator, dtype=torch.float64) * 0.4 + 0.8,
        torch.rand(count, 2, generator=generator, dtype=torch.float64) * 0.2 - 0.1,
    )
    blending = BLENDING.model_copy(update={"mask": "landmarks"})
    shifts = torch.rand(count, 1, 2, generator=generator) * 0.2 - 0.1
    faces = find_ellipses(_labelled(UPRIGHT + shifts), blending, PREPROCESSING)
    draws = BlendDraws.draw(count, generator)
    # a deformation does not move along, since it is drawn anew for each picture
    draws = dataclasses.replace(draws, deformation=torch.zeros_like(draws.deformation))
    moved = augment(draw_mask(draws, faces, _still(count, size)), moves, "bilinear")
    there = augment(torch.ones(count, 1, size, size), moves, "nearest") > 0
    drawn = draw_mask(draws, faces, moves.origins(size, size))
    assert ((moved - drawn).abs() * there).mean() < 0.02
    assert drawn.amax(dim=(1, 2, 3)).numpy() == pytest.approx(draws.ratio.numpy(), abs=0.01)


def test_landmarks_that_are_missing_are_asked_for():
    training = make_training(self_blending={"enabled": True, "mask": "landmarks"})
    with pytest.raises(UserError, match=r"training\.self_blending\.mask"):
        make_trainer(make_network(), training)
