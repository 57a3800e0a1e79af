"""The pixels that a face is drawn on, and their coordinates relative to the face."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawing.identity import Colour, Moment

Floats = NDArray[np.floating[Any]]  # float32 throughout
Window = tuple[slice, slice]

HEAD_HEIGHT = 1.36  # face units from between the eyes to the crown or the chin, roughly


def soft(distance: Floats, width: float) -> Floats:
    """0 where distance is below -width / 2, 1 above width / 2, linear in between."""
    ramp = distance * np.float32(1 / width)
    ramp += np.float32(0.5)
    return np.clip(ramp, 0, 1, out=ramp)


def bump(across: Floats, along: Floats, width: float, height: float) -> Floats:
    """A Gaussian hill of height 1 with the given standard deviations times sqrt(2)."""
    a = across * np.float32(1 / width)
    b = along * np.float32(1 / height)
    a *= a
    b *= b
    a += b
    np.negative(a, out=a)
    return np.exp(a, out=a)


def resized(
    field: Floats, shape: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Floats:
    """A smooth field at another resolution (bicubic, antialiased).

    The shape is rows, columns; the box (left, top, right, bottom) is the part of the field to take.
    """
    across = (shape[1], shape[0])
    image = Image.fromarray(field).resize(across, Image.Resampling.BICUBIC, box=box)
    return np.asarray(image, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class View:
    """The pixel grid in face units, for one pose.

    ``x`` and ``y`` follow the outline of the head, as do ``angle`` (radians from the right,
    downwards positive) and ``radius``. ``u`` and ``v`` follow its features: a turn of the head
    moves a feature the more, the nearer it is to the camera. All are float32 and have the grid's
    shape, or the shape of the window that starts at row ``top`` and column ``left``.
    """

    moment: Moment
    grid: int
    top: int
    left: int
    pixel: float  # face units
    x: Floats
    y: Floats
    angle: Floats
    radius: Floats
    u: Floats
    v: Floats

    @classmethod
    def of(cls, moment: Moment, grid: int) -> "View":
        """The view of an image with that many rows and columns."""
        centres = (np.arange(grid, dtype=np.float32) + np.float32(0.5)) / np.float32(grid)
        across = ((centres - np.float32(moment.x)) / np.float32(moment.scale))[None, :]
        down = ((centres - np.float32(moment.y)) / np.float32(moment.scale))[:, None]
        cos, sin = np.float32(np.cos(moment.roll)), np.float32(np.sin(moment.roll))
        x = cos * across + sin * down
        y = cos * down - sin * across
        near = nearness(x, y)
        u = x - np.float32(moment.yaw) * near
        v = y - np.float32(moment.pitch) * near
        pixel = 1 / (grid * moment.scale)
        return cls(moment, grid, 0, 0, pixel, x, y, np.arctan2(y, x), np.hypot(x, y), u, v)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.x.shape[0], self.x.shape[1]

    def cropped(self, window: Window) -> "View":
        """The part of the view inside a window."""
        fields = (self.x, self.y, self.angle, self.radius, self.u, self.v)
        x, y, angle, radius, u, v = (np.ascontiguousarray(field[window]) for field in fields)
        top, left = self.top + window[0].start, self.left + window[1].start
        return View(self.moment, self.grid, top, left, self.pixel, x, y, angle, radius, u, v)

    def window(self, u: float, v: float, half_width: float, half_height: float) -> Window:
        """The slices of this view that hold a region of the face, with a margin for turns."""
        near = max(0.0, 1 - u * u - (v / HEAD_HEIGHT) ** 2)
        x, y = u + self.moment.yaw * near, v + self.moment.pitch * near
        cos, sin = float(np.cos(self.moment.roll)), float(np.sin(self.moment.roll))
        grid = self.grid
        column = (self.moment.x + self.moment.scale * (cos * x - sin * y)) * grid - self.left
        row = (self.moment.y + self.moment.scale * (sin * x + cos * y)) * grid - self.top
        turn = abs(sin)
        wide = (half_width + turn * half_height + 0.06) * self.moment.scale * grid
        high = (half_height + turn * half_width + 0.06) * self.moment.scale * grid
        height, width = self.shape
        rows = slice(max(0, int(row - high)), max(0, min(height, int(row + high) + 2)))
        columns = slice(max(0, int(column - wide)), max(0, min(width, int(column + wide) + 2)))
        return rows, columns


def nearness(x: Floats, y: Floats) -> Floats:
    """Nearness to the camera: 1 in the middle of the head, 0 at its outline and beyond."""
    near = x * x
    near += np.square(y * np.float32(1 / HEAD_HEIGHT))
    np.subtract(np.float32(1), near, out=near)
    return np.maximum(near, 0, out=near)


class Canvas:
    """Pixels under a view: ``rgb`` has shape [3, rows, columns], float32, about [0, 1]."""

    def __init__(self, view: View, rgb: Floats) -> None:
        self.view = view
        self.rgb = rgb

    def paint(self, colour: Colour | Floats, mask: Floats, window: Window | None = None) -> None:
        """Blend a colour over the pixels with the mask as opacity, within a window if given."""
        for channel in range(3):
            plane = self.rgb[channel] if window is None else self.rgb[channel][window]
            plane += mask * (colour[channel] - plane)

    def multiply(self, colour: Colour, mask: Floats, window: Window | None = None) -> None:
        """Tint or darken the pixels where the mask is."""
        for channel in range(3):
            plane = self.rgb[channel] if window is None else self.rgb[channel][window]
            plane *= 1 + mask * np.float32(colour[channel] - 1)

    def add(self, colour: Colour, mask: Floats, window: Window | None = None) -> None:
        """Add light where the mask is."""
        for channel in range(3):
            plane = self.rgb[channel] if window is None else self.rgb[channel][window]
            plane += mask * np.float32(colour[channel])


class Strands:
    """Smooth random numbers along a line, for the lightness of hairs, threads and creases."""

    def __init__(self, seed: int, smoothness: float) -> None:
        self._table = _strand_table(seed, smoothness)

    def at(self, position: Floats, frequency: float) -> Floats:
        """Values of mean 0 and standard deviation 1 at a position of any shape."""
        index = (position * np.float32(frequency)).astype(np.int32)
        index &= 4095
        return np.take(self._table, index)


@lru_cache(maxsize=32)
def _strand_table(seed: int, smoothness: float) -> Floats:
    noise = np.random.default_rng(seed).standard_normal(4096).astype(np.float32)
    reach = np.arange(-8, 9, dtype=np.float32)
    kernel = np.exp(-np.square(reach / np.float32(smoothness)) / 2)
    smoothed = np.convolve(np.concatenate([noise[-8:], noise, noise[:8]]), kernel, "valid")
    table: Floats = (smoothed / smoothed.std()).astype(np.float32)
    return table


@lru_cache(maxsize=32)
def _noise(seed: int, cells: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((cells, cells), dtype=np.float32)


def mottle(seed: int, cells: int, view: View) -> Floats:
    """Cloudy noise of mean 0 and standard deviation about 1 that moves with the face.

    Cells is the number of clouds along the whole image; the result has the view's shape.
    """
    margin = max(2, cells // 8)
    noise = _noise(seed, cells + 2 * margin)
    rows, columns = view.shape
    cell = cells / view.grid  # along one pixel
    left = min(max((0.5 - view.moment.x) * cells + margin, 0.0), 2.0 * margin) + view.left * cell
    top = min(max((0.5 - view.moment.y) * cells + margin, 0.0), 2.0 * margin) + view.top * cell
    box = (left, top, left + columns * cell, top + rows * cell)
    return resized(noise, view.shape, box) * np.float32(1.3)
