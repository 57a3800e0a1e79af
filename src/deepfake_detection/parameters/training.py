"""The block `training`: one training, from initial weights to the choice of its best epoch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

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
    require,
)

_Beta = Annotated[Number, Field(ge=0, lt=1)]
_NotNegative = Annotated[Number, Field(ge=0)]
_Quality = Annotated[Whole, Field(ge=1, le=100)]
_Sigma = Annotated[Number, Field(gt=0, le=20)]
_Factor = Annotated[Number, Field(gt=0, le=1)]
_Zoom = Annotated[Number, Field(gt=0, le=4)]
# lowest and highest value that is drawn
_Rising = AfterValidator(require(lambda ends: ends[0] <= ends[1], "should rise"))


class TuneParameters(Block):
    """Which layers learn, and how much slower the early ones do."""

    layers: Literal["all", "head", "norm", "last"]
    blocks: Count
    layer_decay: Annotated[Number, Field(gt=0, le=1)]


class OptimizerParameters(Block):
    """The optimiser; head and backbone have rates of their own."""

    name: Literal["adam", "adamw", "sgd"]
    lr: Rate
    head_lr_multiple: Rate
    betas: tuple[_Beta, _Beta]
    momentum: _Beta
    weight_decay: _NotNegative
    decay_norms: bool
    clip_norm: Rate | None
    accumulate: Count


# Schedules that act after each step, not after each epoch
BY_STEP = ("one_cycle", "cosine_steps")


class ScheduleParameters(Block):
    """How learning rates change."""

    name: Literal["none", "step", "exponential", "cosine", "one_cycle", "cosine_steps"]
    step_size: Count
    gamma: Annotated[Number, Field(gt=0, le=1)]
    warmup: Annotated[Number, Field(ge=0, lt=1)]

    def _check(self) -> None:
        if not self.warmup and self.name == "one_cycle":
            raise ValueError("one_cycle needs a warmup above 0, as 0.3")


class LossParameters(Block):
    """Cross-entropy, its class weights and the weight of an auxiliary output."""

    class_weights: Literal["none", "balanced"]
    auxiliary_weight: _NotNegative
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)]


class _Ranged(Block):
    """An augmentation of some images, with a strength that is drawn for each of them."""

    probability: Share


class ColourParameters(_Ranged):
    """Brightness, contrast, saturation and hue."""

    brightness: Share
    contrast: Share
    saturation: Share
    hue: Annotated[Number, Field(ge=0, le=0.5)]


class BlurParameters(_Ranged):
    """Gaussian blur."""

    sigma: Annotated[tuple[_Sigma, _Sigma], _Rising]


class ScalingParameters(_Ranged):
    """Scaling down, and up again."""

    factor: Annotated[tuple[_Factor, _Factor], _Rising]


class NoiseParameters(_Ranged):
    """Gaussian noise."""

    deviation: Annotated[tuple[_NotNegative, _NotNegative], _Rising]


class JpegParameters(_Ranged):
    """JPEG compression."""

    quality: Annotated[tuple[_Quality, _Quality], _Rising]


class CutoutParameters(_Ranged):
    """A rectangle in one colour."""

    side: Annotated[tuple[Share, Share], _Rising]


class AugmentationParameters(Block):
    """What is drawn for each training image in each epoch."""

    flip: Share
    rotation: Annotated[Number, Field(ge=0, le=180)]
    moved: Share
    interpolation: Literal["nearest", "bilinear"]
    scale: Annotated[tuple[_Zoom, _Zoom], _Rising]
    shift: Share
    colour: ColourParameters
    grey: Share
    blur: BlurParameters
    scaling: ScalingParameters
    noise: NoiseParameters
    jpeg: JpegParameters
    twice: Share
    cutout: CutoutParameters


class SelfBlendingParameters(Block):
    """Fakes that are made of the real training images."""

    enabled: bool
    mask: Literal["ellipse", "landmarks"]
    # centre (x, y) and radii of the ellipse around a face, as shares of the picture's side
    centre: tuple[Share, Share]
    radii: tuple[_Factor, _Factor]


class EarlyStoppingParameters(Block):
    """When training ends before its last epoch; without patience, never."""

    patience: Count | None


class CheckpointParameters(Block):
    """How often training is saved, and whether it resumes."""

    minutes: _NotNegative
    resume: bool


class TrainingParameters(Block):
    """One training: block `training`."""

    weights: Annotated[str, Field(min_length=1)]
    epochs: Count
    batch_size: Annotated[Whole, Field(ge=2)]
    shuffle: bool
    sampling: Literal["shuffle", "balanced_labels", "balanced_classes", "paired"]
    tune: TuneParameters
    optimizer: OptimizerParameters
    schedule: ScheduleParameters
    loss: LossParameters
    ema: Annotated[Number, Field(gt=0, lt=1)] | None
    augmentation: AugmentationParameters
    self_blending: SelfBlendingParameters
    select_by: Literal["accuracy", "roc_auc", "source_roc_auc", "loss"]
    flip_average: bool
    early_stopping: EarlyStoppingParameters
    device: Device
    devices: Devices
    precision: Precision
    compile: bool
    seed: Seed
    checkpoint: CheckpointParameters

    def _check(self) -> None:
        if not self.shuffle and self.sampling != "shuffle":
            raise ValueError(f"sampling '{self.sampling}' needs shuffle: true")
        if self.self_blending.enabled and self.sampling != "shuffle":
            raise ValueError(
                f"sampling '{self.sampling}' needs fakes, and self_blending trains on real images"
            )
