"""Score a video by the faces of chosen frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import joblib
import pandas as pd

from deepfake_detection.faces import video
from deepfake_detection.faces.finding import describe_absence_in_video
from deepfake_detection.faces.tracking import Tracker
from deepfake_detection.images.prefetch import batched, prefetch
from deepfake_detection.models.devices import keeping_memory
from deepfake_detection.models.image_inputs import PreparedImage, prepare_image
from deepfake_detection.models.scoring import (
    NO_NUMBER,
    TRAINED_ON_IT,
    FaceScore,
    Output,
    judge,
    score_face,
    score_faces,
    score_pixels,
)
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.models.verdicts import UNLIKE, Doubt, Verdict, rank

if TYPE_CHECKING:
    from deepfake_detection.faces.finding import FaceFinder
    from deepfake_detection.models.detector import Detector
    from deepfake_detection.models.forward import Forward
    from deepfake_detection.parameters import PreprocessingParameters

# Pixels of a frame, width × height: 8K video has 33 million
LARGEST_FRAME = 50_000_000
# The score of a video is that of a track with at least this share of the longest track's frames:
# a poster or a pattern that is taken for a face once says nothing
_SHARE_OF_LONGEST = 0.25


Source = TypeVar("Source", bound=Hashable)


@dataclass(frozen=True)
class FrameScore:
    """A face in a frame."""

    number: int  # of the frame, in the order of display, from 0
    seconds: float  # after the first frame
    face: FaceScore


@dataclass(frozen=True)
class TrackScore:
    """One person's faces; the score is made of those of the frames by the detector's own rule."""

    number: int  # from 0, in the order of appearance
    fake_probability: float
    verdict: Verdict
    logit: float
    frames: tuple[FrameScore, ...]
    doubt: Doubt | None = None
    unlikeness: float | None = None  # the median of its frames


@dataclass(frozen=True)
class VideoScore:
    """The score of a video: that of one face track.

    That track is a fake one, else an unsure one, else a real one; of several the most fake. A
    track with less than a quarter of the longest track's frames has a score, but does not count.

    Attributes:
        path: As it was given.
        fake_probability: In [0, 1]; NaN if there is an error.
        verdict: `fake` if the probability is at least the threshold, `unsure` if there is a doubt;
            None if there is an error.
        logit: Fake minus real, before the temperature; NaN if there is an error.
        searched: Number of frames that were decoded and searched.
        tracks: In the order of appearance.
        lost: Seconds (None: of the whole file) and reason of each frame that gave no face.
        warning: Why the score is doubtful.
        error: Why there is no verdict.
        doubt: As that of `FaceScore`, and so is `unlikeness`.
    """

    path: str
    fake_probability: float
    verdict: Verdict | None
    threshold: float
    logit: float
    searched: int
    tracks: tuple[TrackScore, ...]
    lost: tuple[tuple[float | None, str], ...]
    warning: str | None
    error: str | None
    doubt: Doubt | None = None
    unlikeness: float | None = None


@dataclass
class _Search:
    """The faces of a video's frames, and what was lost on the way."""

    searched: int = 0
    lost: list[tuple[float | None, str]] = field(default_factory=list)
    beyond_limits: str | None = None  # why a frame with faces was lost

    def find(
        self, chosen: video.ChosenFrames, detector: Detector, find_faces: FaceFinder | None
    ) -> Iterator[tuple[video.Frame, PreparedImage, list[int]]]:
        """Frames with their faces, and the track of each; a frame given whole is track 0."""
        if chosen.complaint:
            self.lost.append((None, chosen.complaint))
        tracker = Tracker()
        prepare = partial(
            _prepare_frame, preprocessing=detector.preprocessing, find_faces=find_faces
        )
        # faces are found in threads, and tracked in the order of display
        for frame, found in prefetch(prepare, chosen.frames, threads=joblib.cpu_count()):
            if found is None:
                self.lost.append((frame.seconds, frame.reason or ""))
                continue
            self.searched += 1
            if found.error is not None:
                self.lost.append((frame.seconds, found.error))
                if found.rejected:
                    self.beyond_limits = found.error
            tracks = tracker.add(found.faces)
            yield frame, found, tracks or [0] * len(found.pixels)

    def score(
        self,
        detector: Detector,
        frame: video.Frame,
        found: PreparedImage,
        tracks: list[int],
        outputs: list[Output],
    ) -> list[tuple[int, FrameScore]]:
        """The faces of a frame, each with its track; none if the network gives no number."""
        if not all(math.isfinite(output.logit) for output in outputs):
            self.lost.append((frame.seconds, NO_NUMBER))
            return []
        faces = score_faces(detector, found, outputs) if found.faces else ()
        if found.size and not faces:
            width, height = found.size
            side = float(min(found.size))
            box = (0.0, 0.0, width, height)
            faces = tuple(score_face(detector, box, side, output) for output in outputs)
        return [
            (track, FrameScore(frame.number, frame.seconds, face))
            for track, face in zip(tracks, faces, strict=True)
        ]


