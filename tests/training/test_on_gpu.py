"""Training and scoring on GPUs; skipped where there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from detector_samples import make_sensitive_detector
from training_samples import (
    BLENDED,
    CPU,
    EVERYTHING,
    TRAIN,
    fit,
    make_task,
    make_training,
    run_task,
)

from deepfake_detection.models.forward import to_batch
from deepfake_detection.models.heat_maps import HeatMaps
from deepfake_detection.training.augmentation import augment, draw
from deepfake_detection.training.batches import BatchLoader, LabelledPixels, fit_on
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.hardware import Processes

GPU = torch.device("cuda")


@pytest.mark.cuda
def test_a_gpu_trains_in_ieee_float32_as_a_cpu_does():
    torch.backends.cudnn.allow_tf32 = True
    ours, theirs = (fit(processes=Processes(each), epochs=2) for each in (GPU, CPU))
    assert not torch.backends.cudnn.allow_tf32
    for gpu, cpu in zip(ours.history, theirs.history, strict=True):
        assert gpu.train_loss == pytest.approx(cpu.train_loss, rel=1e-3)
    np.testing.assert_allclose(ours.validation_logits, theirs.validation_logits, atol=1e-2)
    assert {value.device for value in ours.best_weights.values()} == {CPU}


@pytest.mark.cuda
def test_bf16_learns_on_a_gpu_and_leaves_weights_in_fp32():
    result = fit(processes=Processes(GPU), precision="bf16", epochs=12)
    assert result.chosen.validation_accuracy > 0.8
    assert {value.dtype for value in result.best_weights.values()} == {torch.float32, torch.int64}


@pytest.mark.cuda
@pytest.mark.parametrize("changes", [EVERYTHING, BLENDED])
def test_all_parts_of_recipes_train_on_a_gpu_as_on_a_cpu(changes):
    # noise is drawn on the device
    quiet = {"augmentation": changes.get("augmentation", {}) | {"noise": {"probability": 0.0}}}
    ours, theirs = (
        fit(processes=Processes(each), epochs=2, **changes | quiet) for each in (GPU, CPU)
    )
    for gpu, cpu in zip(ours.history, theirs.history, strict=True):
        assert gpu.train_loss == pytest.approx(cpu.train_loss, rel=1e-2)


@pytest.mark.cuda
@pytest.mark.parametrize("resident", [True, False])
def test_resident_and_streamed_pictures_are_those_of_the_file(resident):
    order = list(torch.randperm(61, generator=torch.Generator().manual_seed(0)).split(8))
    brought = BatchLoader(TRAIN, GPU, resident=resident).batches(order)
    for chosen, (batch, labels) in zip(order, brought, strict=True):
        assert batch.device.type == labels.device.type == "cuda"
        assert torch.equal(batch.cpu(), to_batch(TRAIN.array[chosen.numpy()], CPU))
        assert torch.equal(labels.cpu(), TRAIN.labels[chosen])


@pytest.mark.cuda
def test_memory_that_pytorch_holds_for_reuse_has_room_for_pictures():
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(GPU)
    torch.empty(int(0.8 * free), dtype=torch.uint8, device=GPU)
    # a third of the GPU's memory
    count = int(0.3 * free) // (1000 * 1000 * 3)
    array = np.broadcast_to(np.uint8(0), (count, 1000, 1000, 3))
    labels = torch.zeros(count, dtype=torch.int64)
    assert fit_on(GPU, [LabelledPixels(array, np.arange(count), labels)])
    torch.cuda.empty_cache()


@pytest.mark.cuda
def test_a_training_on_a_gpu_resumes_from_its_checkpoint(tmp_path):
    task = make_task(tmp_path, epochs=6, device="cuda")
    run_task(replace(task, settings=replace(task.settings, stop_after=3)))
    resumed = run_task(task)
    whole = run_task(replace(task, checkpoints=TrainingCheckpoints(tmp_path / "others")))
    assert [epoch.epoch for epoch in resumed.history] == [1, 2, 3, 4, 5, 6]
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert ours.learning_rate == theirs.learning_rate
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=0.05)


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_gpus_train_as_one_does(tmp_path, precision):
    settings = {"epochs": 2, "device": "cuda", "precision": precision}
    together = run_task(make_task(tmp_path / "two", devices=2, **settings))
    alone = run_task(make_task(tmp_path / "one", **settings))
    assert together.history[0].train_loss == pytest.approx(alone.history[0].train_loss, rel=0.05)
    assert len(together.validation_logits) == 12


@pytest.mark.cuda
def test_scores_and_heat_maps_of_a_gpu_are_those_of_a_cpu():
    torch.backends.cudnn.allow_tf32 = True
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    detector = make_sensitive_detector()
    expected = detector.logits(pixels)
    heat = HeatMaps(detector).explain(pixels, "fake")
    np.testing.assert_allclose(detector.logits(pixels, device=GPU), expected, rtol=1e-3, atol=1e-4)
    on_gpu = HeatMaps(detector, device=GPU).explain(pixels, "fake")
    np.testing.assert_allclose(on_gpu, heat, atol=1e-2)


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs an Apple GPU")
def test_an_apple_gpu_augments_and_trains_as_a_cpu_does():
    mps = torch.device("mps")
    batch = torch.randint(0, 256, (4, 3, 20, 20), dtype=torch.uint8)
    draws = draw(4, make_training().augmentation, torch.Generator())
    ours = augment(batch.to(mps), draws.to(mps)).cpu()
    assert ((ours - augment(batch, draws)).abs() > 1e-4).float().mean() < 0.01
    ours, theirs = (
        fit(processes=Processes(each), epochs=1).history[0].train_loss for each in (mps, CPU)
    )
    assert ours == pytest.approx(theirs, rel=1e-2)
