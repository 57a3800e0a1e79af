"""The two forgeries: another person's face blended in, and a face driven to another expression.

Both leave what such forgeries leave in practice: a seam, a slight mismatch of colour, skin that is
smoother than the rest, and the faint grid that up-sampling layers of a generator print on pictures.
"""

import numpy as np
from scipy.ndimage import map_coordinates

from deepfake_detection.datasets.faces.canvas import Floats, View, bump, resized, soft
from deepfake_detection.datasets.faces.identity import Identity, Reenactment, Render, Swap
from deepfake_detection.datasets.faces.portrait import Head


def _rendered(rgb: Floats, render: Render, view: View) -> Floats:
    """The picture as a generator gives it back: coarser, off in tone, with its layers' grid."""
    shape = view.shape
    small = (max(8, round(shape[0] * render.detail)), max(8, round(shape[1] * render.detail)))
    rows = (np.arange(shape[0], dtype=np.float32) + view.top)[:, None]
    columns = (np.arange(shape[1], dtype=np.float32) + view.left)[None, :]
    turn = np.float32(2 * np.pi * 299 / (view.grid * render.period))
    grid = 1 + np.float32(render.grid) * np.cos(turn * rows) * np.cos(turn * columns)
    return np.stack(
        [
            resized(resized(plane, small), shape) * (np.float32(tone) * grid)
            for plane, tone in zip(rgb, render.tone, strict=True)
        ]
    )


def _matched(donor: Floats, target: Floats, where: Floats) -> Floats:
    """The donor's colours moved to the target's mean, as swapping programs do.

    What is white already is not made brighter.
    """
    weight = where.sum() + 1e-6
    moved = np.empty_like(donor)
    for channel in range(3):
        from_mean = (donor[channel] * where).sum() / weight + 1e-6
        gain = np.float32(np.clip((target[channel] * where).sum() / weight / from_mean, 0.5, 2.0))
        moved[channel] = donor[channel] * gain
        if gain > 1:
            moved[channel] /= 1 + (gain - 1) * np.square(donor[channel])
    return moved


def swap_face(own: Head, donor: Head, swap: Swap, view: View) -> tuple[Head, Floats]:
    """Blend the donor's inner face into a head drawn in the same pose.

    Returns the head and the mask of the blend in [0, 1], which has the shape of the head's window.
    """
    part = view.cropped(own.window)
    across = np.abs(part.u - np.float32(swap.drift)) / np.float32(swap.width)
    middle, half = 0.5 * (swap.top + swap.bottom), 0.5 * (swap.bottom - swap.top)
    along = np.abs(part.v - np.float32(middle)) / np.float32(half)
    oval = np.sqrt(np.sqrt(across**4 + along**4))
    mask = soft((1 - oval) * np.float32(swap.width), swap.softness) * own.mask * donor.mask
    face = _rendered(_matched(donor.rgb, own.rgb, mask), swap.render, part)
    return Head(own.rgb + mask * (face - own.rgb), own.mask, own.window), mask


def reenact_face(
    rgb: Floats, person: Identity, drive: Reenactment, whole: View
) -> tuple[Floats, Floats]:
    """Warp mouth and brows of a finished drawing, shape [3, size, size].

    Returns the drawing and the mask of the blend; where it is zero nothing has changed.
    """
    window = whole.window(0.0, 0.40, 1.0, 1.15)
    view = whole.cropped(window)
    u, v = view.u, view.v
    height = person.mouth_height
    mouth = bump(u, v - height, 0.52, 0.34)
    corners = np.clip(u / person.mouth_width, -1.4, 1.4)
    below = np.clip((v - height) / 0.12, -0.4, 1.2)
    across = mouth * (np.float32(drive.widen) * corners + np.float32(drive.shear))
    down = mouth * (np.float32(drive.open) * below - np.float32(drive.lift) * np.square(corners))
    brows = bump(np.abs(u) - 0.42, v - person.brow_height, 0.34, 0.17)
    down -= np.float32(drive.brow) * brows
    region = np.maximum(
        soft(0.62 - np.hypot(u, (v - height + 0.02) / 0.85), drive.softness),
        soft(0.24 - np.hypot((np.abs(u) - 0.42) / 1.6, v - person.brow_height), drive.softness),
    )
    # Displacements are along the head's axes; turn them into the image's.
    moment, size = view.moment, view.grid
    cos, sin = np.float32(np.cos(moment.roll)), np.float32(np.sin(moment.roll))
    reach = np.float32(moment.scale * size)
    rows, columns = np.mgrid[0 : view.shape[0], 0 : view.shape[1]].astype(np.float32)
    from_rows = rows - reach * (sin * across + cos * down)
    from_columns = columns - reach * (cos * across - sin * down)
    coordinates = np.stack([from_rows, from_columns])
    warped = np.stack(
        [
            map_coordinates(plane[window], coordinates, order=1, mode="nearest", prefilter=False)
            for plane in rgb
        ]
    )
    warped = _rendered(warped, drive.render, view)
    changed = np.zeros(whole.shape, np.float32)
    changed[window] = region
    forged = rgb.copy()
    for plane, new in zip(forged, warped, strict=True):
        plane[window] += region * (new - plane[window])
    return forged, changed
