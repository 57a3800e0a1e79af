"""How much the page takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What bounds the memory and the time that pictures can take.

    Attributes:
        max_bytes: Of one picture's file.
        max_pixels: Width × height of one picture.
        max_waiting: Pictures that are being sent, wait or are scored at the same time; further
            ones are turned away.
        upload_seconds: In which a picture has to arrive.
    """

    max_bytes: int
    max_pixels: int
    max_waiting: int
    upload_seconds: float
