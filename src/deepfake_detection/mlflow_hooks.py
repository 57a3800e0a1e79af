"""Hooks that copy each run into MLflow, where conf/local/mlflow.yml says so (docs/mlflow.md)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from pydantic import ValidationError

from deepfake_detection import run_manifest
from deepfake_detection.checks import runs_in
from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.datasets.versioned_file import VersionedFileDataset
from deepfake_detection.errors import UserError, first_line
from deepfake_detection.parameters import StudyParameters
from deepfake_detection.parameters.base import Block
from deepfake_detection.parameters.project import describe_problems

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's limits: entries of one request, and characters of a parameter's value
_BATCH = 100
_LONGEST = 6000
_FOLDERS = {".png": "figures", ".html": "report", ".safetensors": "detector", ".onnx": "detector"}
# as large as the detector, and superseded by it
_LEFT_OUT = "uncalibrated_detector"


class MlflowSettings(Block):
    """Content of mlflow.yml: a folder (from the project) or the address of a server."""

    tracking_uri: str
    experiment: str


class MlflowHooks:
    """Copies parameters, metrics by epoch, tables, figures and detectors when a run has ended."""

    def __init__(self) -> None:
        self._settings: MlflowSettings | None = None
        self._studies: list[StudyParameters] = []

    @hook_impl(trylast=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Read mlflow.yml; a UserError, before anything runs, if it is wrong or MLflow missing."""
        # of any environment: conf/local says what this machine has
        loader = context.config_loader
        assert isinstance(loader, StudyConfigLoader)  # noqa: S101  (as settings.py says)
        file = Path(loader.conf_source) / "local" / "mlflow.yml"
        if not file.exists():
            return
        if find_spec("mlflow") is None:
            raise UserError(
                "conf/local/mlflow.yml switches MLflow on, which is not installed: "
                "pip install -c constraints.txt -e '.[mlflow]' (or remove the file)"
            )
        try:
            self._settings = MlflowSettings.model_validate(yaml.safe_load(file.read_text()))
        except ValidationError as error:
            raise UserError(f"{file}: {describe_problems(error, MlflowSettings)}") from None
        except yaml.YAMLError as error:
            raise UserError(f"{file} cannot be read: {first_line(error)}") from None
        self._project = Path(context.project_path)
        self._studies = loader.studies

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Copy the run."""
        self._copy(pipeline, catalog, "FINISHED")

    # before the project's own hook, which raises another error
    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Copy what a failed run has made."""
        self._copy(pipeline, catalog, "FAILED")

    def _copy(self, pipeline: Pipeline, catalog: DataCatalog, status: str) -> None:
        if self._settings is None:
            return
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        place = self._settings.tracking_uri
        if "://" not in place:
            place = (self._project / place).resolve().as_uri()
            # MLflow prefers databases; a folder needs none, and its format no longer changes
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            _copy_run(
                MlflowClient(place), self._settings.experiment, pipeline, catalog, status,
                {name: run.title for name, run in runs_in(self._studies, pipeline)},
            )  # fmt: skip
        except (MlflowException, OSError) as error:
            raise UserError(
                f"the results are saved, but not in MLflow at {place}: {first_line(error)}"
            ) from error


def _copy_run(
    client: MlflowClient,
    experiment: str,
    pipeline: Pipeline,
    catalog: DataCatalog,
    status: str,
    rows: Mapping[str, str],
) -> None:
    """Make a run in MLflow; with a child for each of `rows`, by `STUDY.RUN`: its title."""
    known = client.get_experiment_by_name(experiment)
    number = known.experiment_id if known else client.create_experiment(experiment)
    manifest = catalog.load(run_manifest.ENTRY)
    started = int(datetime.fromisoformat(manifest["started"]).timestamp() * 1000)
    tags = {name: str(manifest[name]) for name in ("session", "command", "commit")}
    title = sorted({name.split(".", 1)[0] for name in rows})
    parent = ""
    for prefix, name in {"": " ".join(title) or manifest["session"], **rows}.items():
        of_parent = {"mlflow.parentRunId": parent} if parent else {}
        run = client.create_run(number, started, tags | of_parent, name).info.run_id
        parent = parent or run
        _fill(client, run, pipeline, catalog, prefix and f"{prefix}.", tuple(rows))
        client.set_terminated(run, status)


def _fill(
    client: MlflowClient,
    run: str,
    pipeline: Pipeline,
    catalog: DataCatalog,
    prefix: str,
    rows: tuple[str, ...],
) -> None:
    """Copy the parameters and results whose names start with this; without one, those of no row."""
    from mlflow.entities import Metric, Param

    def is_own(name: str) -> bool:
        return name.startswith(prefix or tuple(f"{row}." for row in rows)) is bool(prefix)

    settings: dict[str, Any] = {}
    for name in sorted(pipeline.inputs()):
        key = name.removeprefix("params:")
        if key != name and is_own(key):
            settings |= _flatten(catalog.load(name), key.removeprefix(prefix))
    params = [Param(key, str(value)[:_LONGEST]) for key, value in settings.items()]
    metrics: list[Metric] = []
    for name in sorted({*pipeline.all_outputs(), run_manifest.ENTRY}):
        entry, dataset = name.removeprefix(prefix), catalog.get(name)
        if not (is_own(name) and isinstance(dataset, VersionedFileDataset) and dataset.exists()):
            continue
        path = dataset.path
        if entry != _LEFT_OUT:
            client.log_artifact(run, str(path), _FOLDERS.get(path.suffix, "tables"))
        time = int(path.stat().st_mtime * 1000)
        of_epochs = entry.endswith("training_history")
        if of_epochs or entry == "metric_table":
            found = _of_epochs if of_epochs else _of_table
            metrics += [Metric(key, value, time, step) for key, value, step in found(dataset)]
    for each in range(0, max(len(params), len(metrics)), _BATCH):
        part = slice(each, each + _BATCH)
        client.log_batch(run, metrics=metrics[part], params=params[part])


def _of_epochs(history: VersionedFileDataset[Any, Any]) -> Iterator[tuple[str, float, int]]:
    table = history.load().set_index("epoch").select_dtypes("number")
    for name, column in table.items():
        yield from ((str(name), value, epoch) for epoch, value in column.dropna().items())


def _of_table(metric_table: VersionedFileDataset[Any, Any]) -> Iterator[tuple[str, float, int]]:
    parts = ["subset", "level", "metric", "class_name"]
    table = metric_table.load().dropna(subset="value")
    for *names, value in table[[*parts, "value"]].fillna("").itertuples(index=False):
        subset, level, *name = (re.sub(r"[^\w.\- ]", "_", each) for each in names)
        yield f"{subset}/{level}/{'.'.join(filter(None, name))}", float(value), 0


def _flatten(value: Any, key: str) -> dict[str, Any]:
    """Values by names such as `training.optimizer.lr`; lists as JSON."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping) and value:
        parts = (_flatten(each, f"{key}.{name}") for name, each in value.items())
        return {name: each for part in parts for name, each in part.items()}
    return {key: value if isinstance(value, str) else json.dumps(value, default=str)}
