"""Videos and photographs in the catalog: a folder, or one file."""

from pathlib import Path

from deepfake_detection.datasets.read_only import ReadOnlyDataset
from deepfake_detection.errors import UserError


class VideosDataset(ReadOnlyDataset):
    """Videos and photographs whose faces are extracted; loading gives the path."""

    def load(self) -> Path:
        """Return the absolute path.

        Raises:
            UserError: If it does not exist.
        """
        if not self._path.exists():
            raise UserError(
                f"there are no videos in {self._path}. Put them there, or name a folder or a file: "
                "kedro run --pipelines face_extraction --params videos=path/to/folder. To try it "
                "on drawn faces: kedro run --env demo --pipelines face_extraction"
            )
        return self._path.absolute()
