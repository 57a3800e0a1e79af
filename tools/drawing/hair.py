"""Hair, beanies and headscarves."""

from dataclasses import dataclass

import numpy as np

from drawing.canvas import Canvas, Floats, Strands, View, mottle, soft
from drawing.identity import Identity

_LONG = ("long", "bob", "fringe")
_CURLY = ("curls", "afro")


@dataclass(frozen=True, slots=True)
class Outline:
    """The head in polar coordinates around the point between the eyes, under one view."""

    angle: Floats  # radians, as in the view
    radius: Floats  # face units
    head: Floats  # radius of the head's outline at that angle

    @property
    def share(self) -> Floats:
        """The radius as a share of the head's: 1 on the outline."""
        share: Floats = self.radius / self.head
        return share


@dataclass(frozen=True, slots=True)
class Hair:
    """Masks of shape [grid, grid] in [0, 1], and the lightness of strands around 1."""

    behind: Floats
    front: Floats
    strands: Floats


def _volume(person: Identity) -> float:
    base = {
        "bald": 0.0,
        "buzz": 0.015,
        "short": 0.10,
        "side_part": 0.13,
        "quiff": 0.15,
        "curls": 0.19,
        "afro": 0.34,
        "bob": 0.13,
        "long": 0.12,
        "fringe": 0.13,
        "bun": 0.06,
    }[person.hair_style]
    return base * person.hair_volume


def _reach(person: Identity, outline: Outline, strands: Strands) -> Floats:
    """Outer radius of the hair around the middle of the face."""
    volume = np.float32(_volume(person))
    upwards = np.maximum(-np.sin(outline.angle), 0)
    # Curls have a frizzy edge; other hair has a few loose strands.
    ragged = 0.035 if person.hair_style in _CURLY else 0.008
    wild = strands.at(outline.angle + 4, 17.0 if person.hair_style in _CURLY else 60.0)
    lift = 0.20 + 0.80 * np.minimum(1.5 * upwards, 1)
    if person.hair_style in (*_LONG, "afro"):
        lift = 0.55 + 0.45 * np.sin(-outline.angle)
    if person.hair_style == "quiff":
        lean = np.float32(np.sign(person.parting) or 1.0)
        lift = 0.35 + 0.65 * upwards**2 + 0.35 * upwards**4 * (1 + lean * np.cos(outline.angle))
    if person.hair_style == "side_part":
        lean = np.float32(-np.sign(person.parting) or 1.0)
        lift = lift * (1 + 0.35 * lean * np.cos(outline.angle) * upwards)
    return outline.head * (1 + volume * lift + np.float32(ragged) * wild)


def _hairline(person: Identity, view: View, strands: Strands) -> Floats:
    """Height (v) above which hair covers the face."""
    u = view.u
    loose = strands.at(u * 1.3 + 0.3 * view.v + 5, 42.0)
    aside = np.abs(u - np.float32(person.parting))
    match person.hair_style:
        case "fringe":
            line = np.float32(-0.42) + 0.10 * np.square(u) + 0.030 * loose
            return np.where(np.abs(u) > 0.72, line + 9 * np.square(np.abs(u) - 0.72), line)
        case "long" | "bob":
            falling = 0.28 * aside**1.6 + 2.6 * np.maximum(np.abs(u) - 0.60, 0) ** 1.7
            return np.float32(person.hairline) + falling + 0.012 * loose
        case "side_part":
            sweep = np.float32(0.16 * np.sign(person.parting)) * (u - np.float32(person.parting))
            return np.float32(person.hairline + 0.05) - sweep + 0.62 * u**4 + 0.016 * loose
        case "curls" | "afro":
            return np.float32(person.hairline + 0.04) + 0.55 * u**4 + 0.035 * loose
        case _:
            return np.float32(person.hairline) + 0.55 * u**4 + 0.014 * loose


def _strand_pattern(person: Identity, outline: Outline, view: View, strands: Strands) -> Floats:
    """Lightness along the flow of the hair, mean about 1."""
    coarse = Strands(person.texture_seed + 1, 4.0)
    sway = np.float32(0.05) * coarse.at(outline.angle + 4, 14.0)
    match person.hair_style:
        case "long" | "bob":
            across = outline.share + np.float32(0.10) * np.abs(view.u - np.float32(person.parting))
            across = across + 0.6 * sway
            fine, wide = 90.0, 26.0
        case "fringe":
            across = np.where(np.abs(view.u) < 0.8, view.u * 0.9 + 0.06 * view.v, outline.share)
            across = across + 0.6 * sway + 3
            fine, wide = 90.0, 24.0
        case "side_part" | "bun":
            across = outline.share + 0.45 * np.float32(np.sign(person.parting)) * outline.angle + 5
            fine, wide = 75.0, 22.0
        case "curls" | "afro":
            locks = mottle(person.texture_seed + 4, 40, view)
            across = outline.angle + 0.06 * locks + 4
            return 1 + 0.09 * strands.at(across, 40.0) + 0.16 * np.tanh(locks)
        case _:
            across = outline.angle + 0.25 * sway + 0.1 * outline.share + 4
            fine, wide = 70.0, 26.0
    return 1 + 0.15 * strands.at(across, fine) + 0.13 * coarse.at(across + 2, wide)


