"""One training: blocks `training` and `final_training`."""

from typing import Annotated, Literal

from pydantic import Field

from deepfake_detection.parameters.base import (
    Block,
    Count,
    Device,
    Devices,
    Number,
    Precision,
    Rate,
    Seed,
    Share,
    Whole,
)

_Beta = Annotated[Number, Field(ge=0, lt=1)]


class OptimizerParameters(Block):
    """Adam with two parameter groups: head and backbone."""

    name: Literal["adam"]
    lr: Rate
    head_lr_multiple: Rate
    betas: tuple[_Beta, _Beta]
    weight_decay: Annotated[Number, Field(ge=0)]


class ScheduleParameters(Block):
    """How learning rates fall from epoch to epoch."""

    name: Literal["none", "step", "exponential", "cosine"]
    step_size: Count
    gamma: Annotated[Number, Field(gt=0, le=1)]


class LossParameters(Block):
    """Cross-entropy, its class weights and the weight of an auxiliary output."""

    class_weights: Literal["none", "balanced"]
    auxiliary_weight: Annotated[Number, Field(ge=0)]


class AugmentationParameters(Block):
    """What is drawn for each training image in each epoch."""

    flip: Share
    rotation: Annotated[Number, Field(ge=0, le=180)]


class EarlyStoppingParameters(Block):
    """When training ends before its last epoch; without patience, never."""

    patience: Count | None


class CheckpointParameters(Block):
    """How often training is saved, and whether it resumes."""

    minutes: Annotated[Number, Field(ge=0)]
    resume: bool


class TrainingParameters(Block):
    """One training: block `training`."""

    weights: Annotated[str, Field(min_length=1)]
    epochs: Count
    batch_size: Annotated[Whole, Field(ge=2)]
    shuffle: bool
    optimizer: OptimizerParameters
    schedule: ScheduleParameters
    loss: LossParameters
    augmentation: AugmentationParameters
    early_stopping: EarlyStoppingParameters
    device: Device
    devices: Devices
    precision: Precision
    compile: bool
    seed: Seed
    checkpoint: CheckpointParameters


class FinalTrainingParameters(Block):
    """Training on all labelled images: block `final_training`."""

    epochs: Count | None
