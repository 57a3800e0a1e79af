"""The detector's card: what is known about a detector, as typed JSON.

A detector file may come from anyone, so each value of its card is checked before it is used.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, field, fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from deepfake_detection.errors import UserError, first_line, in_line
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.models import run_identity
from deepfake_detection.models.backbones import check_backbone, list_backbones
from deepfake_detection.parameters import CropParameters, PreprocessingParameters
from deepfake_detection.parameters.backbones import TIMM
from deepfake_detection.parameters.base import Label, require

# Raised when older readers could not read a new file. 2: training_distance. 3: described_layers.
FORMAT_VERSION = 3
# Bounds of a card: characters, blocks in blocks, whole numbers
_LONGEST, _DEEPEST, _LARGEST = 5_000_000, 50, 2**63
# `split.method` of a detector whose training images are unknown
UNKNOWN_METHOD = "unknown"
# `backbone` of detectors of other programs
OTHER_PROGRAMS = ("onnx", "python", "scores")
# Keys of `split` in older files, with their names today
_RENAMED = {"looks": "image_sizes"}

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# The next number above 1 is above all probabilities
Probability = Annotated[float, Field(ge=0, le=math.nextafter(1, 2))]
# What is written to logs and tables as it is
Line = Annotated[
    str, Field(max_length=200), AfterValidator(require(str.isprintable, "should be printable"))
]
Folder = Annotated[str, Field(min_length=1, max_length=4096)]
Range = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]


class _Part(BaseModel):
    """What is required of a part of a card; further keys are allowed."""

    model_config = _STRICT | ConfigDict(extra="allow")


class _ImageSizes(_Part):
    shorter_side: Range
    proportions: Range


class _Ratios(_Part):
    train: Share
    validation: Share
    test: Share


class _Fold(_Part):
    number: Count
    of: Count


# Blocks of parameters, in which a later version may have further keys
class _Crop(CropParameters):
    model_config = _Part.model_config


class _CropRecipe(CropRecipe):
    model_config = _Part.model_config
    crop: _Crop


class _Split(_Part):
    method: Line
    fingerprint: Line
    # these may be missing, but not null
    ratios: _Ratios = _Ratios(train=0, validation=0, test=0)
    fold: _Fold = _Fold(number=0, of=0)
    images: dict[str, dict[str, Count]] = {}
    groups: dict[str, Count] = {}
    groups_in_more_than_one_subset: Count = 0
    note: str | None = None
    shortcuts: list[Line] = []
    image_sizes: _ImageSizes = _ImageSizes(shorter_side=[1, 1], proportions=[1, 1])
    medium: Line | None = None
    crop_recipe: _CropRecipe | None = None


class _Imported(_Part):
    source: Line
    weights: Line


class _OtherProgram(_Part):
    kind: Literal["onnx", "python", "scores"]
    location: Annotated[str, Field(min_length=1, max_length=4096)]
    sha256: Line
    gives: Literal["logit", "probability", "score"]


class _Settings(_Part):
    training: dict[str, Any] = {}
    other_program: _OtherProgram | None = None
    import_checkpoint: _Imported | None = None
    calibration: dict[str, dict[str, Any]] = {}


class _SourceScore(_Part):
    rule: Literal["mean_logit", "mean_probability", "top_share"]
    top_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    areas: dict[str, Share] = {}


class _Verdict(_Part):
    error_rate: Share | None = None
    unsure: Annotated[list[Probability], Field(min_length=2, max_length=2)] | None = None
    unlike_from: Annotated[float, Field(ge=0)] | None = None


class _Calibration(_Part):
    epoch: bool = True
    fitted: list[Literal["threshold", "temperature"]] = []
    notes: list[str] = []
    source_score: _SourceScore = _SourceScore(rule="mean_logit")
    verdict: _Verdict = _Verdict()


class _VouchedBy(_Part):
    run_fingerprint: Line
    split_fingerprint: Line
    split_method: Line
    images: Count
    best_epoch: Count
    best_validation_accuracy: Share | None


def _as(model: type[BaseModel], *, or_empty: bool = False) -> AfterValidator:
    """Require a dictionary to be valid as this model, and keep it as it is."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        try:
            if value or not or_empty:
                model.model_validate(value)
        except ValidationError as error:
            raise ValueError(_describe(error)) from None
        return value

    return AfterValidator(check)


