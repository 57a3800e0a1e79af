"""Face tracks: which faces of a video are the same person."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from deepfake_detection.faces.detection import Face, overlap

# Chosen frames in which a person may be missing before a new track starts
_MOST_MISSED = 3
# A face that moved farther than this, in widths of a face, is another one
_FARTHEST = 1.0
# Widths of one person's face between two chosen frames
_ZOOM = 1.5


class Tracker:
    """Assigns the faces of each frame to tracks, frame after frame.

    A face continues the track whose last face it overlaps most, or, where none overlaps, whose
    landmarks are nearest; the sum over all faces of a frame is optimal (Hungarian algorithm). Where
    there is one face and was one of about its size, it is the same person, wherever it is.
    """

    def __init__(self) -> None:
        self._last: list[tuple[Face, int]] = []  # of each track: its last face, and in which frame
        self._frame = -1

    def add(self, faces: Sequence[Face]) -> list[int]:
        """The track of each face of the next frame; tracks are numbered as they appear."""
        self._frame += 1
        tracks = [-1] * len(faces)
        active = [
            number for number, (_, seen) in enumerate(self._last)
            if self._frame - seen <= _MOST_MISSED + 1
        ]  # fmt: skip
        if faces and active:
            alike = np.array(
                [[_similarity(self._last[track][0], face) for track in active] for face in faces]
            )
            # a lone face that jumps is the same person: chosen frames may be far apart
            lone = alike.shape == (1, 1) and _of_one_size(self._last[active[0]][0], faces[0])
            for row, column in zip(*linear_sum_assignment(-alike), strict=True):
                if alike[row, column] > 0 or lone:
                    tracks[row] = active[column]
        for number, face in enumerate(faces):
            if tracks[number] < 0:
                tracks[number] = len(self._last)
                self._last.append((face, self._frame))
            self._last[tracks[number]] = (face, self._frame)
        return tracks


def _similarity(one: Face, other: Face) -> float:
    """In (0, 2] where two faces may be the same person; 0 where not.

    Above 1 they overlap; below, their landmarks are apart by less than a width of the faces.
    """
    if shared := overlap(one.box, other.box):
        return 1 + shared
    distance = np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean()
    return max(0.0, 1 - float(distance) / (_FARTHEST * (one.width + other.width) / 2))


def _of_one_size(one: Face, other: Face) -> bool:
    return max(one.width, other.width) <= _ZOOM * min(one.width, other.width)


def choose_largest(tracks: Sequence[int], faces: Sequence[Face]) -> int:
    """The track whose faces have the largest area in all, each weighted by its score.

    The score keeps the back of a head from winning over the face that it talks to.
    """
    areas = np.bincount(tracks, [face.score * face.width**2 for face in faces])
    return int(np.argmax(areas))
