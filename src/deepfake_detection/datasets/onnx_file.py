"""ONNX files in the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detection.atomic_write import atomic_write
from deepfake_detection.datasets.versioned_file import VersionedFileDataset

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxDataset(VersionedFileDataset[bytes, "InferenceSession"]):
    """An ONNX file that holds all of its weights."""

    def load(self) -> InferenceSession:
        """Load the model into ONNX Runtime, on the CPU."""
        from onnxruntime import InferenceSession

        return InferenceSession(self._get_load_path(), providers=["CPUExecutionProvider"])

    def save(self, data: bytes) -> None:
        """Write the file, whole or not at all."""
        with atomic_write(Path(self._get_save_path())) as temporary:
            temporary.write_bytes(data)
