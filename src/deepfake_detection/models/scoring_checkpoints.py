"""Keep the scores of files on disk, so that an interrupted run can resume."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from deepfake_detection.models.scoring import Score
from deepfake_detection.models.video_scoring import VideoScore

log = logging.getLogger(__name__)

FileScore = Score | VideoScore
# Part of the name of a checkpoint: raised when older scores can no longer be read. 4: videos.
_FORMAT = 4
_READERS: dict[str, TypeAdapter[FileScore]] = {
    "picture": TypeAdapter(Score),
    "video": TypeAdapter(VideoScore),
}


@dataclass
class ScoringCheckpoint:
    """The scores of one scoring run: a file of lines, a checksum and JSON for each scored file.

    `scores` are those in it, by path and stamp of the scored file.
    """

    path: Path
    scores: dict[tuple[str, str], FileScore] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.path.is_file():
            return
        for line in self.path.read_bytes().split(b"\n"):
            checksum, _, text = line.partition(b" ")
            # an incomplete line, as the process was killed while it wrote, or a damaged one
            if checksum != _checksum(text):
                continue
            row = json.loads(text)
            score = _READERS[row["medium"]].validate_python(row["score"])
            self.scores[row["path"], row["stamp"]] = score

    def find(self, path: str) -> FileScore | None:
        """Return the score of a file, if there is one and the file has not changed since."""
        return self.scores.get((path, stamp_of(path)))

    def keep(self, scores: Sequence[tuple[str, FileScore]]) -> None:
        """Append scores, each with the stamp of its file from before it was read."""
        lines = [
            json.dumps(
                {
                    "path": score.path,
                    "stamp": stamp,
                    "medium": "video" if isinstance(score, VideoScore) else "picture",
                    "score": asdict(score),
                }
            ).encode()
            for stamp, score in scores
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # the first newline ends an incomplete line
                file.write(b"\n" + b"".join(b"%s %s\n" % (_checksum(each), each) for each in lines))
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


def _checksum(line: bytes) -> bytes:
    return hashlib.sha256(line).hexdigest()[:16].encode()


def stamp_of(path: str) -> str:
    """Size and modification time of a file; empty if it does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116  (os.stat takes names that are not valid text)
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"
