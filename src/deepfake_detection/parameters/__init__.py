"""Typed models of the parameter files.

The models check and name; they hold no defaults. Every value stands in a parameter file, with a
comment that gives its meaning, its unit and, where it differs, the reference recipe's value.
"""

# ruff: noqa: F401, I001
# fmt: off
from deepfake_detection.parameters.base import (
    Answer, Block, Count, Device, Devices, Label, Number, Pattern, Precision, Rate, Seed, Share,
    Whole,
)
from deepfake_detection.parameters.backbones import (
    BackboneParameters, Backbones, Colour, PreprocessingParameters, Spread,
)
from deepfake_detection.parameters.blocks import (
    EqualiseParameters, ExplanationParameters, ExportParameters, ExternalCalibrationParameters,
    FinalTrainingParameters, GroupRule, ImageSetParameters, ImportParameters, InferenceParameters,
    LayoutOptions, LeakageParameters, RegionParameters, RegionsParameters, ReportingParameters,
    ShortcutParameters, SourceRule, SubmissionParameters,
)
from deepfake_detection.parameters.comparisons import (
    PairedComparisonParameters, PublishedFigure, PublishedResults, SampleSizeParameters,
)
from deepfake_detection.parameters.faces import (
    CropParameters, FaceDetectionParameters, FaceExtractionParameters, YunetParameters,
)
from deepfake_detection.parameters.generalisation import (
    GeneralisationParameters, LabelledSetParameters,
)
from deepfake_detection.parameters.project import (
    ProjectParameters, PublishedResult, RunParameters, StudyOptions, StudyParameters,
    describe_problems,
)
from deepfake_detection.parameters.scores import (
    CalibrationParameters, EvaluationParameters, RobustnessParameters, SourceScoreParameters,
    TemperatureParameters, ThresholdParameters,
)
from deepfake_detection.parameters.splits import Fold, Ratios, SplitParameters
from deepfake_detection.parameters.training import (
    BY_STEP, AugmentationParameters, CheckpointParameters, EarlyStoppingParameters, LossParameters,
    OptimizerParameters, ScheduleParameters, SelfBlendingParameters, TrainingParameters,
    TuneParameters,
)
