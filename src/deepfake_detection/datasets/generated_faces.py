"""A Kedro dataset of generated faces: an image folder made from drawings."""

import json
import logging
import shutil
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.atomic_write import naming_disk_errors, remove_stale
from deepfake_detection.datasets.forging import (
    FORGING_VERSION,
    LARGEST_SIZE,
    MOST_IMAGES,
    MOST_SOURCES,
    People,
    write_faces,
)
from deepfake_detection.errors import UserError

log = logging.getLogger(__name__)

# hidden, so that the scan of the folder skips it as a system file
_MARKER = ".generated_faces.json"


class GeneratedFacesDataset(AbstractDataset[NoReturn, Path]):
    """A folder of faces in the reference's layout, made from drawn portraits; loads as its path.

    The folder is made on first use, and again when a setting changes. It is made beside its place
    and then renamed, so that it appears whole or not at all.

    Args:
        filepath: The folder.
        sources: People, 1…60 (1…20 of ``elsewhere``); each is a source of all three classes.
        images_per_source: Consecutive images of each person in each class, 1…5.
        size: Width and height, 1…299 pixels.
        quality: Of the JPEG files, 1…95; each person's camera lowers it by up to 20 points.
        seed: Random seed of the forgeries, the cameras and how images are cut; people don't change.
        people: ``main``, or ``elsewhere``: other people, for a set that no detector trained on.
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
        people: People = "main",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._folder = Path(filepath)
        self._settings: dict[str, Any] = {
            "people": people, "sources": sources, "images_per_source": images_per_source,
            "size": size, "quality": quality, "seed": seed,
        }  # fmt: skip
        self.metadata = metadata

    def load(self) -> Path:
        """The absolute path of the folder, which is made first where it or its settings changed.

        Raises:
            UserError: If a setting is out of range, or another folder is in its place.
        """
        self._check_settings()
        if not self._exists():
            if self._folder.exists() and not (self._folder / _MARKER).exists():
                raise UserError(
                    f"{self._folder} is not a folder of generated faces and is left alone. Move it "
                    "away, or change filepath of training_images in conf/demo/catalog.yml."
                )
            self._make()
        return self._folder.resolve()

    def _check_settings(self) -> None:
        people = self._settings["people"]
        if people not in MOST_SOURCES:
            known = " or ".join(MOST_SOURCES)
            raise UserError(f"people of generated faces is {people!r} and must be {known}")
        most = {
            "sources": MOST_SOURCES[people], "images_per_source": MOST_IMAGES,
            "size": LARGEST_SIZE, "quality": 95,
        }  # fmt: skip
        for name, highest in most.items():
            if not 1 <= self._settings[name] <= highest:
                raise UserError(
                    f"{name} of generated faces is {self._settings[name]} and must be 1 to "
                    f"{highest}, which is what the portraits of people: {people} can give"
                )

    def _make(self) -> None:
        started = perf_counter()
        prefix = f".{self._folder.name}-"
        with naming_disk_errors(self._folder):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(self._folder.parent, f"{prefix}*")
            beside = Path(tempfile.mkdtemp(prefix=prefix, dir=self._folder.parent))
            try:
                number = write_faces(beside, **self._settings)
                (beside / _MARKER).write_text(json.dumps(self._signature()), encoding="utf-8")
                beside.chmod(0o755)
                self._move_in(beside)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        log.info(
            "Made %d faces (drawings, not photographs) in %s in %.0f s",
            number, self._folder, perf_counter() - started,
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
        raise UserError(f"the generated faces in {self._folder} are only read, never written")

    def _signature(self) -> dict[str, Any]:
        return self._settings | {"version": FORGING_VERSION}

    def _exists(self) -> bool:
        try:
            marker = json.loads((self._folder / _MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(marker == self._signature())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder), **self._settings}