def _prepare_frame(
    frame: video.Frame, preprocessing: PreprocessingParameters, find_faces: FaceFinder | None
) -> tuple[video.Frame, PreparedImage | None]:
    """The frame without its image, and its faces; None if it could not be decoded."""
    if frame.image is None:
        return frame, None
    found = prepare_image(frame.image, preprocessing, find_faces=find_faces, look=False)
    return replace(frame, image=None), found


def score_video(
    detector: Detector,
    forward: Forward,
    path: str,
    open_frames: Callable[[], video.ChosenFrames],
    batch_size: int,
    find_faces: FaceFinder | None,
) -> VideoScore:
    """Score a video, in memory that its length does not change; see `Detector.score_video`.

    `open_frames` gives the frames to score; an `UnreadableVideoError` of it, or of the frames, is
    the score's `error`. With `find_faces` None, each frame is a crop of one face.
    """
    search = _Search()
    rows: list[tuple[int, FrameScore]] = []
    try:
        with keeping_memory(forward.device):
            found = search.find(open_frames(), detector, find_faces)
            for batch in batched(found, batch_size):
                pixels = [each for _, image, _ in batch for each in image.pixels]
                outputs = score_pixels(forward, pixels, batch_size)
                for frame, image, tracks in batch:
                    rows += search.score(
                        detector, frame, image, tracks, [*islice(outputs, len(tracks))]
                    )
    except video.UnreadableVideoError as error:
        return _without_verdict(detector, path, search, str(error))
    if not rows:
        reason = "no whole frame"
        if search.searched:
            reason = describe_absence_in_video(search.searched, search.beyond_limits)
        return _without_verdict(detector, path, search, reason)
    return _make_score(detector, path, search, rows)


def _make_score(
    detector: Detector, path: str, search: _Search, rows: list[tuple[int, FrameScore]]
) -> VideoScore:
    card = detector.card
    by_track: dict[int, list[FrameScore]] = {}
    for track, frame in rows:
        by_track.setdefault(track, []).append(frame)
    scores = judge_sources(detector, [(track, frame.face) for track, frame in rows])
    tracks = tuple(
        TrackScore(
            number, score.fake_probability, score.verdict, score.logit, tuple(by_track[number]),
            score.doubt, score.unlikeness,
        )
        for number, score in sorted(scores.items())
    )  # fmt: skip
    chosen = choose_decisive(list(scores.values()))
    known = any(frame.face.warning for _, frame in rows)
    return VideoScore(
        path, chosen.fake_probability, chosen.verdict, card.threshold, chosen.logit,
        search.searched, tracks, tuple(search.lost), TRAINED_ON_IT if known else None, None,
        chosen.doubt, chosen.unlikeness,
    )  # fmt: skip


class SourceJudgement(NamedTuple):
    """The score of a source (a face track) by those of its faces; fields as of `TrackScore`."""

    faces: int
    logit: float
    fake_probability: float
    verdict: Verdict
    doubt: Doubt | None
    unlikeness: float | None


def judge_sources(
    detector: Detector, faces: Sequence[tuple[Source, FaceScore]]
) -> dict[Source, SourceJudgement]:
    """The score of each source by the detector's own rule, in the order of their first faces.

    A source is unlike training if at least half of its faces are.
    """
    card = detector.card
    logits = (
        SourceScore.of(card.calibration)
        .combine(
            pd.Series([face.logit for _, face in faces], dtype=float),
            pd.Series([source for source, _ in faces], dtype=object),
            card.temperature,
        )
        .to_dict()
    )
    by_source: dict[Source, list[FaceScore]] = {}
    for source, face in faces:
        by_source.setdefault(source, []).append(face)
    judgements: dict[Source, SourceJudgement] = {}
    for source, own in by_source.items():
        logit = logits[source]
        probability, verdict, doubt, _ = judge(detector, logit, math.nan)
        if 2 * sum(face.doubt == UNLIKE for face in own) >= len(own):
            verdict, doubt = "unsure", UNLIKE
        known = [face.unlikeness for face in own if face.unlikeness is not None]
        judgements[source] = SourceJudgement(
            len(own), logit, probability, verdict, doubt, median(known) if known else None
        )
    return judgements


def choose_decisive(tracks: Sequence[SourceJudgement]) -> SourceJudgement:
    """The track whose score is that of the video, see `VideoScore`."""
    longest = max(track.faces for track in tracks)
    counting = [track for track in tracks if track.faces >= _SHARE_OF_LONGEST * longest]
    return max(counting, key=lambda track: rank(track.verdict, track.logit))


def _without_verdict(detector: Detector, path: str, search: _Search, error: str) -> VideoScore:
    threshold, lost = detector.card.threshold, tuple(search.lost)
    return VideoScore(
        path, math.nan, None, threshold, math.nan, search.searched, (), lost, None, error
    )
