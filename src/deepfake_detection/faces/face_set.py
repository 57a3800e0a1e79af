"""Faces of many files in a folder of crops, which the same command completes after an end."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

from deepfake_detection.atomic_write import atomic_write
from deepfake_detection.faces.cropping import CropRecipe, fingerprint_of
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.faces.extraction import extract_faces_of_file, read_record
from deepfake_detection.faces.processes import work_in_processes
from deepfake_detection.file_lock import only_once
from deepfake_detection.parameters import FaceExtractionParameters

log = logging.getLogger(__name__)

# Where no terminal shows the progress bar
_SECONDS_BETWEEN_LINES = 60
# Raise it when a change makes other crops out of the same files and parameters
_VERSION = 1
# They change no crop
_NOT_IN_FINGERPRINT = {"processes", "seconds_without_progress", "yunet"}


@dataclass(frozen=True)
class FaceSet:
    """A folder of crops that were made with the same parameters; other parameters, other folder."""

    folder: Path
    recipe: CropRecipe
    settings: FaceExtractionParameters

    @classmethod
    def open(cls, parent: Path, settings: FaceExtractionParameters) -> "FaceSet":
        """The set of these parameters in `parent`.

        Raises:
            UserError: If a package or the file of weights is missing.
        """
        weights = make_face_detector(settings).weights_sha256
        recipe = CropRecipe.of(settings, settings.crop, weights)
        chosen = settings.model_dump(exclude=_NOT_IN_FINGERPRINT) | {
            "weights": weights,
            "version": _VERSION,
        }
        return cls(parent / fingerprint_of(chosen)[:12], recipe, settings)

    def extract(self, folder: Path, files: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Extract the faces of files below `folder`; what an earlier call finished is kept.

        Gives each file with its record: medium (video, photograph), file_sha256, frames (searched),
        faces and lost. The records come in the order of `files`, after all were made.

        Raises:
            UserError: If another process works on this set, or the disk is full.
        """
        with only_once(self.folder / ".lock", "extracting faces"):
            recipe = self.recipe.model_dump_json(indent=2) + "\n"
            with atomic_write(self.folder / "recipe.json") as temporary:
                temporary.write_text(recipe, encoding="utf-8")
            failed = self._make(folder, files)
            for file in files:
                record = read_record(folder / file, self.folder / file)
                reason = failed.get(file, "the file changed while it was read")
                yield file, record or _failed(reason)

    def _make(self, folder: Path, files: Sequence[str]) -> dict[str, str]:
        """Make the records that are missing; the files that failed, with their reasons."""
        missing = [file for file in files if read_record(folder / file, self.folder / file) is None]
        cores = joblib.cpu_count()
        processes = min(self.settings.processes or cores, len(missing))
        if done := len(files) - len(missing):
            log.info(
                "Faces of %s of %s files were extracted before", f"{done:,}", f"{len(files):,}"
            )
        if not missing:
            return {}
        threads = max(1, cores // processes)
        prepare = partial(_Extraction, folder, self.folder, self.settings, threads)
        failed: dict[str, str] = {}
        with_faces = lost = 0
        last_said = time.monotonic()
        with tqdm(
            total=len(files), initial=len(files) - len(missing), desc="Extracting faces",
            unit="file", disable=None, leave=False,
        ) as bar:  # fmt: skip
            for file, reason in work_in_processes(
                prepare, missing, processes=processes,
                seconds_without_progress=self.settings.seconds_without_progress,
            ):  # fmt: skip
                if reason is not None:
                    failed[file] = reason
                record = read_record(folder / file, self.folder / file)
                found = bool(record and record["faces"])
                with_faces, lost = with_faces + found, lost + (not found)
                bar.set_postfix_str(f"{with_faces} with faces, {lost} lost", refresh=False)
                bar.update()
                if bar.disable and time.monotonic() > last_said + _SECONDS_BETWEEN_LINES:
                    last_said = time.monotonic()
                    log.info(
                        "Extracting faces: %s of %s files have faces, %s are lost, %s are left",
                        with_faces, len(missing), lost, len(missing) - with_faces - lost,
                    )  # fmt: skip
        return failed


class _Extraction:
    """The work of one process."""

    def __init__(
        self, folder: Path, target: Path, settings: FaceExtractionParameters, threads: int
    ) -> None:
        self._folder, self._target, self._settings = folder, target, settings
        self._threads, self._detector = threads, make_face_detector(settings, threads)

    def __call__(self, file: str, report_progress: Any) -> None:
        extract_faces_of_file(
            self._folder / file, self._target / file, self._settings, self._detector,
            threads=self._threads, report_progress=report_progress,
        )  # fmt: skip


def _failed(reason: str) -> dict[str, Any]:
    lost = [{"frame": None, "seconds": None, "reason": reason}]
    return {"medium": None, "file_sha256": None, "frames": 0, "faces": [], "lost": lost}
