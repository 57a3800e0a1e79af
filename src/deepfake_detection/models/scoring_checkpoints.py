"""Scores kept on disk while many images are scored, so that an interrupted run can resume."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deepfake_detection.models.scoring import Score

log = logging.getLogger(__name__)

# Part of the file name: raised when older scores can no longer be read.
_FORMAT = 1


@dataclass
class ScoringCheckpoint:
    """The scores of one scoring run: a file of JSON lines, one for each image.

    `scores` are those in the file, by path and stamp of the image.
    """

    path: Path
    scores: dict[tuple[str, str], Score] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                self.scores[row["path"], row["stamp"]] = Score(**row["score"])
            # an incomplete line: the process was killed while it wrote
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, path: str) -> Score | None:
        """Return the score of an image, if there is one and the file has not changed since."""
        return self.scores.get((path, stamp_of(path)))

    def keep(self, scores: Sequence[tuple[str, Score]]) -> None:
        """Append scores, each with the stamp of its file from before it was read."""
        lines = [
            json.dumps({"path": score.path, "stamp": stamp, "score": asdict(score)})
            for stamp, score in scores
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # the first newline ends an incomplete line
                file.write("\n" + "\n".join(lines) + "\n")
        except OSError as error:
            log.warning("Cannot write scores to %s (%s)", self.path, error.strerror)


@dataclass
class ScoringCheckpoints:
    """The folder of kept scores, a file for each unfinished scoring run."""

    folder: Path
    _used: set[Path] = field(default_factory=set)

    def open(self, fingerprint: str) -> ScoringCheckpoint:
        """Open the scores of one scoring run; `fingerprint` is of what its scores depend on."""
        path = self.folder / f"{fingerprint[:16]}-{_FORMAT}.jsonl"
        self._used.add(path)
        return ScoringCheckpoint(path)

    def remove_used(self) -> None:
        """Delete the files that were opened here, whose runs are finished."""
        for path in self._used:
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def stamp_of(path: str) -> str:
    """Size and modification time of a file; empty if it does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116  (os.stat takes names that are not valid text)
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"
