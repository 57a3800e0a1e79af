"""Scores that are kept while many pictures are being scored, to go on after an interruption."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deepfake_detection.models.scoring import Score

log = logging.getLogger(__name__)

# Raised when scores that were kept could not be taken up.
_FORMAT = 1


@dataclass
class ScoringCheckpoint:
    """The scores of one detector in one place, one line for each picture.

    Attributes:
        path: Of the file.
        scores: What is in it, by path and stamp of the picture.
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
            # a kill while it was written
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, path: str) -> Score | None:
        """The score of a picture, if it has one and its file is what it was."""
        return self.scores.get((path, stamp_of(path)))

    def keep(self, scores: Sequence[tuple[str, Score]]) -> None:
        """Add scores, each with the stamp that its file had before it was read."""
        lines = [
            json.dumps({"path": score.path, "stamp": stamp, "score": asdict(score)})
            for stamp, score in scores
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # a line that a kill cut off ends here
                file.write("\n" + "\n".join(lines) + "\n")
        except OSError as error:
            log.warning("Scores cannot be kept in %s (%s)", self.path, error.strerror)


@dataclass
class ScoringCheckpoints:
    """The folder of scores that are kept, a file for each detector and place that is unfinished."""

    folder: Path
    _used: set[Path] = field(default_factory=set)

    def open(self, fingerprint: str) -> ScoringCheckpoint:
        """The scores of one detector, with its settings, in one place."""
        path = self.folder / f"{fingerprint[:16]}-{_FORMAT}.jsonl"
        self._used.add(path)
        return ScoringCheckpoint(path)

    def remove_used(self) -> None:
        """Remove what is finished: all that was opened here."""
        for path in self._used:
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def stamp_of(path: str) -> str:
    """Size and time of change of a file; empty if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  (also of a name that is no text)
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"
