"""Properties of picture files that have nothing to do with faces: the file's, and of its pixels."""

import hashlib
import io
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageStat
from PIL.JpegImagePlugin import get_sampling
from scipy.fft import idctn

from deepfake_detection.images.parallel import map_in_processes
from deepfake_detection.images.reading import (
    UnreadablePictureError,
    open_picture,
    pillow_errors,
    read_content,
    readable_types,
)

Luma = np.ndarray[Any, np.dtype[np.float32]]

# Of the file, and how it was made. Text is a category; the others are numbers, NaN where unknown.
# Bytes come last, since they follow from the others: of equally bad ones, the first is named
FILE_PROPERTIES = (
    "format", "mode", "size", "proportions", "quality", "tables", "metadata", "icc", "border",
    "bytes", "bytes_per_pixel",
)  # fmt: skip
# Of the pixels; a forgery may change them too
PIXEL_STATISTICS = ("red", "green", "blue", "noise", "blockiness", "double_compression")
_NONE = "none"
# Of the colours, as Pillow numbers them
_SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
# Pixels of each side, from the centre, on which the slower statistics are taken; a multiple of 8
_SIDE = 256
# Standard deviation of luma along a line of the border at most, of 255; the most of a side it takes
_FLAT, _MOST_BORDER = 6.0, 0.25
# Coefficients of the DCT that are looked at, and their histogram, in steps of the table
_COEFFICIENTS, _STEPS = ((0, 1), (1, 0), (1, 1)), 32
_BASIS = np.stack(
    [idctn(np.eye(64)[8 * row + column].reshape(8, 8), norm="ortho").ravel()
     for row, column in _COEFFICIENTS], axis=1, dtype=np.float32, casting="same_kind",
)  # fmt: skip
# The luminance table of the JPEG standard (ITU-T T.81, table K.1), which libjpeg scales by quality
_LUMINANCE = np.array(
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
        14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
        18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
        49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ]
)  # fmt: skip


def read_properties(folder: Path, paths: Sequence[str]) -> pd.DataFrame:
    """Read the properties of each file in several processes.

    Returns:
        A row for each file that can be read: path, `FILE_PROPERTIES` (size: width × height in
        pixels; border: pixels at all four sides; quality 1 to 100) and `PIXEL_STATISTICS`.
    """
    measure = partial(_measure_file, folder)
    rows = map_in_processes(measure, paths, description="File properties", total=len(paths))
    columns = ["path", *FILE_PROPERTIES, *PIXEL_STATISTICS]
    return pd.DataFrame([row for row in rows if row is not None], columns=columns)


def _measure_file(folder: Path, path: str) -> dict[str, Any] | None:
    try:
        content = read_content(folder / path)
        image = open_picture(content)
        header = _read_header(content)
    except UnreadablePictureError:
        return None
    pixels = image.width * image.height
    luma = np.asarray(image.convert("L"), dtype=np.float32)
    red, green, blue = ImageStat.Stat(image).mean
    steps, centre = header.pop("steps"), _centre(luma)
    return {
        "path": path,
        **header,
        "size": float(pixels),
        "proportions": image.width / image.height,
        "bytes": float(len(content)),
        "bytes_per_pixel": len(content) / pixels,
        "border": float(measure_border(luma)),
        "red": red,
        "green": green,
        "blue": blue,
        "noise": measure_noise(centre),
        "blockiness": measure_blockiness(centre),
        "double_compression": math.nan if steps is None else measure_gaps(centre, steps),
    }


def _read_header(content: bytes) -> dict[str, Any]:
    """What the file says of itself; `steps`: its luminance table, [8, 8], or None."""
    with pillow_errors(), Image.open(io.BytesIO(content), formats=readable_types()) as image:
        header = {"format": str(image.format), "mode": image.mode, "quality": math.nan}
        header |= {"tables": _NONE, "steps": None}
        tables = getattr(image, "quantization", None)
        if tables:
            first = np.array(tables[min(tables)], dtype=np.int64)
            digest = hashlib.sha256(repr(sorted(tables.items())).encode()).hexdigest()[:8]
            scans = " progressive" if image.info.get("progressive") else ""
            quality, sampling = estimate_quality(first), _SAMPLINGS.get(get_sampling(image), "")
            header["tables"] = f"{quality} {sampling}{scans} {digest}"
            header |= {"quality": float(quality), "steps": first.reshape(8, 8)}
        profile = image.info.get("icc_profile")
        header["icc"] = hashlib.sha256(profile).hexdigest()[:8] if profile else _NONE
        header["metadata"] = _list_metadata(image)
        return header


