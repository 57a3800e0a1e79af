"""The metadata of a detector."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DetectorCard:
    """What is known about a detector, as plain JSON.

    Attributes:
        backbone: torchvision's name of the network.
        transform_input: See `backbones.build_network`.
        preprocessing: resize, crop (pixels), mean, std (of RGB in [0, 1]).
        class_names: Of the outputs, in order: real, fake.
        classes: Class folders of the training images, each with its label.
        threshold: The verdict is fake if the fake probability is at least this.
        temperature: Logits are divided by it before the softmax.
        best_epoch: The epoch, from 1, of the weights.
        best_validation_accuracy: In that epoch, in [0, 1]; None if all images were used to train.
        split: Summary of the split: method, ratios, seed, images, fingerprint …
        settings: All parameters of the run.
        run_fingerprint: SHA-256 over `identity`.
        identity: What determines the weights (see `run_identity`).
        versions: Of the libraries that made it.
        computed_on: Device, processes, precision and threads of its training.
        calibration: `fitted`: which of threshold and temperature were chosen on validation;
            `notes`: remarks on them.
        vouched_by: Of a detector trained on all images, which cannot be evaluated: the run that its
            settings and number of epochs come from. run_fingerprint, split_fingerprint,
            split_method, images (that it was trained on), best_epoch, best_validation_accuracy.
    """

    backbone: str
    transform_input: bool
    preprocessing: dict[str, Any]
    class_names: list[str]
    classes: dict[str, str]
    threshold: float
    temperature: float
    best_epoch: int
    best_validation_accuracy: float | None
    split: dict[str, Any]
    settings: dict[str, Any]
    run_fingerprint: str
    versions: dict[str, str]
    identity: dict[str, Any] = field(default_factory=dict)
    computed_on: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    vouched_by: dict[str, Any] = field(default_factory=dict)

    @property
    def known_fakes(self) -> list[str]:
        """Class folders of the fakes that it was trained on."""
        return [name for name, label in self.classes.items() if label == "fake"]
