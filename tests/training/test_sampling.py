"""Which images make up an epoch and its batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_samples import CPU, fit, make_training

from deepfake_detection.errors import UserError
from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.sampling import count_batches, list_batches
from deepfake_detection.training.selection import check_selection, measure


def make_set(labels, classes=None, groups=None):
    labels = torch.as_tensor(labels, dtype=torch.int64)
    array = np.zeros((len(labels), 1, 1, 3), np.uint8)
    others = [labels if each is None else torch.as_tensor(each) for each in (classes, groups)]
    return LabelledPixels(
        array, np.arange(len(labels)), labels, others[0], torch.arange(len(labels)), others[1]
    )


@given(st.integers(1, 300), st.integers(2, 70), st.booleans(), st.integers(0, 2**31))
def test_batches_hold_each_picture_once_and_none_is_alone(count, batch_size, shuffle, seed):
    generator = torch.Generator().manual_seed(seed)
    training = make_training(batch_size=batch_size, shuffle=shuffle)
    batches = list_batches(make_set([0] * count), training, generator)
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    assert all(len(batch) <= batch_size + 1 for batch in batches)
    assert all((batch.diff() > 0).all() for batch in batches)
    if count > 1:
        assert all(len(batch) > 1 for batch in batches)


@given(st.integers(8, 300), st.integers(8, 70), st.integers(2, 4))
def test_every_process_has_two_pictures_of_each_batch_and_none_twice(count, batch_size, parts):
    training = make_training(batch_size=batch_size)
    batches = list_batches(make_set([0] * count), training, torch.Generator(), parts)
    ranks = [Processes(CPU, rank, parts) for rank in range(parts)]
    for batch in batches:
        cut = [rank.part(batch) for rank in ranks]
        assert min(len(part) for part in cut) >= 2
        assert sorted(torch.cat(cut).tolist()) == batch.tolist()


@given(
    st.lists(st.integers(0, 3), min_size=8, max_size=80).filter(
        lambda each: 0 < each.count(0) < len(each)
    ),
    st.integers(4, 20),
    st.sampled_from(["balanced_labels", "balanced_classes"]),
    st.integers(0, 2**31),
)
def test_balanced_batches_have_as_many_of_each(classes, batch_size, sampling, seed):
    """Class 0 is real, the others are kinds of fakes."""
    pictures = make_set([int(each > 0) for each in classes], classes)
    training = make_training(sampling=sampling, batch_size=batch_size)
    batches = list_batches(pictures, training, torch.Generator().manual_seed(seed))
    kinds = pictures.labels if sampling == "balanced_labels" else pictures.classes
    names = kinds.unique()
    for batch in batches:
        counts = [(kinds[batch] == name).sum().item() for name in names]
        assert max(counts) - min(counts) <= 1
    seen = torch.cat(batches)
    assert abs(len(seen) - len(classes)) < len(names)
    # a kind that is not larger than its share comes as a whole
    share = -(-len(classes) // len(names))
    for name in names:
        own = (kinds == name).nonzero()[:, 0]
        assert len(set(seen.tolist()) & set(own.tolist())) == min(len(own), share)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=4, max_size=80).filter(
        lambda each: {label for label, _ in each} == {True, False}
    ),
    st.integers(2, 21),
    st.integers(0, 2**31),
)
def test_each_fake_is_in_a_batch_with_its_original(images, batch_size, seed):
    labels, groups = (torch.tensor(each).long() for each in zip(*images, strict=True))
    pictures = make_set(labels, groups=groups)
    training = make_training(sampling="paired", batch_size=batch_size)
    batches = list_batches(pictures, training, torch.Generator().manual_seed(seed))
    seen = torch.cat(batches)
    assert sorted(seen[labels[seen] == 1].tolist()) == (labels == 1).nonzero()[:, 0].tolist()
    with_originals = {int(group) for group, label in zip(groups, labels, strict=True) if not label}
    for batch in batches:
        real, fake = (groups[batch][labels[batch] == label].tolist() for label in (0, 1))
        assert len(real) == len(fake)
        for group in set(fake) & with_originals:
            assert real.count(group) >= fake.count(group)
    assert count_batches(pictures, training, 1) == len(batches)


@pytest.mark.parametrize("rule", ["accuracy", "loss", "roc_auc"])
def test_the_epoch_that_is_kept_has_the_best_value(rule):
    result = fit(select_by=rule, epochs=8, optimizer={"lr": 0.1})
    values = [epoch.selection for epoch in result.history]
    assert result.chosen.epoch == values.index(max(values)) + 1
    if rule == "loss":
        assert values == [-epoch.validation_loss for epoch in result.history]
    if rule == "accuracy":
        assert values == [epoch.validation_accuracy for epoch in result.history]


def test_sources_are_ranked_by_their_mean_logits():
    pictures = make_set([0, 0, 1, 1])
    pictures = LabelledPixels(
        pictures.array, pictures.rows, pictures.labels, sources=torch.tensor([0, 0, 1, 1])
    )
    # one frame of the fake is below both real ones, its mean is above theirs
    logits = np.array([0.0, 0.5, -1.0, 3.0])
    assert measure("source_roc_auc", 0.0, 0.0, logits, pictures) == 1
    assert measure("roc_auc", 0.0, 0.0, logits, pictures) == 0.5


def test_one_class_alone_has_no_rank():
    with pytest.raises(UserError, match=r"training\.select_by"):
        check_selection("roc_auc", make_set([1, 1]))
