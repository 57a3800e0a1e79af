"""A folder of equalised copies of another image folder in the catalog."""

import hashlib
import json
import logging
import shutil
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

import PIL
from kedro.io import AbstractDataset

from deepfake_detection.atomic_write import naming_disk_errors, remove_stale
from deepfake_detection.datasets.read_only import ReadOnlyDataset
from deepfake_detection.errors import UserError
from deepfake_detection.images.equalising import (
    EQUALISING_VERSION,
    list_files,
    write_equalised,
)
from deepfake_detection.parameters import EqualiseParameters

log = logging.getLogger(__name__)


class EqualisedImagesDataset(ReadOnlyDataset):
    """Equalised copies of an image folder (see `write_equalised`); loads as their folder's path.

    They are made when they are first loaded, in a folder named after the settings and the names,
    sizes and times of the files: a changed file gives a new folder, a repeated run none.

    Args:
        filepath: The folder of these folders.
        images: The image folder, as the catalog describes it.
        settings: side, cut, quality: see `EqualiseParameters`; and max_pixels.
        metadata: For plugins; ignored.
    """

    def __init__(
        self,
        *,
        filepath: str,
        images: dict[str, Any] | None,
        settings: dict[str, Any] | None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self.images: AbstractDataset[NoReturn, Path] | None = None
        if images is not None:
            self.images = AbstractDataset.from_config("images", dict(images))
        self._settings = dict(settings or {})
        self._made: Path | None = None

    def load(self) -> Path:
        """The absolute path of the copies, which are made first where they or a file changed.

        Raises:
            UserError: If there is no image folder, or the disk is full.
        """
        if self.images is None:
            raise UserError("no images are equalised: data_preparation.equalise is null")
        # a run reads its images as they were at its start
        if self._made is None:
            source = self.images.load()
            folder = self._path / self._key(source)
            if not folder.is_dir():
                self._make(source, folder)
            self._made = folder.resolve()
        return self._made

    def _key(self, source: Path) -> str:
        status = ((path, (source / path).stat()) for path in list_files(source))
        files = [(path, each.st_size, each.st_mtime_ns) for path, each in status]
        content = [EQUALISING_VERSION, PIL.__version__, self._settings, files]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def _make(self, source: Path, folder: Path) -> None:
        started, settings = perf_counter(), dict(self._settings)
        max_pixels = settings.pop("max_pixels")
        with naming_disk_errors(folder):
            self._path.mkdir(parents=True, exist_ok=True)
            remove_stale(self._path, ".partial-*")
            beside = Path(tempfile.mkdtemp(prefix=".partial-", dir=self._path))
            try:
                alike = EqualiseParameters.model_validate(settings)
                number = write_equalised(source, beside, alike, max_pixels)
                beside.chmod(0o755)
                beside.rename(folder)
            except OSError:
                # another run was faster; it made the same files
                if not folder.is_dir():
                    raise
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        log.info(
            "Equalised %d files in %s in %.0f s", number, folder, perf_counter() - started
        )  # fmt: skip

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | self._settings
