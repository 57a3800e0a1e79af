"""Eyes, brows, nose, mouth, beard and glasses, painted onto a lit head."""

import numpy as np

from drawing.canvas import Canvas, Floats, Strands, bump, soft
from drawing.identity import Colour, Identity, Moment

_SHADOW: Colour = (0.42, 0.30, 0.29)  # factors on the skin's colour in a deep crease


def _scaled(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


def paint_features(canvas: Canvas, person: Identity, moment: Moment, light: float) -> None:
    """Paint all features except hair; light is the brightness around the eyes, about 1."""
    strands = Strands(person.texture_seed, 1.5)
    _paint_nose(canvas, person)
    _paint_mouth(canvas, person, moment, strands, light)
    for side in (-1.0, 1.0):
        _paint_eye(canvas, person, moment, strands, side, light)
    if person.beard != "none":
        _paint_beard(canvas, person, strands, light)
    for side in (-1.0, 1.0):
        _paint_brow(canvas, person, moment, strands, side, light)


def _paint_eye(
    canvas: Canvas, person: Identity, moment: Moment, strands: Strands, side: float, light: float
) -> None:
    width = person.eye_width
    centre = side * person.eye_distance
    window = canvas.view.window(centre, person.eye_height - 0.05, 1.55 * width, 1.35 * width)
    # Coordinates of the eye: half its width is 1, a runs from the inner to the outer corner.
    a = (canvas.view.u[window] - centre) * np.float32(side / width)
    b = (canvas.view.v[window] - person.eye_height) * np.float32(1 / width)
    b = b + np.float32(person.eye_tilt) * a
    pixel = canvas.view.pixel / width
    bow = np.maximum(1 - np.square(a - 0.10 * (1 - a * a)), 0)
    squint = moment.eyes_open * (1 - 0.13 * max(0.0, moment.smile))
    upper = np.float32(-1.12 * person.eye_opening * squint) * bow**0.72
    lower = np.float32(0.50 * person.eye_opening * (0.5 + 0.5 * squint)) * bow
    inside = soft(b - upper, 1.3 * pixel) * soft(lower - b, 1.3 * pixel) * soft(1 - abs(a), pixel)

    # Lid above the eye, and the crease that ends it.
    fold = upper - np.float32(0.20 + 0.16 * person.lid_fold) * (0.35 + 0.65 * bow)
    lid = soft(upper - b, 0.1) * soft(b - fold, 0.12) * (bow > 0)
    canvas.multiply((0.93, 0.86, 0.85), lid * np.float32(0.4 + 0.6 * person.feminine), window)
    crease = bump(b - fold, np.zeros_like(a), 0.085, 1.0) * np.minimum(bow * 2.2, 1)
    canvas.multiply(_SHADOW, crease * np.float32(0.2 + 0.42 * person.lid_fold), window)
    bag = bump(a - 0.05, b - lower - 0.33, 0.75, 0.16)
    canvas.multiply((0.80, 0.71, 0.72), bag * np.float32(0.12 + 0.5 * person.age), window)

    # The white, in the shade of the lid and of its own roundness.
    shade = 0.76 + 0.24 * np.maximum(1 - a * a, 0)
    shade = shade * (1 - 0.40 * np.exp(-np.maximum(b - upper, 0) * 6)) * np.float32(0.97 * light)
    white = np.stack([0.92 * shade, 0.885 * shade, 0.87 * shade])
    canvas.paint(white, inside, window)
    corner = bump(a + 0.93, b - 0.02, 0.14, 0.12)
    canvas.paint(_scaled((0.80, 0.50, 0.47), light), 0.7 * corner * inside, window)

    _paint_iris(canvas, person, moment, strands, (a, b, inside, upper), window, side, pixel, light)

    # Lash lines are painted last, over the rims.
    dark = _mixed((0.10, 0.065, 0.055), person.skin, 0.10)
    thickness = np.float32(0.05 + 0.05 * person.lashes) * (0.55 + 0.45 * np.clip(a + 0.6, 0, 1.4))
    flick = soft(1.10 + 0.10 * person.lashes - a, 0.16) * soft(a + 0.98, 0.2)
    outward = upper - np.float32(0.16 * person.lashes) * np.maximum(a - 0.85, 0) * 4
    rim = np.exp(-np.square((b - outward + 0.02) / thickness)) * flick
    canvas.paint(dark, rim * np.float32(0.62 + 0.35 * person.lashes), window)
    comb = np.clip(strands.at(a - 0.5 * (b - upper) * a, 160.0), 0, 1)
    above = soft(outward - b, 0.06) * soft(b - outward + 0.16 + 0.12 * np.clip(a, 0, 1), 0.16)
    canvas.paint(dark, comb * above * flick * np.float32(0.75 * person.lashes), window)
    under = np.exp(-np.square((b - lower - 0.02) / 0.055)) * soft(1 - abs(a), 0.3)
    canvas.multiply(_SHADOW, under * np.float32(0.38 + 0.3 * person.lashes), window)


def _paint_iris(
    canvas: Canvas,
    person: Identity,
    moment: Moment,
    strands: Strands,
    eye: tuple[Floats, Floats, Floats, Floats],
    window: tuple[slice, slice],
    side: float,
    pixel: float,
    light: float,
) -> None:
    a, b, inside, upper = eye
    radius = 0.43
    right = (a - np.float32(side * moment.gaze_x)) * np.float32(side / radius)
    down = (b - np.float32(moment.gaze_y - 0.13)) * np.float32(1 / radius)
    distance = np.hypot(right, down)
    iris = soft(1 - distance, 2.0 * pixel / radius) * inside
    fibres = strands.at(np.arctan2(down, right) + 4, 9.0)
    glow = 0.75 + 0.42 * np.clip(down + 0.2, -0.5, 1) + 0.10 * fibres * (distance < 0.85)
    glow = glow * (1 - 0.62 * np.clip((distance - 0.72) / 0.28, 0, 1))
    glow = glow * (1 - 0.45 * np.exp(-np.maximum(b - upper, 0) * 8)) * np.float32(light)
    canvas.paint(np.stack([glow * c for c in person.iris]), iris, window)
    pupil = soft(0.40 - distance, 2.0 * pixel / radius) * inside
    canvas.paint((0.025, 0.02, 0.025), 0.95 * pupil, window)
    glint = 1 if moment.light_shift >= -1 else -1
    spark = bump(right - 0.30 * glint, down + 0.34, 0.25, 0.25)
    canvas.paint((0.98, 0.98, 0.97), np.minimum(1.25 * spark * inside, 1), window)
    canvas.add((0.10, 0.11, 0.12), bump(right + 0.3, down - 0.42, 0.28, 0.2) * inside, window)


def _paint_brow(
    canvas: Canvas, person: Identity, moment: Moment, strands: Strands, side: float, light: float
) -> None:
    half = 1.32 * person.eye_width
    centre = side * (person.eye_distance + 0.03)
    height = person.brow_height - moment.brow_raise
    window = canvas.view.window(centre, height, 1.1 * half, 0.16)
    a = (canvas.view.u[window] - centre) * np.float32(side / half)
    b = canvas.view.v[window] - np.float32(height)
    arch = np.float32(person.brow_arch)
    middle = arch * (1.05 * np.square(a - 0.12) - 0.55) + 0.012 * a
    taper = np.clip(1.12 - 0.62 * np.clip(a + 0.15, 0, 1.2), 0, 1) * soft(1 - abs(a), 0.30)
    thickness = np.float32(person.brow_thickness) * (0.25 + 0.75 * taper)
    body = soft(thickness - abs(b - middle), 0.045) * soft(1.02 - abs(a), 0.24)
    hairs = strands.at(3.0 + a * 0.9 + (b - middle) * (3.0 - 2.0 * a), 62.0)
    opacity = body * np.clip(0.86 + 0.15 * hairs, 0, 1) * np.float32(person.brow_strength)
    colour = _scaled(_mixed(person.hair, (0.14, 0.10, 0.08), 0.45), 0.55 + 0.35 * light)
    canvas.paint(colour, opacity, window)


def _paint_nose(canvas: Canvas, person: Identity) -> None:
    length, width = person.nose_length, person.nose_width
    window = canvas.view.window(0.0, length, 0.34, 0.30)
    u, v = canvas.view.u[window], canvas.view.v[window]
    across = abs(u)
    under = bump(u, v - (length + 0.075), 0.75 * width, 0.055)
    canvas.multiply(_SHADOW, 0.30 * under, window)
    wing = np.hypot((across - 0.70 * width) / 0.42, (v - length + 0.03) / 0.55)
    ring = np.exp(-np.square((wing - 0.185 * width / 0.18) / 0.045))
    outer = soft(across - 0.72 * width, 0.08) * soft(v - length + 0.14, 0.1)
    canvas.multiply(_SHADOW, 0.34 * ring * outer, window)
    nostril = bump(across - 0.47 * width, v - (length + 0.022 - 0.1 * (across - 0.1)), 0.062, 0.03)
    canvas.multiply((0.24, 0.13, 0.12), np.minimum(1.2 * nostril, 0.88), window)
    groove = bump(u, v - (length + 0.16), 0.04, 0.08)
    canvas.multiply((0.82, 0.72, 0.71), 0.45 * groove, window)


def _paint_mouth(
    canvas: Canvas, person: Identity, moment: Moment, strands: Strands, light: float
) -> None:
    smile = moment.smile
    half = person.mouth_width * (1 + 0.14 * smile)
    height = person.mouth_height
    window = canvas.view.window(0.0, height + 0.05, 1.2 * half, 0.36)
    a = canvas.view.u[window] * np.float32(1 / half)
    v = canvas.view.v[window] - np.float32(height)
    across = abs(a)
    pixel = canvas.view.pixel
    bow = np.maximum(1 - a * a, 0)
    corners = np.float32(-0.105 * smile) * np.square(a)
    gap = np.float32(0.17 * moment.mouth_open) * bow
    wave = np.float32(0.010) * np.cos(5.5 * a) * bow
    parting_up, parting_down = corners + wave - 0.28 * gap, corners + wave + 0.72 * gap
    cupid = (
        1 + 0.20 * np.exp(-np.square((across - 0.26) / 0.2)) - 0.22 * np.exp(-np.square(a / 0.12))
    )
    thin = np.float32(1 - 0.16 * max(smile, 0))
    top = parting_up - np.float32(person.upper_lip) * thin * bow**0.85 * cupid
    bottom = parting_down + np.float32(person.lower_lip) * thin * bow**0.75

    edge = 2.2 * pixel
    within = soft(1 - across, 0.06)
    upper = soft(v - top, edge) * soft(parting_up - v, edge) * within
    lower = soft(v - parting_down, edge) * soft(bottom - v, edge) * within
    hollow = soft(v - parting_up, edge) * soft(parting_down - v, edge) * within

    canvas.multiply(_SHADOW, 0.34 * bump(a, v - bottom - 0.055, 0.5, 0.035), window)
    wrinkles = 1 + 0.045 * strands.at(a + 3 + 0.2 * a * v, 26.0)
    tone = np.float32(light) * wrinkles
    round_up = 0.74 + 0.20 * np.clip((parting_up - v) / 0.08, 0, 1)
    round_down = 0.84 + 0.24 * np.exp(-np.square((v - 0.6 * bottom - 0.4 * parting_down) / 0.035))
    canvas.paint(np.stack([c * tone * round_up for c in person.lips]), 0.92 * upper, window)
    canvas.paint(np.stack([c * tone * round_down for c in person.lips]), 0.92 * lower, window)
    shine = bump(a + 0.12, v - 0.55 * bottom - 0.45 * parting_down, 0.30, 0.02)
    canvas.add((0.16, 0.15, 0.15), shine * lower * np.float32(0.5 + 0.5 * person.feminine), window)

    canvas.paint((0.20, 0.07, 0.07), hollow, window)
    teeth = soft(parting_up + 0.09 - v, 0.03) * hollow * soft(0.82 - across, 0.25)
    between = 1 - 0.10 * np.exp(-np.square(np.sin(a * 9.5) / 0.22))
    ivory = (1.0 - 0.35 * np.square(a)) * between * np.float32(0.90 * light)
    canvas.paint(np.stack([0.97 * ivory, 0.95 * ivory, 0.90 * ivory]), teeth, window)
    line = np.exp(-np.square((v - parting_up) / 0.014)) * soft(1.03 - across, 0.1)
    line = np.maximum(line, np.exp(-np.square((v - parting_down) / 0.012)) * within * (gap > 0.01))
    canvas.multiply((0.36, 0.20, 0.20), 0.85 * line, window)
    dimple = bump(across - 1.04, v - corners, 0.07, 0.04)
    canvas.multiply(_SHADOW, np.float32(0.42 + 0.25 * max(smile, 0)) * dimple, window)


def _paint_beard(canvas: Canvas, person: Identity, strands: Strands, light: float) -> None:
    window = canvas.view.window(0.0, 0.75, 1.02, 0.72)
    u, v = canvas.view.u[window], canvas.view.v[window]
    across = abs(u)
    nose = person.nose_length + 0.10
    # The beard's upper edge: from below the nose to the corner of the mouth, then up to the ear.
    from_corner = np.clip((across - 0.36) / 0.52, 0, 1)
    cheek = nose + 0.9 * np.square(np.minimum(across, 0.36)) + 0.10 * from_corner - from_corner**2.2
    mouth = np.hypot(u / (1.05 * person.mouth_width), (v - person.mouth_height - 0.02) / 0.135)
    blur = 0.34 if person.beard == "stubble" else 0.13
    region = soft(v - cheek - 0.05, blur) * soft(mouth - 1, 0.22)
    if person.beard == "moustache":
        region *= soft(person.mouth_height - 0.02 - v, 0.06) * soft(0.40 - across, 0.12)
    elif person.beard == "goatee":
        region *= soft(0.40 - across + 0.1 * (v - 0.8), 0.10)
    speckle = strands.at(u * 2.3 + 0.6 * v + 6 + 0.12 * strands.at(v + 5, 20.0), 46.0)
    strength = {"stubble": 0.24, "moustache": 0.93, "goatee": 0.86, "full": 0.92}[person.beard]
    opacity = region * np.clip(strength * (1 + 0.10 * speckle), 0, 1)
    # A beard is lit like the cheek below it: keep part of the brightness there.
    below = canvas.rgb[1][window]
    lit = np.clip(0.55 + 0.75 * below / max(person.skin[1], 0.2), 0.5, 1.3) * np.float32(light)
    colour = _mixed(person.hair, (0.16, 0.11, 0.09), 0.35)
    tone = 0.85 * lit * (1 + 0.24 * speckle)
    canvas.paint(np.stack([c * tone for c in colour]), opacity, window)


def paint_glasses(canvas: Canvas, person: Identity, light: float) -> None:
    """Paint the frame, its shadow and the reflections of the glasses."""
    window = canvas.view.window(0.0, person.eye_height, 1.05, 0.42)
    u, v = canvas.view.u[window], canvas.view.v[window] - np.float32(person.eye_height + 0.03)
    across = abs(u)
    wide, high, power = {
        "round": (0.29, 0.275, 2.0),
        "square": (0.325, 0.235, 4.0),
        "half": (0.31, 0.22, 3.0),
    }[person.glasses]
    a, b = abs(across - np.float32(person.eye_distance + 0.02)) / wide, abs(v) / high
    radial = (a**power + b**power) ** (1 / power)
    rim = (radial - 1) * np.float32(0.5 * (wide + high))
    thickness = 0.020 if person.glasses != "square" else 0.030
    edge = 1.5 * canvas.view.pixel
    frame = soft(thickness - abs(rim), edge)
    if person.glasses == "half":
        frame *= soft(0.05 - v, 0.08)
    gap = person.eye_distance + 0.02 - wide
    bridge = soft(gap - across, edge) * soft(0.022 - abs(v + 0.05 - 0.3 * u * u), edge)
    reach = person.eye_distance + 0.02 + wide
    arm = soft(across - reach, edge) * soft(1.0 - across, 0.04) * soft(0.022 - abs(v + 0.06), edge)
    everything = np.maximum(np.maximum(frame, bridge), arm)
    shadow = np.exp(-np.square((rim - 0.01 + 0.03 * np.sign(-v)) / 0.05)) * (v > -0.1)
    canvas.multiply((0.78, 0.70, 0.69), 0.35 * shadow, window)
    lens = soft(-rim, edge)
    canvas.add((0.015, 0.017, 0.02), lens, window)
    stripe = soft(0.07 - abs(u * 0.8 + v - np.sign(u) * 0.34 * 0.8 + 0.04), 0.05)
    canvas.add((0.09, 0.095, 0.10), lens * stripe, window)
    sheen = 0.8 + 0.5 * np.clip(-v / 0.25, -0.3, 1)
    tone = sheen * np.float32(light)
    canvas.paint(np.stack([c * tone for c in person.glasses_colour]), everything, window)
