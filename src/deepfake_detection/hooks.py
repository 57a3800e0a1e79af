"""Hooks: parameters are checked before anything runs, and a run says where its results lie."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.config import AbstractConfigLoader, OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import settings
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import ValidationError
from yaml import YAMLError

from deepfake_detection.errors import UserError, user_error_behind
from deepfake_detection.parameters import ProjectParameters, describe_problems

if TYPE_CHECKING:
    from deepfake_detection.learning.state import TrainingStates
    from deepfake_detection.parameters import StudyParameters

log = logging.getLogger(__name__)

# What --params takes beside parameters: entries of the catalog given by their path
_GIVEN_PATHS = {
    "detector": "detector",
    "images": "external_images",
    "other_detector": "other_detector",
}
_SHOWN_RESULTS = (
    "detector", "recalibrated_detector", "predictions", "metric_table", "paired_differences",
    "report", "benchmark_table", "benchmark_figure", "table", "page",
)  # fmt: skip


class ProjectHooks:
    """The project's hooks."""

    def __init__(self) -> None:
        self._states_of: dict[str, TrainingStates] = {}
        self._studies: list[StudyParameters] = []
        self._titles: dict[str, str] = {}
        self._started = 0

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters, and that the backbone exists and takes pictures of this size."""
        self._project_path = Path(context.project_path)
        # not context.params, which Kedro validates too, and ends in a traceback
        parameters = _read_parameters(context.config_loader)
        own = {name: parameters[name] for name in parameters.keys() - _studies_of(parameters)}
        for given in _GIVEN_PATHS:
            own.pop(given, None)
        try:
            checked = ProjectParameters.model_validate(own)
        except ValidationError as error:
            raise UserError(describe_problems(error, ProjectParameters)) from None
        self._check_model(checked, context)
        self._parameters = checked
        self._plan_studies(parameters, context)

    def _plan_studies(self, parameters: dict[str, Any], context: KedroContext) -> None:
        from deepfake_detection.pipeline_registry import use_studies
        from deepfake_detection.pipelines.studies.plan import check_given_rows, plan_studies

        given = context._runtime_params or {}
        if given.keys() & _studies_of(parameters):
            loader = OmegaConfigLoader(
                conf_source=context.config_loader.conf_source,
                env=context.env,
                **settings.CONFIG_LOADER_ARGS,
            )
            check_given_rows(given, loader["parameters"])
        context.config_loader["parameters"], self._studies = plan_studies(parameters)
        use_studies(self._studies)

    def _check_model(self, parameters: ProjectParameters, context: KedroContext) -> None:
        # torch takes seconds to import, and a mistyped parameter need not wait for it
        from deepfake_detection.detector.backbones import check_backbone, check_crop

        check_backbone(parameters.model)
        for name in parameters.backbones.names:
            try:
                check_backbone(name)
            except UserError as error:
                raise UserError(f"parameter 'backbones': {error}") from None
        given = (context._runtime_params or {}).get("model")
        in_paths = given or context.config_loader["globals"]["model"]
        if parameters.model != in_paths:
            raise UserError(
                f"parameter 'model' is '{parameters.model}', but result folders are named after "
                f"'{in_paths}': set model in globals.yml, not in parameters.yml, or give it with "
                "--params model=…"
            )
        crop = parameters.backbones.preprocessing(parameters.model).crop
        check_crop(parameters.model, crop)

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Check that what the pipeline starts from is there, and the devices that it asks for."""
        # other machines have other devices, and look for them themselves
        if "DaskRunner" not in str(run_params.get("runner")):
            self._check_devices(pipeline)
        self._check_benchmark(pipeline)
        self._check_runs(pipeline)
        self._check_given_paths(run_params.get("runtime_params") or {}, pipeline)
        self._check_inputs(pipeline, catalog, run_params.get("load_versions") or {})

    def _check_devices(self, pipeline: Pipeline) -> None:
        from deepfake_detection.detector.device import choose_device
        from deepfake_detection.learning.hardware import choose_hardware

        asked = pipeline.inputs()
        if "params:training" in asked:
            choose_hardware(self._parameters.training)
        if "params:evaluation" in asked:
            choose_device(self._parameters.evaluation.device)

    def _check_benchmark(self, pipeline: Pipeline) -> None:
        from deepfake_detection.detector.backbones import check_backbone, check_crop

        if "params:benchmark" not in pipeline.inputs():
            return
        for model in self._parameters.benchmark.backbones:
            try:
                check_backbone(model)
            except UserError as error:
                raise UserError(f"parameter 'benchmark.backbones': {error}") from None
            check_crop(model, self._parameters.backbones.preprocessing(model).crop)

    def _check_runs(self, pipeline: Pipeline) -> None:
        """Check what a study's runs need, before the first of them starts."""
        from deepfake_detection.detector.backbones import check_crop
        from deepfake_detection.learning.hardware import choose_hardware

        nodes = {node.name for node in pipeline.nodes}
        for study in self._studies:
            for name, run in study.runs.items():
                node = f"{study.name}.{name}.train"
                if node not in nodes:
                    continue
                self._titles[node] = run.title
                try:
                    check_crop(run.model, run.preprocessing.crop)
                    choose_hardware(run.training)
                except UserError as error:
                    raise UserError(f"study {study.name}.{name}: {error}") from None

    def _check_given_paths(self, runtime_params: dict[str, Any], pipeline: Pipeline) -> None:
        for parameter, entry in _GIVEN_PATHS.items():
            if parameter not in runtime_params:
                continue
            if entry not in pipeline.inputs():
                raise UserError(
                    f"--params {parameter}=… is for pipelines that read {entry} and don't make it: "
                    f"kedro run --pipelines external_evaluation --params images=…,detector=… (or "
                    "--pipelines evaluation --params detector=…)"
                )
            path = self._project_path / str(runtime_params[parameter])
            if not path.exists():
                raise UserError(f"--params {parameter}={runtime_params[parameter]}: no such path")

    def _check_inputs(
        self, pipeline: Pipeline, catalog: DataCatalog, load_versions: dict[str, str]
    ) -> None:
        from deepfake_detection.pipeline_registry import register_pipelines

        makers: dict[str, str] = {}
        for name, registered in register_pipelines().items():
            if name != "__default__":
                makers |= dict.fromkeys(registered.all_outputs() - makers.keys(), name)
        if "other_detector" in pipeline.inputs() and not catalog.exists("other_detector"):
            raise UserError(
                "there is no detector to compare with: kedro run --pipelines paired_comparison "
                "--params other_detector=path/to/file (and detector=…, or the latest is taken)"
            )
        missing = [
            entry
            for entry in sorted(pipeline.inputs() & makers.keys())
            if not catalog.exists(entry)
        ]
        self._check_rows(missing)
        for entry in missing:
            version = f" of version {load_versions[entry]}" if entry in load_versions else ""
            command = f"kedro run --pipelines {makers[entry]}"
            if makers[entry] in {study.name for study in self._studies}:
                # a part of a study, which lacks what the whole would make
                command += f" --to-outputs {','.join(_ends_of(pipeline))}"
            raise UserError(
                f"there is no '{entry}'{version} in {_path_of(entry, catalog)}. Make it first: "
                f"{command} (with the same --env and model)"
            )

    def _check_rows(self, missing: list[str]) -> None:
        """Name all the runs of a study that its table lacks."""
        for study in self._studies:
            runs = [name for name in study.runs if f"{study.name}.{name}.result" in missing]
            if runs:
                asked = ",".join(f"{study.name}.{name}" for name in runs)
                raise UserError(
                    f"the study {study.name} lacks {len(runs)} of its {len(study.runs)} runs: "
                    f"{', '.join(runs)}. Make them first: kedro run --pipelines {study.name}, or "
                    f"these alone with --namespaces {asked}"
                )

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Say which run of a study is the next."""
        if node.name in self._titles:
            self._started += 1
            log.info(
                "Run %d of %d: %s (%s)",
                self._started, len(self._titles), self._titles[node.name], node.namespace,
            )  # fmt: skip

    @hook_impl
    def after_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Remember the training states that a node has used."""
        from deepfake_detection.learning.state import TrainingStates

        for value in inputs.values():
            if isinstance(value, TrainingStates):
                self._states_of[node.name] = value

    @hook_impl
    def after_dataset_saved(self, data: Any, node: Node) -> None:
        """Remove the state of a training once its detector is saved, so that nothing is lost."""
        from deepfake_detection.detector.detector import Detector
        from deepfake_detection.detector.fingerprints import fingerprint_of_training

        if node.name in self._states_of and isinstance(data, Detector):
            card = data.card
            training = fingerprint_of_training(card.settings, card.split["fingerprint"])
            self._states_of.pop(node.name).remove(training)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Hand on in its own words what a user can mend: the catalog wraps it in other errors."""
        cause = user_error_behind(error)
        if cause is not None and cause is not error:
            raise cause

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Say where the results lie, the report last."""
        outputs = pipeline.all_outputs()
        shown = [
            name
            for wanted in _SHOWN_RESULTS
            for name in sorted(outputs)
            # not those of a study's runs, of which there are many
            if name.rsplit(".", 1)[-1] == wanted and name.count(".") < 2
        ]
        for name in shown:
            said = name.replace("_", " ").replace(".", " ").capitalize()
            log.info("%s: %s", said, _path_of(name, catalog))


def _read_parameters(loader: AbstractConfigLoader) -> dict[str, Any]:
    try:
        return dict(loader["parameters"])
    # a key that stands twice, in one file or in two of the same folder
    except (YAMLError, ValueError) as error:
        raise UserError(f"the parameter files: {' '.join(str(error).split())}") from None


def _studies_of(parameters: dict[str, Any]) -> set[str]:
    named = parameters.get("studies")
    return set(named) if isinstance(named, dict) else set()


def _ends_of(pipeline: Pipeline) -> list[str]:
    """What a pipeline makes last."""
    outputs = sorted(pipeline.outputs())
    return [entry for entry in outputs if entry.endswith(".result")] or outputs


def _path_of(entry: str, catalog: DataCatalog) -> str:
    """Where an entry lies: its latest version, or where versions would be."""
    dataset: Any = catalog.get(entry)
    path = Path(str(dataset._describe().get("filepath", entry)))
    versions = sorted(path.glob(f"*/{path.name}"))
    return str(versions[-1] if versions else path)
