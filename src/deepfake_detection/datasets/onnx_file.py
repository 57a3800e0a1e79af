"""ONNX files in the catalog."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractVersionedDataset, Version
from kedro.io.core import VersionNotFoundError

from deepfake_detection.models.detector_file import written_beside

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxDataset(AbstractVersionedDataset[bytes, "InferenceSession"]):
    """An ONNX file that holds all of its weights.

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
        super().__init__(filepath=PurePosixPath(filepath), version=version)
        self.metadata = metadata

    def load(self) -> InferenceSession:
        """The model, ready to run on the CPU by ONNX Runtime."""
        from onnxruntime import InferenceSession

        return InferenceSession(self._get_load_path(), providers=["CPUExecutionProvider"])

    def save(self, data: bytes) -> None:
        """Write the file, whole or not at all."""
        with written_beside(Path(self._get_save_path())) as beside:
            beside.write_bytes(data)

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_file()
        except VersionNotFoundError:
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}
