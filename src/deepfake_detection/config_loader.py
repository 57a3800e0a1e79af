"""Configuration loader: merges the recipe, validates parameters, completes the rows of studies."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self

from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.project import pipelines
from omegaconf.errors import InterpolationResolutionError
from pydantic import ValidationError

from deepfake_detection.errors import UserError, suggest
from deepfake_detection.parameters import (
    FaceDetectionParameters,
    ProjectParameters,
    StudyParameters,
    describe_problems,
)
from deepfake_detection.parameters.generalisation import complete_sets
from deepfake_detection.parameters.merging import merge
from deepfake_detection.parameters.recipes import (
    check_fit,
    check_recipes,
    list_overridden,
    settings_of,
)

log = logging.getLogger(__name__)

# Names that --params takes although no parameter file has them: paths, with the catalog entries
# that they replace
GIVEN_PATHS = {
    "checkpoint": ("checkpoint",),
    "detector": ("detector",),
    "face_set": ("external_images", "face_index", "faces", "training_images"),
    "images": ("external_images", "pictures_to_check", "unlabelled_images"),
    "other_detector": ("other_detector",),
    "run": ("detector", "training_history"),
    "run_split": ("split", "split_summary"),
    "scores": ("detector",),
    "videos": ("videos",),
}
# By block of parameters, the entry that `face_crops` replaces where its images are faces
FACE_FOLDERS = {"data_preparation": "training_images", "external_evaluation": "external_images"}

# Parameters of `face_extraction` that tell how faces are cut. Not `yunet`, which names a file
_CROP_RECIPE = {*FaceDetectionParameters.model_fields, "crop"} - {"yunet"}


class StudyConfigLoader(OmegaConfigLoader):
    """Reads configuration as Kedro's loader does, checks parameters, and completes each study.

    A hook could not do this for Kedro-Viz, which calls no hooks of the project.
    """

    # The loader whose parameters were read last. Kedro registers pipelines without naming a
    # session; a session reads its parameters before it looks for its pipelines.
    latest: ClassVar[Self | None] = None
    own: ProjectParameters  # once they were read
    studies: list[StudyParameters]

    def __getitem__(self, key: str) -> Any:
        """Read one kind of configuration; with `parameters`, register this loader's studies."""
        if key == "parameters":
            self.complete()
            if self.latest is None or self.latest.decides_pipelines != self.decides_pipelines:
                # builds nothing: Kedro registers pipelines when they are next used
                pipelines.configure(f"{__package__}.pipeline_registry")
            StudyConfigLoader.latest = self
        found = super().__getitem__(key)
        if key == "catalog":
            self.complete()
            for block, entry in FACE_FOLDERS.items():
                image_set = getattr(self.own, block)
                if image_set.images == "faces":
                    found[entry] = found["face_crops"]
                if image_set.equalise is not None:
                    settings = image_set.equalise.model_dump() | {
                        "max_pixels": image_set.max_pixels
                    }
                    made_of = {"images": found[entry], "settings": settings}
                    found[entry] = found["equalised_images"] | made_of
        return found

    @property
    def decides_pipelines(self) -> tuple[Any, ...]:
        """What the pipelines depend on."""
        own = self.own
        named = (
            bool(own.generalisation.detectors),
            tuple(own.generalisation.sets),
            bool(own.paired_comparison.detectors),
        )
        return self.studies, *named, *(getattr(own, block).images for block in FACE_FOLDERS)

    def complete(self) -> None:
        """Read and check parameters, and complete the rows of studies, unless that was done."""
        if "parameters" in self:
            return
        given = self.runtime_params or {}
        without_recipe = self._read(given)
        parameters = _tell_crop_recipe(self._merge_recipe(without_recipe, given), given)
        parameters = complete_sets(parameters)
        self.own = self._check_own(parameters)
        # imports torch, which takes seconds that a mistyped parameter need not wait for
        from deepfake_detection.models.backbones import check_backbone
        from deepfake_detection.pipelines.studies import plan

        # before the rows of studies, most of which have this backbone
        check_backbone(self.own.model)
        if given.keys() & self.own.studies.keys():
            in_files = self._read({})
            plan.check_given_rows(given, in_files)
            parameters = plan.keep_order_of_rows(parameters, in_files)
        self["parameters"], self.studies = plan.plan_studies(parameters, without_recipe, self.env)

    def _merge_recipe(self, plain: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        """Merge the recipe over the base files, below the environment and the command line."""
        # else they are named as missing, or as no block
        if "recipe" not in plain or not isinstance(plain.get("recipes"), Mapping):
            return plain
        recipe, recipes = plain["recipe"], plain["recipes"]
        settings = settings_of(recipes, recipe)
        # the base files may refer to a parameter that has to be given: no check of its own then
        with suppress(InterpolationResolutionError):
            check_recipes(recipes, self._make_loader({}).read_alone(self.base_env))
        check_fit(recipes, recipe, str(plain.get("model")))
        if not settings:
            return plain
        loader, environment = self._make_loader(given), self.env or self.default_run_env
        layers = [loader.read_alone(self.base_env), settings]
        if environment != self.base_env:
            layers.append(loader.read_alone(environment))
        merged = merge(*layers, given)
        log.info(
            "Recipe %s. Set otherwise by conf/%s or --params: %s",
            recipe, environment, "; ".join(list_overridden(settings, merged)) or "nothing",
        )  # fmt: skip
        return merged

    def _make_loader(self, given: dict[str, Any]) -> "_Files":
        return _Files(
            conf_source=self.conf_source,
            env=self.env,
            runtime_params=given,
            base_env=self.base_env,
            default_run_env=self.default_run_env,
            merge_strategy=self.merge_strategy,
        )

    def _read(self, given: dict[str, Any]) -> dict[str, Any]:
        loader = self._make_loader(given)
        try:
            return _name_keys(loader["parameters"])
        except MissingConfigException:
            environments = sorted(path.name for path in Path(self.conf_source).glob("*/"))
            if self.env is None or self.env in environments:
                raise
            hint = suggest(self.env, environments)
            raise UserError(f"there is no environment '{self.env}': {hint}") from None
        # for example, the same key twice; Kedro, OmegaConf and YAML raise errors of many kinds
        except Exception as error:
            problem = " ".join(str(error).split())
            raise UserError(f"the parameter files in {self.conf_source}: {problem}") from error

    def _check_own(self, parameters: Mapping[str, Any]) -> ProjectParameters:
        """Validate the project's blocks; check the names of others, which may be a user's."""
        fields = ProjectParameters.model_fields
        studies = parameters.get("studies")
        known = {*fields, *GIVEN_PATHS, *(studies if isinstance(studies, Mapping) else ())}
        others = sorted(parameters.keys() - known)
        for name in others:
            if close := get_close_matches(name, known, cutoff=0.8):
                raise UserError(f"unknown parameter '{name}': {suggest(name, close)}")
        given = self.runtime_params or {}
        if of_user := {name: given[name] for name in others if name in given}:
            _check_in_files(of_user, self._read({}))
        own = {name: value for name, value in parameters.items() if name in fields}
        try:
            return ProjectParameters.model_validate(own)
        except ValidationError as error:
            raise UserError(describe_problems(error, ProjectParameters)) from None


class _Files(OmegaConfigLoader):
    """Reads parameter files: merged, as Kedro does, or those of each environment alone."""

    def read_alone(self, environment: str) -> dict[str, Any]:
        """The parameters of one environment's files, with the given ones."""
        # as in reading the merged ones: resolvers are those of the loader that was used last
        self._register_runtime_params_resolver()
        path, patterns = self._get_conf_env_path(environment), self.config_patterns["parameters"]
        return _name_keys(self.load_and_merge_dir_config(path, patterns, "parameters", set()))


def _name_keys(parameters: Mapping[Any, Any]) -> dict[str, Any]:
    """Parameters by text: YAML has keys that are numbers, dates or nothing."""
    return {str(name): value for name, value in parameters.items()}


def _tell_crop_recipe(parameters: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in which a crop recipe that the command line gives is one for inference too.

    Parameter files have a recipe in any case, so there it says nothing about a detector.
    """
    told, inference = given.get("face_extraction"), parameters.get("inference")
    if not (isinstance(told, Mapping) and isinstance(inference, Mapping)):
        return parameters
    if inference.get("faces") != "detector" or told.keys().isdisjoint(_CROP_RECIPE):
        return parameters
    return parameters | {"inference": {**inference, "faces": "find"}}


def _check_in_files(given: Mapping[str, Any], in_files: Mapping[str, Any], block: str = "") -> None:
    """Check that the parameter files have each key that the command line gives."""
    for name, value in given.items():
        if name not in in_files:
            raise UserError(f"unknown parameter '{block}{name}': {suggest(name, sorted(in_files))}")
        if isinstance(value, Mapping) and isinstance(in_files[name], Mapping):
            _check_in_files(value, in_files[name], f"{block}{name}.")
