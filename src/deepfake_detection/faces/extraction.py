"""The faces of one file, a video or a photograph, as crops with a record."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepfake_detection.atomic_write import atomic_write, naming_disk_errors
from deepfake_detection.faces import video
from deepfake_detection.faces.cropping import cut_crop, encode_crop, file_ending
from deepfake_detection.faces.detection import Face, FaceDetector
from deepfake_detection.faces.finding import find_large_faces
from deepfake_detection.faces.tracking import Tracker, choose_largest
from deepfake_detection.faces.video import Frame, UnreadableVideoError
from deepfake_detection.images.files import is_video
from deepfake_detection.images.reading import (
    MissingReaderError,
    TooManyPixelsError,
    UnreadablePictureError,
    read_picture,
)
from deepfake_detection.parameters import FaceExtractionParameters

RECORD = ".faces.json"
_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class FoundFace:
    """A face of a frame, and the file of its crop until the track is chosen."""

    frame: Frame
    face: Face
    track: int
    crop: Path
    sha256: str  # of the crop


@dataclass
class _Findings:
    faces: list[FoundFace] = field(default_factory=list)
    lost: list[dict[str, Any]] = field(default_factory=list)
    frames: int = 0

    def lose(self, frame: Frame | None, reason: str) -> None:
        number, seconds = (frame.number, frame.seconds) if frame else (None, None)
        self.lost.append({"frame": number, "seconds": seconds, "reason": reason})


def extract_faces_of_file(
    path: Path,
    target: Path,
    settings: FaceExtractionParameters,
    detector: FaceDetector,
    *,
    threads: int = 1,
    report_progress: Callable[[], None] = lambda: None,
) -> None:
    """Cut the faces out of a file into the folder `target`, which is made anew.

    The file `RECORD` in it, written last, has what was found: `read_record` reads it.

    Args:
        path: A video or a photograph.
        target: Of the crops, named after their frame; with `tracks: all`, a folder for each track.
        settings: Block `face_extraction`.
        detector: Made by `make_face_detector` from the same settings.
        threads: That decode the video.
        report_progress: Called after each frame.
    """
    findings = _Findings()
    with naming_disk_errors(target):
        shutil.rmtree(target, ignore_errors=True)
        (target / _UNFINISHED).mkdir(parents=True)
    record: dict[str, Any] = {"medium": None, "file_sha256": None}
    try:
        status = path.stat()
        record |= _describe_file(path, status)
        record["file_sha256"] = video.hash_file(path)
        report_progress()
        record["medium"], frames = _open(path, settings, findings, threads)
        _find_faces(frames, target / _UNFINISHED, settings, detector, findings, report_progress)
    # other errors, as of a disk or of a process that has ended, are not of the file: no record
    except (UnreadablePictureError, UnreadableVideoError) as error:
        findings.lose(None, str(error))
    with naming_disk_errors(target):
        record["faces"] = _keep_tracks(findings, target, settings)
        record |= {"frames": findings.frames, "lost": findings.lost}
        shutil.rmtree(target / _UNFINISHED)
        with atomic_write(target / RECORD) as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")


def _open(
    path: Path, settings: FaceExtractionParameters, findings: _Findings, threads: int
) -> tuple[str, Iterator[Frame]]:
    """Whether a file is a video or a photograph, and its chosen frames."""
    not_a_picture = None
    if not is_video(path.name):
        try:
            return "photograph", iter([Frame(0, 0.0, read_picture(path, settings.max_pixels))])
        except (TooManyPixelsError, MissingReaderError):
            raise
        except UnreadablePictureError as error:
            not_a_picture = error
    try:
        return "video", _choose_frames(path, settings, findings, threads)
    except UnreadableVideoError as error:
        raise not_a_picture or error from None


def _choose_frames(
    path: Path, settings: FaceExtractionParameters, findings: _Findings, threads: int
) -> Iterator[Frame]:
    timeline = video.read_timeline(path, settings.max_pixels)
    if timeline.complaint:
        findings.lose(None, timeline.complaint)
    wanted = video.choose_frames(timeline, settings.frames_per_video, settings.every_seconds)
    return video.read_frames(path, timeline, wanted, settings.max_pixels, threads)


def _find_faces(
    frames: Iterator[Frame],
    folder: Path,
    settings: FaceExtractionParameters,
    detector: FaceDetector,
    findings: _Findings,
    report_progress: Callable[[], None],
) -> None:
    """Find, track and cut the faces of each frame; crops are written at once, memory stays flat."""
    tracker = Tracker()
    for frame in frames:
        report_progress()
        if frame.image is None:
            findings.lose(frame, frame.reason or "")
            continue
        findings.frames += 1
        large, reason = find_large_faces(detector, frame.image, settings.min_size)
        if reason:
            findings.lose(frame, reason)
        for number, (face, track) in enumerate(zip(large, tracker.add(large), strict=True)):
            content = encode_crop(cut_crop(frame.image, face, settings.crop), settings.crop)
            crop = folder / f"{frame.number:06}_{number}"
            with naming_disk_errors(crop):
                crop.write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            findings.faces.append(
                FoundFace(Frame(frame.number, frame.seconds), face, track, crop, sha256)
            )


def _keep_tracks(
    findings: _Findings, target: Path, settings: FaceExtractionParameters
) -> list[dict[str, Any]]:
    """Move the crops of the chosen tracks to their places: a row for each."""
    if not findings.faces:
        if findings.frames:
            findings.lose(None, f"no face in {findings.frames} frames")
        return []
    kept = findings.faces
    if settings.tracks == "largest":
        track = choose_largest([each.track for each in kept], [each.face for each in kept])
        with_faces = {each.frame.number: each.frame for each in kept}
        kept = [each for each in kept if each.track == track]
        for number in with_faces.keys() - {each.frame.number for each in kept}:
            findings.lose(with_faces[number], "no face of the largest track")
    rows = []
    for each in kept:
        inside = Path(f"{each.frame.number:06}{file_ending(settings.crop)}")
        if settings.tracks == "all":
            inside = Path(f"track_{each.track:02}") / inside
        (target / inside).parent.mkdir(exist_ok=True)
        each.crop.rename(target / inside)
        left, top, right, bottom = (round(float(edge), 2) for edge in each.face.box)
        rows.append({
            "crop": inside.as_posix(), "sha256": each.sha256,
            "frame": each.frame.number, "seconds": round(each.frame.seconds, 6),
            "track": each.track, "left": left, "top": top, "right": right, "bottom": bottom,
            "landmarks": [round(float(value), 2) for value in each.face.landmarks.ravel()],
            "score": round(each.face.score, 4), "face_pixels": round(each.face.width),
        })  # fmt: skip
    return rows


def _describe_file(path: Path, status: os.stat_result) -> dict[str, Any]:
    """What tells a file from others, and from what it was before."""
    at = os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")
    return {"file": at, "bytes": status.st_size, "modified": status.st_mtime_ns}


def read_record(path: Path, target: Path) -> dict[str, Any] | None:
    """What was found in a file; None if it is not in `target`, whole, for the file as it is now."""
    try:
        record: dict[str, Any] = json.loads((target / RECORD).read_text(encoding="utf-8"))
        status = path.stat()
        described = _describe_file(path, status)
        if {name: record.get(name) for name in described} != described:
            return None
        whole = all((target / row["crop"]).stat().st_size > 0 for row in record["faces"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if whole else None
