"""Folders of drawn faces that are made when they are first loaded."""

import json
import logging
import shutil
import tempfile
from abc import abstractmethod
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.atomic_write import naming_disk_errors, remove_stale
from deepfake_detection.errors import UserError

log = logging.getLogger(__name__)

# hidden, so that the scan of the folder skips it as a system file
_MARKER = ".generated_faces.json"


class GeneratedFolderDataset(AbstractDataset[NoReturn, Path]):
    """A folder that is made from settings; loads as its path.

    It is made on first use, and again when a setting changes: beside its place, and then renamed,
    so that it appears whole or not at all.
    """

    things: ClassVar[str]  # what is in it
    version: ClassVar[int]  # of the code that makes it

    def __init__(
        self, filepath: str, settings: dict[str, Any], metadata: dict[str, Any] | None
    ) -> None:
        self._folder = Path(filepath)
        self._settings = settings
        self.metadata = metadata

    @abstractmethod
    def check_settings(self) -> None:
        """Raise a UserError if a setting is out of range."""

    @abstractmethod
    def write(self, folder: Path) -> int:
        """Fill an empty folder; return the number of files."""

    def load(self) -> Path:
        """The absolute path of the folder, which is made first where it or its settings changed.

        Raises:
            UserError: If a setting is out of range, or another folder is in its place.
        """
        self.check_settings()
        if not self._exists():
            if self._folder.exists() and not (self._folder / _MARKER).exists():
                raise UserError(
                    f"{self._folder} is not a folder of generated {self.things} and is left alone. "
                    "Move it away, or change its filepath in conf/demo/catalog.yml."
                )
            self._make()
        return self._folder.resolve()

    def _make(self) -> None:
        started = perf_counter()
        prefix = f".{self._folder.name}-"
        with naming_disk_errors(self._folder):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(self._folder.parent, f"{prefix}*")
            beside = Path(tempfile.mkdtemp(prefix=prefix, dir=self._folder.parent))
            try:
                number = self.write(beside)
                (beside / _MARKER).write_text(json.dumps(self._signature()), encoding="utf-8")
                beside.chmod(0o755)
                self._move_in(beside)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        log.info(
            "Made %d %s (drawings, not photographs) in %s in %.0f s",
            number, self.things, self._folder, perf_counter() - started,
        )  # fmt: skip

    def _move_in(self, beside: Path) -> None:
        old = beside.with_name(f"{beside.name}-old")
        if self._folder.exists():
            self._folder.rename(old)
        try:
            beside.rename(self._folder)
        except OSError:
            # another run was faster; with the same settings it made the same files
            if not self._exists():
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)

    def save(self, data: NoReturn) -> NoReturn:  # noqa: ARG002
        """Refuse: generated faces are made by loading them."""
        raise UserError(f"the generated {self.things} in {self._folder} are only read")

    def _signature(self) -> dict[str, Any]:
        return self._settings | {"version": self.version}

    def _exists(self) -> bool:
        try:
            marker = json.loads((self._folder / _MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(marker == self._signature())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder), **self._settings}