def grow_hair(person: Identity, view: View, outline: Outline) -> Hair:
    """Shape the hair around a head (`wrap_head` shapes beanies and scarves)."""
    strands = Strands(person.texture_seed + 2, 1.4)
    pixel = view.pixel
    nothing = np.zeros_like(view.x)
    if person.hair_style == "bald":
        return Hair(nothing, nothing, nothing)
    reach = _reach(person, outline, strands)
    cap = soft(reach - outline.radius, 2.5 * pixel)
    face = soft(view.v - _hairline(person, view, strands), 0.05)
    if person.hair_style in _LONG:
        length = 0.92 if person.hair_style == "bob" else 9.0
        hang = np.float32(1.05 + 0.6 * _volume(person)) + 0.06 * np.sin(2.2 * view.y + 0.5)
        sides = soft(hang - np.abs(view.x), 3 * pixel) * soft(view.y + 0.40, 0.4)
        ends = soft(length + 0.05 * strands.at(view.x + 3, 30.0) - view.y, 0.08)
        whole = np.maximum(cap, sides) * ends
        # In front, the curtain narrows from the temples to the jaw.
        inner = 0.83 - 0.05 * view.v
        front = whole * np.maximum(1 - face, soft(np.abs(view.u) - inner, 0.06))
        return Hair(whole, front, _strand_pattern(person, outline, view, strands))
    if person.hair_style == "afro":
        front = (
            cap * np.maximum(1 - face, soft(outline.share - 1.0, 0.05)) * soft(0.50 - view.y, 0.25)
        )
        return Hair(
            cap * soft(0.6 - view.y, 0.2), front, _strand_pattern(person, outline, view, strands)
        )
    burns = 0.18 if person.hair_style != "bun" else 0.02
    above = soft(burns - view.y, 0.16)
    front = cap * np.maximum(1 - face, soft(np.abs(view.u) - 0.93, 0.06)) * above
    if person.hair_style == "buzz":
        front = front * np.float32(0.72)
    if person.hair_style == "bun":
        ball = np.hypot(view.x * 1.05, view.y + 1.50)
        front = np.maximum(front, soft(0.40 - ball, 2.5 * pixel) * soft(outline.share - 0.98, 0.1))
    return Hair(nothing, front, _strand_pattern(person, outline, view, strands))


def paint_hair(canvas: Canvas, person: Identity, hair: Hair, lit: Floats, behind: bool) -> None:
    """Paint the hair behind the neck, or the hair before the face; lit is brightness around 1."""
    mask = hair.behind if behind else hair.front
    tone = hair.strands * (lit * np.float32(0.52) if behind else lit)
    canvas.paint(np.stack([np.float32(c) * tone for c in person.hair]), mask)


def wrap_head(person: Identity, view: View, outline: Outline) -> Hair:
    """Shape a beanie or a headscarf: a mask in front and behind, and its folds."""
    strands = Strands(person.texture_seed + 3, 3.0)
    pixel = view.pixel
    if person.headwear == "beanie":
        reach = outline.head * np.float32(1.10)
        edge = np.float32(-0.62) + 0.10 * np.square(view.u)
        front = soft(reach - outline.radius, 2.5 * pixel) * soft(edge - view.v, 2 * pixel)
        knit = 1 + 0.10 * np.sin(view.u * 60) * np.float32(1)
        band = soft(view.v - edge + 0.27, 2 * pixel)
        knit = knit * (1 + 0.10 * band) - 0.25 * np.exp(-np.square((view.v - edge + 0.27) / 0.02))
        return Hair(np.zeros_like(front), front, knit)
    reach = outline.head * np.float32(1.15)
    drape = soft(1.12 + 0.16 * np.maximum(view.y - 0.6, 0) - np.abs(view.x), 3 * pixel)
    whole = np.maximum(soft(reach - outline.radius, 2.5 * pixel), drape * soft(view.y - 0.1, 0.3))
    oval = (np.abs(view.u / 0.84) ** 2.3 + np.abs((view.v - 0.24) / 1.06) ** 2.3) ** (1 / 2.3)
    front = whole * soft(oval - 1, 0.05)
    along = oval * 2 + 0.25 * view.u + 4
    folds = 1 + 0.10 * strands.at(along, 16.0) - 0.30 * np.exp(-np.square((oval - 1.02) / 0.05))
    return Hair(whole, front, folds)
