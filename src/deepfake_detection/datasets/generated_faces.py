"""Generated faces in the catalog: drawings that stand in for an image folder."""

import json
import logging
import shutil
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.datasets.faces.drawing import DRAWING_VERSION, write_faces
from deepfake_detection.errors import UserError

log = logging.getLogger(__name__)

# Hidden, so that it is passed over as a system file when the folder is read
_MARKER = ".generated_faces.json"


class GeneratedFacesDataset(AbstractDataset[NoReturn, Path]):
    """A folder of faces drawn by this project, in the course's layout; loading gives its path.

    They are drawn on first use, and again when a setting changes: beside their place, then renamed,
    so that the folder appears whole or not at all.

    Args:
        filepath: The folder.
        sources: People of each class.
        images_per_source: Consecutive images of each.
        size: Width and height, pixels.
        quality: Of the JPEG files, 1…95; some sources lose a little of it.
        seed: The same seed gives the same files.
        metadata: For plugins; ignored.
    """

    def __init__(
        self,
        *,
        filepath: str,
        sources: int,
        images_per_source: int,
        size: int,
        quality: int,
        seed: int,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._folder = Path(filepath)
        self._settings = {
            "sources": sources,
            "images_per_source": images_per_source,
            "size": size,
            "quality": quality,
            "seed": seed,
        }
        self.metadata = metadata

    def load(self) -> Path:
        """The folder, absolute; drawn first, where it is not there with these settings.

        Raises:
            UserError: If another folder stands in its place.
        """
        if not self._exists():
            if self._folder.exists() and not (self._folder / _MARKER).exists():
                raise UserError(
                    f"{self._folder} is no folder of generated faces, and is left alone. Move it "
                    "away, or change filepath of training_images in conf/demo/catalog.yml."
                )
            self._draw()
        return self._folder.resolve()

    def _draw(self) -> None:
        started = perf_counter()
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{self._folder.name}-", dir=self._folder.parent))
        try:
            number = write_faces(beside, **self._settings)
            (beside / _MARKER).write_text(json.dumps(self._signature()), encoding="utf-8")
            beside.chmod(0o755)
            self._move_in(beside)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        log.info(
            "Drew %d faces (drawings, no photographs) into %s in %.0f s",
            number, self._folder, perf_counter() - started,
        )  # fmt: skip

    def _move_in(self, beside: Path) -> None:
        old = beside.with_name(f"{beside.name}-old")
        if self._folder.exists():
            self._folder.rename(old)
        try:
            beside.rename(self._folder)
        except OSError:
            # another run was faster; with the same settings it drew the same
            if not self._exists():
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)

    def save(self, data: NoReturn) -> NoReturn:  # noqa: ARG002
        """Faces are drawn, not saved."""
        raise UserError(f"the generated faces in {self._folder} are only read, never written")

    def _signature(self) -> dict[str, int]:
        return self._settings | {"drawing": DRAWING_VERSION}

    def _exists(self) -> bool:
        try:
            marker = json.loads((self._folder / _MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(marker == self._signature())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder), **self._settings}
