"""Detector files in the catalog."""

from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset, Version
from kedro.io.core import VersionNotFoundError

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.errors import UserError
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import DetectorFile, DetectorSlot, write_detector


class DetectorDataset(AbstractVersionedDataset[Detector | DetectorFile, Detector]):
    """A detector file, versioned, or a plain file given by its path.

    Args:
        filepath: Of the file; with `versioned: true` the folder of its versions.
        version: Filled in by Kedro.
        metadata: For plugins; ignored.
    """

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        # a detector from elsewhere is a file, where a versioned entry expects a folder
        self._given = version is not None and Path(filepath).is_file()
        super().__init__(filepath=PurePosixPath(filepath), version=None if self._given else version)
        self.metadata = metadata

    def load(self) -> Detector:
        """The detector, on the CPU."""
        return Detector.load(Path(self._get_load_path()))

    def save(self, data: Detector | DetectorFile) -> None:
        """Write the file, whole or not at all; one that is a file already is linked or copied."""
        if self._given:
            raise UserError(
                f"{self._filepath} was given with --params detector=…, and is only read: run a "
                "pipeline that does not train"
            )
        path = Path(self._get_save_path())
        if isinstance(data, DetectorFile):
            data.put(path)
        else:
            write_detector(data, path)

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_file()
        except VersionNotFoundError:
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}


class DetectorSlotDataset(HandleDataset):
    """A place for a detector file that a node may fill while it runs.

    A node's outputs are saved after it returns. What must outlast its failure goes here.
    """

    handle = DetectorSlot
