"""What is checked before a pipeline runs: devices, sizes, and that what it starts from is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import ProjectParameters, RunParameters, StudyParameters

# What --params takes beside parameters: entries of the catalog given by their path, each with those
# that it may stand for
GIVEN_PATHS = {
    "detector": ("detector",),
    "images": ("external_images", "pictures_to_check", "unlabelled_images"),
    "other_detector": ("other_detector",),
}

# What a pipeline needs beyond the project's own dependencies, known by an entry that it reads: the
# extra of pyproject.toml, and what it brings
_EXTRAS = {"params:export": ("export", ("onnx", "onnxruntime", "onnxscript"))}


def runs_in(
    studies: Sequence[StudyParameters], pipeline: Pipeline
) -> Iterator[tuple[StudyParameters, str, RunParameters]]:
    """The runs of studies that a pipeline trains: study, name, settings."""
    nodes = {node.name for node in pipeline.nodes}
    for study in studies:
        for name, run in study.runs.items():
            if f"{study.name}.{name}.train" in nodes:
                yield study, name, run


def check_devices(
    parameters: ProjectParameters, studies: Sequence[StudyParameters], pipeline: Pipeline
) -> None:
    """Check that this machine has the devices that a pipeline asks for.

    Raises:
        UserError: Naming the one that it lacks.
    """
    from deepfake_detection.models.devices import choose_device, choose_precision
    from deepfake_detection.training.hardware import choose_hardware

    asked = pipeline.inputs()
    if "params:training" in asked:
        choose_hardware(parameters.training)
    if "params:evaluation" in asked:
        choose_device(parameters.evaluation.device)
    if "params:inference" in asked:
        inference = parameters.inference
        device = choose_device(inference.device)
        choose_precision(inference.precision, device, "inference.precision")
    for study, name, run in runs_in(studies, pipeline):
        try:
            choose_hardware(run.training)
        except UserError as error:
            raise UserError(f"study {study.name}.{name}: {error}") from None


def check_sizes(
    parameters: ProjectParameters, studies: Sequence[StudyParameters], pipeline: Pipeline
) -> None:
    """Check that each backbone of a benchmark or a study takes pictures of its size.

    Raises:
        UserError: Naming the first that does not.
    """
    from deepfake_detection.models.backbones import check_backbone, check_crop

    if "params:benchmark" in pipeline.inputs():
        for model in parameters.benchmark.backbones:
            try:
                check_backbone(model)
            except UserError as error:
                raise UserError(f"parameter 'benchmark.backbones': {error}") from None
            check_crop(model, parameters.backbones.preprocessing(model).crop)
    for study, name, run in runs_in(studies, pipeline):
        try:
            check_crop(run.model, run.preprocessing.crop)
        except UserError as error:
            raise UserError(f"study {study.name}.{name}: {error}") from None


def check_extras(pipeline: Pipeline) -> None:
    """Check that the packages are installed that only some pipelines need.

    Raises:
        UserError: Naming what is missing, and the extra that brings it.
    """
    for entry in sorted(pipeline.inputs() & _EXTRAS.keys()):
        extra, packages = _EXTRAS[entry]
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            raise UserError(
                f"the pipeline {extra} needs {', '.join(missing)}, which is not installed: "
                f"pip install -c constraints.txt -e '.[{extra}]'"
            )


def check_given_paths(given: Mapping[str, Any], project_path: Path, pipeline: Pipeline) -> None:
    """Check the paths of the command line, and that the pipeline reads what they stand for.

    Args:
        given: Parameters of the command line.
        project_path: What relative paths start from.
        pipeline: What is to run.

    Raises:
        UserError: Naming the parameter.
    """
    for parameter, entries in GIVEN_PATHS.items():
        if parameter not in given:
            continue
        if pipeline.inputs().isdisjoint(entries):
            raise UserError(
                f"--params {parameter}=… is for pipelines that read {' or '.join(entries)} and "
                "don't make it: kedro run --pipelines inference --params images=…,detector=… (or "
                "external_evaluation; or --pipelines evaluation --params detector=…)"
            )
        if not (project_path / str(given[parameter])).exists():
            raise UserError(f"--params {parameter}={given[parameter]}: no such path")


def check_inputs(
    studies: Sequence[StudyParameters],
    pipeline: Pipeline,
    catalog: DataCatalog,
    load_versions: Mapping[str, str],
) -> None:
    """Check that what a pipeline starts from has been made.

    Raises:
        UserError: Naming what is missing, and the command that makes it.
    """
    if "other_detector" in pipeline.inputs() and not catalog.exists("other_detector"):
        raise UserError(
            "there is no detector to compare with: kedro run --pipelines paired_comparison "
            "--params other_detector=path/to/file (and detector=…, or the latest is taken)"
        )
    if "pictures_to_check" in pipeline.inputs() and not catalog.exists("pictures_to_check"):
        raise UserError(
            f"there are no pictures in {path_of('pictures_to_check', catalog)} to check the export "
            "on: give a folder of them with --params images=FOLDER"
        )
    makers = _makers()
    asked = sorted(pipeline.inputs() & makers.keys())
    missing = [entry for entry in asked if not catalog.exists(entry)]
    _check_rows(studies, missing)
    for entry in missing:
        version = f" of version {load_versions[entry]}" if entry in load_versions else ""
        command = f"kedro run --pipelines {makers[entry]}"
        if makers[entry] in {study.name for study in studies}:
            # a part of a study, which lacks what the whole would make
            command += f" --to-outputs {','.join(_ends_of(pipeline))}"
        raise UserError(
            f"there is no '{entry}'{version} in {path_of(entry, catalog)}. Make it first: "
            f"{command} (with the same --env and model)"
        )


def _makers() -> dict[str, str]:
    """The pipeline that makes each entry; the first, where several do."""
    from deepfake_detection.pipeline_registry import register_pipelines

    makers: dict[str, str] = {}
    for name, registered in register_pipelines().items():
        if name != "__default__":
            makers |= dict.fromkeys(registered.all_outputs() - makers.keys(), name)
    return makers


def _check_rows(studies: Sequence[StudyParameters], missing: Sequence[str]) -> None:
    """Name all the runs of a study that its table lacks."""
    for study in studies:
        runs = [name for name in study.runs if f"{study.name}.{name}.metrics" in missing]
        if runs:
            asked = ",".join(f"{study.name}.{name}" for name in runs)
            raise UserError(
                f"the study {study.name} lacks {len(runs)} of its {len(study.runs)} runs: "
                f"{', '.join(runs)}. Make them first: kedro run --pipelines {study.name}, or "
                f"these alone with --namespaces {asked}"
            )


def _ends_of(pipeline: Pipeline) -> list[str]:
    """What a pipeline makes last."""
    outputs = sorted(pipeline.outputs())
    return [entry for entry in outputs if entry.endswith(".metrics")] or outputs


def path_of(entry: str, catalog: DataCatalog) -> str:
    """Where an entry lies: its latest version, or where versions would be."""
    dataset: Any = catalog.get(entry)
    path = Path(str(dataset._describe().get("filepath", entry)))
    versions = sorted(path.glob(f"*/{path.name}"))
    return str(versions[-1] if versions else path)
