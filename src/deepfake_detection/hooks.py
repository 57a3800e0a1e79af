"""Hooks: checks before anything runs, and log lines that say where results are."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from deepfake_detection import checks, run_manifest
from deepfake_detection.closing_box import find_pages, show_box
from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.datasets.atomic import AtomicDataset
from deepfake_detection.errors import UserError, first_line, user_error_behind

if TYPE_CHECKING:
    from deepfake_detection.models.scoring_checkpoints import ScoringCheckpoints
    from deepfake_detection.training.checkpoints import TrainingCheckpoints

log = logging.getLogger(__name__)

_SHOWN_RESULTS = (
    "face_index", "lost_faces", "face_contact_sheet",
    "detector", "final_detector", "imported_detector", "calibrated_detector", "predictions",
    "metric_table",
    "robustness_table", "generalisation_table", "generalisation_page", "paired_differences",
    "paired_figure", "sample_sizes", "scores", "source_scores", "submission",
    "onnx_detector", "onnx_prepare", "model_card", "table",
)  # fmt: skip


class ProjectHooks:
    """The project's hooks."""

    def __init__(self) -> None:
        self._checkpoints_of: dict[str, TrainingCheckpoints] = {}
        self._scorings_of: dict[str, ScoringCheckpoints] = {}
        self._titles: dict[str, str] = {}
        self._started = 0
        self._manifest: dict[str, Any] = {}
        self._datasets: dict[str, Any] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters, and that the backbone exists and accepts pictures of this size."""
        self._project_path = Path(context.project_path)
        loader = context.config_loader
        assert isinstance(loader, StudyConfigLoader)  # noqa: S101  (as settings.py says)
        # read here, and not from context.params, so that an invalid parameter ends in one line
        loader["parameters"]
        parameters = self._parameters = loader.own
        self._studies = loader.studies
        self._data = str(loader["globals"]["data"])
        # torch takes seconds to import, and a mistyped parameter need not wait for it
        from deepfake_detection.models.backbones import check_backbone, check_crop

        for name in parameters.backbones.names:
            try:
                check_backbone(name)
            except UserError as error:
                raise UserError(f"parameter 'backbones': {error}") from None
        given = (loader.runtime_params or {}).get("model")
        in_paths = given or loader["globals"]["model"]
        if parameters.model != in_paths:
            raise UserError(
                f"parameter 'model' is '{parameters.model}', but result folders are named after "
                f"'{in_paths}': set model in globals.yml, not in parameters.yml, or give it with "
                "--params model=…"
            )
        check_crop(parameters.model, parameters.backbones.preprocessing(parameters.model).crop)

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Check that the inputs of the pipeline exist, and the devices that it needs."""
        checks.check_extras(pipeline)
        given = run_params.get("runtime_params") or {}
        checks.check_recipes(self._parameters, self._studies, pipeline)
        checks.check_given_paths(given, self._project_path, pipeline)
        checks.check_inputs(self._studies, pipeline, catalog, run_params.get("load_versions") or {})
        # a cluster's machines have other devices, and nodes check those themselves
        if "DaskRunner" not in str(run_params.get("runner")):
            checks.check_devices(self._parameters, self._studies, pipeline)
            checks.check_weights(self._parameters, self._studies, pipeline)
        checks.check_sizes(self._studies, pipeline)
        checks.fix_versions(pipeline, catalog)
        self._datasets = {name: catalog.get(name) for name in pipeline.datasets()}
        self._manifest = run_manifest.start_manifest(
            run_params, self._project_path, self._datasets, pipeline.all_outputs(), self._data
        )
        if run_manifest.ENTRY in catalog:
            try:
                catalog.save(run_manifest.ENTRY, self._manifest)
            except DatasetError as error:
                raise user_error_behind(error) or error from None
        self._started = 0
        runs = checks.runs_in(self._studies, pipeline)
        self._titles = {f"{name}.train": run.title for name, run in runs}

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> dict[str, Any] | None:
        """Log which run of a study is next; a manifest also says how long the run has taken."""
        if node.name in self._titles:
            self._started += 1
            log.info(
                "Run %d of %d: %s (%s)",
                self._started, len(self._titles), self._titles[node.name], node.namespace,
            )  # fmt: skip
        entry = run_manifest.ENTRY
        return {entry: run_manifest.add_elapsed(inputs[entry])} if entry in inputs else None

    @hook_impl
    def after_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Remember the checkpoints that a node used."""
        from deepfake_detection.models.scoring_checkpoints import ScoringCheckpoints
        from deepfake_detection.training.checkpoints import TrainingCheckpoints

        for value in inputs.values():
            if isinstance(value, TrainingCheckpoints):
                self._checkpoints_of[node.name] = value
            elif isinstance(value, ScoringCheckpoints):
                self._scorings_of[node.name] = value

    @hook_impl
    def after_dataset_saved(self, data: Any, node: Node) -> None:
        """Remove a checkpoint once the result of its node is saved."""
        from deepfake_detection.models.detector import Detector

        if node.name in self._scorings_of:
            self._scorings_of.pop(node.name).remove_used()
        if node.name in self._checkpoints_of and isinstance(data, Detector):
            self._checkpoints_of.pop(node.name).remove(data.card.run_fingerprint)

    @hook_impl
    def on_pipeline_error(self, error: Exception, catalog: DataCatalog) -> None:
        """Re-raise the `UserError` that Kedro wrapped."""
        cause = user_error_behind(error)
        self._end_manifest(catalog, first_line(cause or error))
        if cause and cause is not error:
            raise cause

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Complete the manifest, and say where the results are."""
        self._end_manifest(catalog, None)
        outputs = pipeline.all_outputs()
        if pages := [page for page in find_pages(outputs) if catalog.exists(page)]:
            for page in pages:
                show_box(page, catalog, run_params.get("env"))
            return
        shown = [
            name
            for wanted in _SHOWN_RESULTS
            for name in sorted(outputs)
            # not those of a study's runs, of which there are many
            if name.rsplit(".", 1)[-1] == wanted and name.count(".") < 2
        ]
        for name in shown:
            said = name.replace("_", " ").replace(".", " ").capitalize()
            log.info("%s: %s", said, checks.path_of(name, catalog))

    def _end_manifest(self, catalog: DataCatalog, error: str | None) -> None:
        dataset = catalog.get(run_manifest.ENTRY)
        if isinstance(dataset, AtomicDataset) and self._manifest:
            ended = run_manifest.end_manifest(self._manifest, self._datasets, error)
            # a full disk must not hide what happened
            with suppress(UserError):
                dataset.replace(ended)