def _list_metadata(image: Image.Image) -> str:
    """Numbers of the EXIF tags, names of other metadata, and the density in dots per inch."""
    try:
        tags = [str(tag) for tag in sorted(image.getexif())]
    # Pillow raises errors of many kinds for damaged EXIF data
    except Exception:
        tags = ["damaged"]
    # those of the coding stand elsewhere
    left = {"exif", "icc_profile", "progressive", "progression", "jfif_version"}
    names = sorted(str(name) for name in image.info.keys() - left)
    density = [f"dpi={image.info['dpi']}"] if "dpi" in image.info else []
    return " ".join([*tags, *names, *density]) or _NONE


def estimate_quality(table: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    """The quality, 1 to 100, whose luminance table by libjpeg's formula is the nearest."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    made = ((_LUMINANCE * scale[:, None] + 50) // 100).clip(1, 255)
    # sorted, since programs differ in the order that they give
    distance = np.abs(np.sort(made, axis=1) - np.sort(table.ravel())).sum(axis=1)
    return int(quality[distance.argmin()])


def _centre(luma: Luma) -> Luma:
    """The centre, cut along the grid of 8×8 blocks."""
    top, left = (max(0, side - _SIDE) // 16 * 8 for side in luma.shape)
    return luma[top : top + _SIDE, left : left + _SIDE]


def measure_border(luma: Luma) -> int:
    """Pixels of flat lines along all four edges together, at most a quarter of each side."""
    found = 0
    for lines in (luma, luma[::-1], luma.T, luma.T[::-1]):
        flat = lines[: max(1, int(_MOST_BORDER * len(lines)))].std(axis=1) <= _FLAT
        found += len(flat) if flat.all() else int(flat.argmin())
    return found


def measure_noise(luma: Luma) -> float:
    """Standard deviation of the noise, of 255 (Immerkær 1996)."""
    if min(luma.shape) < 3:
        return math.nan
    second = np.diff(np.diff(luma, n=2, axis=0), n=2, axis=1)
    return float(np.abs(second).mean()) * math.sqrt(math.pi / 2) / 6


def measure_blockiness(luma: Luma) -> float:
    """Steps across the edges of 8×8 blocks over those inside, as a logarithm (Wang et al. 2000)."""
    if min(luma.shape) < 17:
        return math.nan
    across = inside = 0.0
    for lines in (luma, luma.T):
        steps = np.abs(np.diff(lines, axis=0)).mean(axis=1)
        at_edge = np.arange(len(steps)) % 8 == 7
        across, inside = across + steps[at_edge].mean(), inside + steps[~at_edge].mean()
    # a picture of one colour has no steps
    return math.log((across + 0.01) / (inside + 0.01))


def measure_gaps(luma: Luma, steps: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Traces of a second JPEG compression, 0 to 1: periodic gaps in histograms of DCT coefficients.

    The highest peak of the histogram's spectrum above what comes before it (Popescu & Farid 2004).
    `steps`: the luminance table, [8, 8].
    """
    rows, columns = (side // 8 * 8 for side in luma.shape)
    if not rows or not columns:
        return math.nan
    blocks = luma[:rows, :columns].reshape(rows // 8, 8, columns // 8, 8).swapaxes(1, 2)
    coefficients = blocks.reshape(-1, 64) @ _BASIS
    peaks = []
    for at, place in enumerate(_COEFFICIENTS):
        levels = np.rint(coefficients[:, at] / steps[place])
        levels = levels[(np.abs(levels) <= _STEPS) & (levels != 0)].astype(np.int64)
        spectrum = np.abs(np.fft.rfft(np.bincount(levels + _STEPS, minlength=2 * _STEPS + 1)))
        spectrum /= max(1.0, spectrum[0])
        peaks.append(float((spectrum - np.minimum.accumulate(spectrum)).max()))
    return max(peaks)
