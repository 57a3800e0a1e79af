"""What the benchmark compares of scoring: pictures from their files, and the bare forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepfake_detection.models.backbones import build_network, replace_heads
from deepfake_detection.models.detector import CLASS_NAMES, Detector, DetectorCard
from deepfake_detection.pipelines.benchmark.parts import Part, Sample, Setup


class BareForward(Part):
    """The forward pass on one batch that lies on the device, over and over."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        network = _build_detector(setup).network
        self._network = network.to(setup.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        size = (setup.training.batch_size, 3, setup.preprocessing.crop, setup.preprocessing.crop)
        pictures = torch.randn(size, device=setup.device)
        self._pictures = pictures.contiguous(memory_format=torch.channels_last)
        # as in scoring: float32 is not rounded to TF32
        torch.backends.cudnn.allow_tf32 = False

    @torch.inference_mode()
    def take_steps(self) -> None:
        """See `Part`."""
        bf16 = self.setup.precision == "bf16"
        with torch.autocast(self.setup.device.type, torch.bfloat16, enabled=bf16):
            for _ in range(self.setup.batches):
                self._network(self._pictures)


class OwnScoring(Part):
    """This project's scoring, from files to scores, as the pipeline `inference` does it."""

    def __init__(self, setup: Setup, sample: Sample) -> None:
        self.setup = setup
        self._detector = _build_detector(setup)
        taken = np.resize(np.arange(len(sample.paths)), setup.images).tolist()
        self._files = [Path(sample.folder) / sample.paths[at] for at in taken]

    def take_steps(self) -> None:
        """See `Part`."""
        scores = self._detector.score_each(
            self._files,
            batch_size=self.setup.training.batch_size,
            device=str(self.setup.device),
            precision=self.setup.precision,
        )
        for score in scores:
            if score.error is not None:
                raise RuntimeError(f"{score.path}: {score.error}")


def _build_detector(setup: Setup) -> Detector:
    """A detector of random weights."""
    torch.manual_seed(setup.training.seed)
    network = build_network(setup.model, transform_input=False)
    replace_heads(network)
    none = np.empty((0, 32), np.uint8)
    card: dict[str, Any] = {
        "backbone": setup.model,
        "transform_input": False,
        "preprocessing": setup.preprocessing.model_dump(mode="json"),
        "class_names": list(CLASS_NAMES),
        "classes": {},
        "threshold": 0.5,
        "temperature": 1.0,
        "best_epoch": 0,
        "best_validation_accuracy": None,
        "split": {},
        "settings": {},
        "run_fingerprint": "",
        "versions": {},
    }
    return Detector(network.eval(), DetectorCard(**card), none, none)
