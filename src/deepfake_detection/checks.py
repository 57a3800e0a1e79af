"""Checks before a pipeline runs: its inputs, packages, devices and picture sizes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kedro.framework.project import pipelines
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Pipeline

from deepfake_detection.config_loader import GIVEN_PATHS
from deepfake_detection.datasets.image_folder import ImageFolderDataset
from deepfake_detection.errors import UserError, user_error_behind
from deepfake_detection.parameters import (
    ProjectParameters,
    RunParameters,
    StudyParameters,
    TrainingParameters,
)

# The packages that a pipeline needs beyond the project's dependencies: by a parameter that it
# reads, the extra of pyproject.toml and its packages
_EXTRAS = {"params:export": ("export", ("onnx", "onnxruntime", "onnxscript"))}

# What to do where one of these is missing
_GIVE = {
    "other_detector": "there is no detector to compare with: give --params other_detector=FILE",
    "pictures_to_check": "there are no pictures in {path} to check the export on: give --params "
    "images=FOLDER",
}


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
    """Check that this machine has the devices that a pipeline needs.

    GPUs are only counted. Anything else would initialise CUDA in this process, and nodes that
    ParallelRunner runs in forked processes could not use it. They check the rest themselves.

    Raises:
        UserError: Naming the device that is missing.
    """
    # lets torch.cuda.is_available ask the driver's library, which does not initialise CUDA
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    from deepfake_detection.models.devices import choose_device, choose_precision

    asked = pipeline.inputs()
    if "params:training" in asked:
        _check_training(parameters.training)
    if "params:evaluation" in asked:
        choose_device(parameters.evaluation.device)
    if "params:inference" in asked:
        device = choose_device(parameters.inference.device)
        if device.type != "cuda":
            choose_precision(parameters.inference.precision, device, "inference.precision")
    for study, name, run in runs_in(studies, pipeline):
        try:
            _check_training(run.training)
        except UserError as error:
            raise UserError(f"study {study.name}.{name}: {error}") from None


def _check_training(training: TrainingParameters) -> None:
    import torch

    from deepfake_detection.models.devices import choose_device
    from deepfake_detection.training.hardware import choose_hardware

    device = choose_device(training.device)
    if device.type != "cuda":
        choose_hardware(training)
    elif training.devices != "all":
        there = torch.cuda.device_count() if device.index is None else 1
        if training.devices > there:
            raise UserError(
                f"parameter 'training.devices' is {training.devices}, and this machine has {there} "
                f"for training.device={training.device}: a number up to that, or all"
            )


def check_sizes(studies: Sequence[StudyParameters], pipeline: Pipeline) -> None:
    """Check that the backbone of each run of a study accepts pictures of its size.

    Raises:
        UserError: Naming the first that does not.
    """
    from deepfake_detection.models.backbones import check_crop

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
        project_path: The folder that relative paths start from.
        pipeline: What is to run.

    Raises:
        UserError: Naming the parameter.
    """
    for parameter in GIVEN_PATHS.keys() & given.keys():
        entries = GIVEN_PATHS[parameter]
        if pipeline.inputs().isdisjoint(entries):
            raise UserError(
                f"--params {parameter}=… is for pipelines that read {' or '.join(entries)} and "
                "don't make it: kedro run --pipelines inference --params images=…,detector=… (or "
                "external_evaluation; or --pipelines evaluation --params detector=…)"
            )
        if not (path := project_path / str(given[parameter])).exists():
            raise UserError(f"--params {parameter}={given[parameter]}: no such path as {path}")


def check_inputs(
    studies: Sequence[StudyParameters],
    pipeline: Pipeline,
    catalog: DataCatalog,
    load_versions: Mapping[str, str],
) -> None:
    """Check that the image folders and earlier results that a pipeline reads exist.

    Raises:
        UserError: Naming what is missing, and the command that makes it.
    """
    inputs = sorted(name for name in pipeline.inputs() if not name.startswith("params:"))
    for entry in inputs:
        if entry in _GIVE and not catalog.exists(entry):
            raise UserError(_GIVE[entry].format(path=path_of(entry, catalog)))
        if isinstance(dataset := catalog.get(entry), ImageFolderDataset):
            try:
                dataset.load()
            except DatasetError as error:
                raise user_error_behind(error) or error from None
    makers = {
        entry: name
        for name, registered in reversed(pipelines.items())
        if name != "__default__"
        for entry in registered.all_outputs()
    }
    missing = [entry for entry in inputs if entry in makers and not catalog.exists(entry)]
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
    """The path of an entry: its latest version, or where versions would be."""
    dataset: Any = catalog.get(entry)
    path = Path(str(dataset._describe().get("filepath", entry)))
    versions = sorted(path.glob(f"*/{path.name}"))
    return str(versions[-1] if versions else path)