def _describe(error: ValidationError) -> str:
    """The first problem and its place."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


@dataclass(frozen=True, config=_STRICT)
class DetectorCard:
    """What is known about a detector.

    Attributes:
        transform_input: See `build_network`.
        preprocessing: As `PreprocessingParameters`: resize, crop (pixels), mean, std (of RGB in
            [0, 1]).
        class_names: Of the outputs, in order: real, fake.
        classes: Class folders of the training images, each with its label.
        threshold: The verdict is fake if the fake probability is at least this. It may be the next
            number above 1: nothing is called fake.
        temperature: Logits (fake minus real) are divided by it before the sigmoid.
        best_epoch: The epoch, from 1, of the weights.
        best_validation_accuracy: In that epoch, in [0, 1]; None if all images were used to train.
        split: Summary of the split: see `describe_split`.
        run_fingerprint: SHA-256 over `identity`, which determines the weights (`run_identity`).
        computed_on: Device, processes, precision and threads of its training.
        calibration: `fitted`: which of threshold and temperature were chosen on validation;
            `notes`: remarks on them; `source_score`: see `SourceScore`; `verdict`: see
            `VerdictRule`; `epoch`: whether validation chose the epoch (it did, if this is missing).
        vouched_by: Of a detector trained on all images, which cannot be evaluated: the run that its
            settings and number of epochs come from. run_fingerprint, split_fingerprint,
            split_method, images (that it was trained on), best_epoch, best_validation_accuracy.
        described_layers: Modules whose outputs the training distance takes, beside the input of
            the head.
    """

    backbone: str
    transform_input: bool
    preprocessing: Annotated[dict[str, Any], _as(PreprocessingParameters)]
    class_names: Annotated[
        list[str], AfterValidator(require(["real", "fake"].__eq__, "should be real, fake"))
    ]
    classes: dict[Folder, Label]
    threshold: Probability
    temperature: Annotated[float, Field(ge=1e-6, le=1e6)]
    best_epoch: Count
    best_validation_accuracy: Share | None
    split: Annotated[dict[str, Any], _as(_Split)]
    settings: Annotated[dict[str, Any], _as(_Settings)]
    run_fingerprint: Line
    versions: dict[str, str]
    identity: dict[str, Any] = field(default_factory=dict)
    computed_on: dict[str, str | int] = field(default_factory=dict)
    calibration: Annotated[dict[str, Any], _as(_Calibration)] = field(default_factory=dict)
    vouched_by: Annotated[dict[str, Any], _as(_VouchedBy, or_empty=True)] = field(
        default_factory=dict
    )
    described_layers: Annotated[list[Line], Field(max_length=8)] = field(default_factory=list)

    @property
    def other_program(self) -> dict[str, Any] | None:
        """What gives the scores, if that is not a network of this project (`other_programs`)."""
        program: dict[str, Any] | None = self.settings.get("other_program")
        return program

    @property
    def has_scale(self) -> bool:
        """Whether its scores are probabilities; if not, only their order means something."""
        return self.other_program is None or self.other_program["gives"] != "score"

    @property
    def selected_by(self) -> str:
        """By what validation chose the epoch: see `training.select_by`."""
        return str(self.settings.get("training", {}).get("select_by", "accuracy"))

    @property
    def known_fakes(self) -> list[str]:
        """Class folders of the fakes that it was trained on."""
        return [name for name, label in self.classes.items() if label == "fake"]

    def describe_known_fakes(self) -> str:
        """The kinds of fake in one line, for tables; of an imported detector, what is unknown."""
        kinds = ", ".join(self.known_fakes)
        return kinds if self.imported_from is None else f"{kinds} (training images unknown)"

    @property
    def imported_from(self) -> str | None:
        """Where a detector comes from whose training images are unknown; None for any other."""
        if self.split["method"] != UNKNOWN_METHOD:
            return None
        imported = self.settings.get("import_checkpoint") or {"source": "source unknown"}
        return str(imported["source"])


def parse_card(text: str) -> DetectorCard:
    """Make a card of the JSON text in a detector file; a ValueError says what is wrong with it."""
    if len(text) > _LONGEST:
        raise ValueError(f"its detector card is longer than {_LONGEST:,} characters")
    try:
        content = json.loads(text, object_pairs_hook=_refuse_repeated)
        _check_values(content)
    except RecursionError:
        raise ValueError("its detector card is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(  # noqa: TRY004  (of the file's content)
            "its detector card is no JSON object"
        )
    version = content.pop("format_version", None)
    if isinstance(version, bool) or version not in range(1, FORMAT_VERSION + 1):
        raise ValueError(
            f"it is a detector file of format {in_line(version)[:20]}, and this version of "
            f"deepfake-detection reads formats up to {FORMAT_VERSION}"
        )
    # fields with a default were added later, and older files lack them
    needed = {each.name for each in fields(DetectorCard) if each.default_factory is MISSING}
    if missing := needed - content.keys():
        raise ValueError(f"its detector card lacks {min(missing)}")
    _check_backbone(content["backbone"])
    _complete(content)
    known = {each.name for each in fields(DetectorCard)}
    try:
        return DetectorCard(**{name: content[name] for name in known & content.keys()})
    except ValidationError as error:
        raise ValueError(f"its detector card: {_describe(error)}") from None


def _check_backbone(name: Any) -> None:
    if name in OTHER_PROGRAMS:
        return
    if not isinstance(name, str) or not name.startswith(TIMM):
        if name not in list_backbones():
            raise ValueError(f"it needs {in_line(name)}, which this torchvision does not have")
        return
    try:
        check_backbone(name)
    except UserError as error:
        raise ValueError(in_line(error)) from None


def _complete(content: dict[str, Any]) -> None:
    """Bring the card of an older file to today's names, in place."""
    try:
        split = {_RENAMED.get(key, key): value for key, value in content["split"].items()}
        content["split"] = split
        if "identity" not in content:
            content["identity"] = run_identity.identify_older_run(content)
            content["run_fingerprint"] = run_identity.fingerprint_of(content["identity"])
        content["settings"] = run_identity.complete_settings(content["settings"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"its settings or its split are incomplete: {first_line(error)}") from None


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("its detector card has a key twice")
    return content


def _check_values(value: Any, depth: int = 0) -> None:
    """Refuse what JSON allows and other readers, pages and tables do not take."""
    if depth > _DEEPEST:
        raise ValueError("its detector card is nested too deeply")
    if isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_values(each, depth + 1)
    elif isinstance(value, str):
        # half a character, as in "\ud800", raises a ValueError
        value.encode()
    elif value is not None and not -_LARGEST < value < _LARGEST:
        # also NaN, which compares false
        raise ValueError(f"its detector card holds a number out of bounds: {in_line(value)}")
