"""Speed of scoring: image files to scores, against the bare forward pass.

python benchmarks/scoring_speed.py --help lists the options; docs/speed.md says what is measured.
"""

from argparse import Namespace
from typing import Any

import numpy as np
import timing
import torch
from timing import Sample, Setup, Workload, WorkloadProcess

from deepfake_detection.models.detector import CLASS_NAMES, Detector, DetectorCard

WORKLOADS = {"scoring": "this project", "forward": "bare forward pass"}


class BareForward(Workload):
    """The forward pass on one batch that lies on the device, over and over."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        network = build_detector(setup).network
        self._network = network.to(setup.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._images = setup.random_batch()
        # scoring does not round float32 to TF32 either
        torch.backends.cudnn.allow_tf32 = False

    @torch.inference_mode()
    def _run_pass(self) -> None:
        bf16 = self.setup.precision == "bf16"
        with torch.autocast(self.setup.device.type, torch.bfloat16, enabled=bf16):
            for _ in range(self.setup.batches):
                self._network(self._images)


class ProjectScoring(Workload):
    """This project's scoring, from files to scores, as the pipeline `inference` does it."""

    def __init__(self, setup: Setup, sample: Sample) -> None:
        self.setup = setup
        self._detector = build_detector(setup)
        self._files = [sample.folder / sample.paths[at] for at in sample.repeat(setup.images)]

    def _run_pass(self) -> None:
        scores = self._detector.score_each(
            self._files,
            batch_size=self.setup.training.batch_size,
            device=str(self.setup.device),
            precision=self.setup.precision,
        )
        for score in scores:
            if score.error is not None:
                raise RuntimeError(f"{score.path}: {score.error}")


def build_detector(setup: Setup, **split: Any) -> Detector:
    """A detector with random weights; `split` is added to what its card says of the split."""
    network, _ = setup.build_network()
    no_images = np.empty((0, 32), np.uint8)
    card = DetectorCard(
        backbone=setup.model, preprocessing=setup.preprocessing.model_dump(mode="json"),
        class_names=list(CLASS_NAMES), transform_input=False, classes={}, threshold=0.5,
        temperature=1.0, best_epoch=0, best_validation_accuracy=None,
        split={"method": "none", "fingerprint": ""} | split, settings={}, run_fingerprint="",
        versions={},
    )  # fmt: skip
    return Detector(network.eval(), card, no_images, no_images)


def measure(setup: Setup, sample: Sample, options: Namespace) -> dict[str, Any]:
    """Speeds, ratio and memory of both workloads (see `timing.compare`)."""
    with WorkloadProcess(BareForward, setup) as forward:
        setup = timing.size_passes(forward, setup, options.seconds)
        with WorkloadProcess(ProjectScoring, setup, sample) as scoring:
            workloads = {"scoring": scoring, "forward": forward}
            return timing.compare(workloads, "scoring", setup, options.repeats)


if __name__ == "__main__":
    asked = timing.option_parser("Measure scoring of image files against the bare forward pass.")
    timing.run_benchmark("scoring", asked.parse_args(), measure, WORKLOADS)
