"""Typed models of the parameter files, a module for each block of `conf/base/parameters*.yml`.

The models check and name; they hold no defaults. Every value stands in a parameter file, with a
comment that gives its meaning, its unit and, where it differs, the reference recipe's value.
"""

# ruff: noqa: F401, I001
# fmt: off
from deepfake_detection.parameters.base import (
    Answer, Block, Count, Device, Devices, Label, Number, Pattern, Precision, Rate, Seed, Share,
    Whole,
)
from deepfake_detection.parameters.data_preparation import (
    Fold, GroupRule, ImageSetParameters, LeakageParameters, Ratios, SourceRule, SplitParameters,
)
from deepfake_detection.parameters.evaluation import (
    CalibrationParameters, EvaluationParameters, TemperatureParameters, ThresholdParameters,
)
from deepfake_detection.parameters.inference import (
    ExportParameters, InferenceParameters, SubmissionParameters,
)
from deepfake_detection.parameters.preprocessing import (
    BackboneParameters, Backbones, Colour, PreprocessingParameters, Spread,
)
from deepfake_detection.parameters.project import ProjectParameters, describe_problems
from deepfake_detection.parameters.reporting import (
    ExplanationParameters, RegionParameters, RegionsParameters, ReportingParameters,
    RobustnessParameters,
)
from deepfake_detection.parameters.studies import (
    PublishedResult, RunParameters, StudyOptions, StudyParameters,
)
from deepfake_detection.parameters.training import (
    AugmentationParameters, CheckpointParameters, EarlyStoppingParameters, FinalTrainingParameters,
    LossParameters, OptimizerParameters, ScheduleParameters, TrainingParameters,
)
