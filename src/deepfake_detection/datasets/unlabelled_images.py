"""Pictures without labels in the catalog: a folder, one picture, or a list of them."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.errors import UserError


class UnlabelledImagesDataset(AbstractDataset[NoReturn, Path]):
    """Pictures to be scored; loading gives their path.

    Args:
        filepath: A folder, in which pictures lie at any depth; a picture; or a text file (.txt)
            with a path in each line.
        metadata: For plugins; ignored.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """The path, absolute.

        Raises:
            UserError: If there is nothing.
        """
        if not self._path.exists():
            raise UserError(
                f"there are no pictures in {self._path}. Put them there, or name a folder, a "
                "picture or a list in a text file: kedro run --pipelines inference --params "
                "images=path/to/folder"
            )
        return self._path.absolute()

    def save(self, data: NoReturn) -> NoReturn:  # noqa: ARG002
        """Pictures are never written."""
        raise UserError(f"{self._path} is only read, never written")

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
