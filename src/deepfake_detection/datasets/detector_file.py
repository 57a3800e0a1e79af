"""Detector files in the catalog."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.datasets.versioned_file import VersionedFileDataset
from deepfake_detection.errors import UserError
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import DetectorFile, DetectorSlot, write_detector
from deepfake_detection.models.detector_loading import load_detector
from deepfake_detection.models.other_programs import FunctionDetector
from deepfake_detection.models.python_detector import is_function


class DetectorDataset(VersionedFileDataset[Detector | DetectorFile, Detector]):
    """A detector file and its versions.

    `filepath` may also be a detector from elsewhere, of any kind that `load_detector` takes
    (`--params detector=…`): it is loaded, whatever the version, and never replaced.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._functions: dict[PurePosixPath, Detector] = {}

    def load(self) -> Detector:
        """Load the detector onto the CPU."""
        path = self._get_load_path()
        if path in self._functions:
            return self._functions[path]
        return load_detector(str(path))

    def save(self, data: Detector | DetectorFile) -> None:
        """Write the file; an existing detector file is linked or copied.

        Raises:
            UserError: If `filepath` is a detector file from elsewhere.
        """
        if self._is_given():
            raise UserError(
                f"{self._filepath} was given with --params detector=…, and is only read: run a "
                "pipeline that does not train"
            )
        path = Path(self._get_save_path())
        if isinstance(data, DetectorFile):
            data.put(path)
            return
        write_detector(data, path)
        if isinstance(data, FunctionDetector):
            # the user named it in this run, and its file alone runs no code
            self._functions[PurePosixPath(path)] = data

    def _is_given(self) -> bool:
        """Whether the path is a file where the catalog expects a folder of versions."""
        given = Path(self._filepath)
        return self._version is not None and (given.is_file() or is_function(given))

    def _exists(self) -> bool:
        return self._is_given() or super()._exists()

    def _get_load_path(self) -> PurePosixPath:
        return self._filepath if self._is_given() else super()._get_load_path()


class DetectorFilesDataset(HandleDataset):
    """Detectors that a parameter names, by paths that are absolute or relative to a folder.

    Loading gives a function from what `load_detector` takes to a `Detector`.
    """

    def load(self) -> Callable[[str], Detector]:
        """Make the function."""
        return self._open

    def _open(self, location: str) -> Detector:
        if is_function(location):
            return load_detector(f"{self._path}/{location}")
        return load_detector(self._path / location)


class DetectorSlotDataset(HandleDataset):
    """A path to which a node may write a detector file while it runs.

    Outputs of a node are saved after it returns. A detector that must survive an error of the node
    is written here.
    """

    handle = DetectorSlot
