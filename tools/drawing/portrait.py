"""Draws a person in a scene at a moment: backdrop, body, a lit head, features and hair."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.interpolate import CubicSpline
from scipy.ndimage import uniform_filter

from drawing.canvas import (
    Canvas,
    Floats,
    Strands,
    View,
    Window,
    bump,
    mottle,
    resized,
    soft,
)
from drawing.features import paint_features, paint_glasses
from drawing.hair import Hair, Outline, grow_hair, paint_hair, wrap_head
from drawing.identity import Colour, Identity, Moment, Scene

_ANGLES = 2048  # steps of the table that holds a head's outline


@dataclass(frozen=True, slots=True)
class Head:
    """A lit head without hair in a window of the image.

    ``rgb`` has shape [3, rows, columns], ``mask`` [rows, columns]; float32.
    """

    rgb: Floats
    mask: Floats
    window: Window


@dataclass(frozen=True, slots=True)
class Light:
    """Direction of the key light (unit vector: right, down, to the camera) and brightness."""

    x: float
    y: float
    z: float
    key: float
    fill: float
    colour: Colour

    @classmethod
    def of(cls, scene: Scene, moment: Moment) -> "Light":
        """The scene's light at a moment."""
        angle = scene.light_from + moment.light_shift
        away = np.sin(scene.light_height)
        return cls(
            x=float(np.sin(angle) * away),
            y=float(-np.cos(angle) * away),
            z=float(np.cos(scene.light_height)),
            key=scene.key_light * moment.exposure,
            fill=scene.fill_light * moment.exposure,
            colour=scene.light_colour,
        )


@lru_cache(maxsize=16)
def _outline_table(person: Identity) -> Floats:
    """Radius of the head at angles from -pi to pi."""
    temple, cheek, jaw, chin = person.forehead, person.cheek, person.jaw, person.chin
    right_side = [
        (0.0, -1.40 * person.crown),
        (0.58 * temple, -1.25 * person.crown),
        (0.90 * temple, -0.84),
        (0.985 * temple, -0.30),
        (0.955 * cheek, 0.18),
        (0.865 * (0.5 * cheek + 0.5 * jaw), 0.60),
        (0.715 * jaw, 0.93 * (0.5 + 0.5 * chin)),
        (0.385 * jaw, 1.225 * chin),
        (0.0, 1.34 * chin),
    ]
    left_side = [(-x, y) for x, y in right_side[-2:0:-1]]
    points = np.array(right_side + left_side)
    angles = np.unwrap(np.arctan2(points[:, 1], points[:, 0]))
    radii = np.hypot(points[:, 0], points[:, 1])
    spline = CubicSpline(
        np.append(angles, angles[0] + 2 * np.pi), np.append(radii, radii[0]), bc_type="periodic"
    )
    table: Floats = spline(np.linspace(-np.pi, np.pi, _ANGLES)).astype(np.float32)
    return table


def radius_at(person: Identity, angle: Floats) -> Floats:
    """Radius of the head's outline, face units, at angles from -pi to pi."""
    steps = (angle + np.float32(np.pi)) * np.float32((_ANGLES - 1) / (2 * np.pi))
    return np.take(_outline_table(person), steps.astype(np.int32))


def outline_of(person: Identity, view: View) -> Outline:
    """The person's head in polar coordinates under a view."""
    return Outline(view.angle, view.radius, radius_at(person, view.angle))


def _relief(person: Identity, moment: Moment, view: View, outline: Outline) -> Floats:
    """Height of the face towards the camera, face units."""
    u, v, across = view.u, view.v, np.abs(view.u)
    share = np.minimum(outline.share, 0.999)
    relief = np.float32(0.95) * (1 - share**2.7) ** np.float32(0.62)
    nose, wing, mouth = person.nose_length, person.nose_width, person.mouth_height
    smile, age = max(moment.smile, 0.0), person.age

    rise = np.clip((v + 0.28) / (nose + 0.20), 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    fall = soft(nose - 0.005 - v, 0.24)
    ridge = rise * fall * fall * (3 - 2 * fall)
    narrow = 0.78 * wing + 0.22 * wing * rise
    relief += np.float32(0.17 * person.nose_bridge) * ridge * np.exp(-np.square(u / narrow))
    hills = (
        # weight, across, along, width, height
        (0.085, u, v - (nose - 0.06), 0.85 * wing, 0.12),
        (0.05, across - 0.78 * wing, v - (nose - 0.03), 0.36 * wing, 0.075),
        (-0.105, across - 0.36, v - person.eye_height + 0.02, 0.27, 0.17),
        (0.075, across - person.eye_distance, v - person.eye_height, 0.17, 0.13),
        (0.055, across - 0.40, v - person.brow_height - 0.02, 0.32, 0.10),
        (0.075 + 0.05 * smile, across - 0.52, v - 0.40 + 0.05 * smile, 0.25, 0.20),
        (-0.035, across - 0.66, v - 0.78, 0.17, 0.24),
        (0.060, u, v - mouth, 0.38, 0.24),
        (0.045, u, v - mouth + 0.045, 0.25, 0.05),
        (0.060, u, v - mouth - 0.075, 0.21, 0.055),
        (-0.045, u, v - mouth - 0.19, 0.20, 0.06),
        (0.075, u, v - 1.14 * person.chin, 0.20, 0.15),
        (-0.020, u, v - (nose + 0.16), 0.045, 0.09),
    )
    for weight, a, b, width, height in hills:
        relief += np.float32(weight) * bump(a, b, width, height)
    # Folds from the nose to the corners of the mouth, deeper with age and a smile.
    path = 0.20 + (0.17 + 0.05 * smile) * np.clip((v - nose + 0.05) / 0.38, -0.2, 1.2)
    fold = bump(across - path, v - (nose + 0.16), 0.055, 0.20)
    relief -= np.float32(0.008 + 0.030 * age + 0.026 * smile) * fold
    if age > 0.55:
        lines = np.sin((v + 0.65 + 0.12 * np.square(u)) * 42) * bump(u, v + 0.62, 0.5, 0.16)
        relief += np.float32(0.006 * (age - 0.45)) * lines
    return relief


def _lit(relief: Floats, pixel: float, light: Light) -> tuple[Floats, Floats]:
    """Brightness of a surface (about 0.3 to 1.2) and its gloss, from its height."""
    slope_y, slope_x = np.gradient(relief, np.float32(pixel))
    length = 1 / np.sqrt(np.square(slope_x) + np.square(slope_y) + 1)
    facing = (light.z - light.x * slope_x - light.y * slope_y) * length
    # Skin scatters: light wraps around beyond the edge of the shade.
    diffuse = np.clip((facing + 0.30) / 1.30, 0, 1)
    from_above = 0.5 + 0.5 * slope_y * length
    hollow = np.clip((uniform_filter(relief, 15) - relief) * 3.2, -0.12, 0.32)
    brightness = (
        light.key * diffuse + light.fill * (1.10 - 0.30 * from_above) * (0.6 + 0.4 * length)
    ) * (1 - hollow)
    half = np.array([light.x, light.y, light.z + 1.0])
    half /= np.linalg.norm(half)
    across, down, forward = (float(component) for component in half)
    gloss = np.clip((forward - across * slope_x - down * slope_y) * length, 0, 1) ** 22
    return brightness.astype(np.float32), gloss.astype(np.float32)


def _skin_tone(person: Identity, brightness: Floats, light: Light) -> Floats:
    """Skin at a brightness: shadows are warmer, because blood shines through."""
    warm = np.clip(1 - brightness, 0, 1)
    warm = warm * (1 - 0.35 * warm)
    planes = [
        skin * tint * (brightness + bleed * warm)
        for skin, tint, bleed in zip(person.skin, light.colour, (0.10, 0.01, 0.0), strict=True)
    ]
    return np.stack(planes).astype(np.float32)


def _complexion(person: Identity, view: View) -> Floats:
    """Factors on the colour of skin from blush, freckles and pores, shape [3, rows, columns]."""
    pores = mottle(person.texture_seed, 150, view)
    blotches = mottle(person.texture_seed + 1, 46, view)
    factors = np.ones((3, *view.shape), np.float32)
    factors += np.float32(0.017) * pores + np.float32(0.015) * blotches
    red = bump(np.abs(view.u) - 0.52, view.v - 0.42, 0.30, 0.24)
    red += 0.6 * bump(view.u, view.v - person.nose_length + 0.05, 0.14, 0.14)
    blush = np.float32(person.blush) * red
    factors[1] -= 0.085 * blush
    factors[2] -= 0.065 * blush
    if person.freckles:
        spots = mottle(person.texture_seed + 2, 84, view)
        where = bump(np.abs(view.u) - 0.36, view.v - 0.30, 0.42, 0.30)
        spots = np.clip(spots - 1.0, 0, 1) * where * np.float32(0.55 * person.freckles)
        for channel, strength in enumerate((0.35, 0.62, 0.75)):
            factors[channel] -= strength * spots
    return factors


def _coarser(view: View, whole: View) -> tuple[View, tuple[float, float, float, float]]:
    """The window of a coarser view that contains this view, and the exact box within it."""
    ratio = whole.grid / view.grid
    rows, columns = view.shape
    box = (view.left, view.top, view.left + columns, view.top + rows)
    left, top, right, bottom = (ratio * edge for edge in box)
    window = (
        slice(max(0, int(top) - 2), min(whole.grid, int(bottom) + 3)),
        slice(max(0, int(left) - 2), min(whole.grid, int(right) + 3)),
    )
    part = whole.cropped(window)
    left, right = left - part.left, right - part.left
    top, bottom = top - part.top, bottom - part.top
    return part, (left, top, right, bottom)


def draw_head(person: Identity, scene: Scene, whole: View, coarse_whole: View) -> Head:
    """Draw a head with all features except hair and glasses.

    Shading is smooth, so it is computed on the coarse view and enlarged.
    """
    window = whole.window(0.0, 0.0, 1.10, 1.50)
    view, moment = whole.cropped(window), whole.moment
    outline = outline_of(person, view)
    light = Light.of(scene, moment)
    coarse, box = _coarser(view, coarse_whole)
    relief = _relief(person, moment, coarse, outline_of(person, coarse))
    brightness, gloss = (
        resized(field, view.shape, box) for field in _lit(relief, coarse.pixel, light)
    )
    rgb = _skin_tone(person, brightness, light)
    rgb *= _complexion(person, view)
    shine = gloss * np.float32(0.13 * (0.6 + 0.4 * light.key))
    rgb += shine * np.array([1.0, 0.94, 0.86], np.float32)[:, None, None]
    canvas = Canvas(view, rgb)
    eyes = view.window(0.0, person.eye_height, 0.5, 0.1)
    around = float(np.clip(brightness[eyes].mean(), 0.5, 1.05)) if brightness[eyes].size else 0.9
    paint_features(canvas, person, moment, around)
    return Head(canvas.rgb, soft(outline.head - outline.radius, 1.6 * view.pixel), window)


@lru_cache(maxsize=8)
def _backdrop_picture(scene: Scene) -> Image.Image:
    """The background, out of focus and small."""
    rng = np.random.default_rng(scene.texture_seed)
    small = 96
    first, second, third = (
        tuple(int(255 * c) for c in colour) for colour in scene.backdrop_colours
    )
    picture = Image.new("RGB", (small, small), first)
    pencil = ImageDraw.Draw(picture, "RGBA")
    softness = 9.0
    if scene.backdrop == "wall":
        pencil.ellipse((-30, -40, 126, 110), fill=(*second, 110))
        softness = 18.0
    elif scene.backdrop == "room":
        for _ in range(7):
            left, width = int(rng.integers(-10, small)), int(rng.integers(8, 34))
            top, height = int(rng.integers(-20, 60)), int(rng.integers(20, 80))
            fill = (second, third, (235, 232, 222))[int(rng.integers(3))]
            pencil.rectangle((left, top, left + width, top + height), fill=(*fill, 170))
        softness = 2.6
    elif scene.backdrop == "foliage":
        for _ in range(46):
            x, y, radius = (int(n) for n in rng.integers((-5, -5, 5), (100, 100, 14)))
            tint = int(rng.integers(-34, 34))
            red, green, blue = (second, (92, 120, 74), (128, 150, 96))[int(rng.integers(3))]
            fill = (max(red + tint, 0), max(green + tint, 0), max(blue + tint, 0), 150)
            pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        softness = 3.2
    else:
        picture.paste(tuple(c // 2 for c in first), (0, 0, small, small))
        for _ in range(20):
            x, y, radius = (int(n) for n in rng.integers((0, 0, 3), (96, 96, 9)))
            glow = ((255, 214, 150), (255, 240, 214), third)[int(rng.integers(3))]
            fill = (*glow, int(rng.integers(60, 190)))
            pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        softness = 1.1
    return picture.filter(ImageFilter.GaussianBlur(softness))


def _backdrop(scene: Scene, moment: Moment, size: int) -> Floats:
    """The background at a moment, shape [3, size, size]."""
    left, top = 4 + 30 * (moment.x - 0.5), 4 + 30 * (moment.y - 0.5)
    box = (left, top, left + 88, top + 88)
    picture = _backdrop_picture(scene).resize((size, size), Image.Resampling.BICUBIC, box=box)
    rgb = np.asarray(picture, np.float32).transpose(2, 0, 1) * np.float32(moment.exposure / 255)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    falloff = 1 + np.float32(0.12 * np.sin(scene.light_from)) * across[None, :]
    falloff = falloff * (1 - 0.10 * across[:, None])
    light = np.array(scene.light_colour, np.float32)[:, None, None]
    return np.ascontiguousarray(rgb * falloff * light, dtype=np.float32)


def _paint_body(canvas: Canvas, person: Identity, scene: Scene, light: Light) -> None:
    view = canvas.view
    window = (slice(int(view.grid * 0.62), view.grid), slice(0, view.grid))
    x, y = view.x[window], view.y[window]
    broad = 0.64 - 0.10 * person.feminine
    half = broad - 0.10 * np.clip(y - 0.8, 0, 0.5) + 0.9 * np.maximum(y - 1.46, 0) ** 1.4
    neck = soft(half - np.abs(x), 2 * view.pixel)
    turn = np.clip(x / half, -1, 1)
    brightness = light.fill * 0.95 + light.key * (0.62 + 0.34 * light.x * turn - 0.34 * turn**2)
    chin = np.exp(-np.square(np.maximum(y - 1.22, 0) / 0.30))
    brightness = brightness * (1 - 0.52 * chin * (1 - 0.25 * turn * np.float32(light.x)))
    cords = bump(np.abs(x) - 0.26 * (1.9 - y), y - 1.5, 0.06, 0.3)
    canvas.paint(_skin_tone(person, brightness - 0.05 * cords, light), neck, window)

    slope = 1.50 + 0.42 * np.maximum(np.abs(x) - 0.30, 0) ** 1.3
    deep = scene.neckline
    collar = 1.60 + 0.25 * deep - (0.35 + 0.3 * deep) * np.abs(x) ** (2.2 - 1.0 * deep)
    top = np.maximum(slope, collar)
    cloth = soft(y - top, 2.5 * view.pixel)
    threads = Strands(scene.texture_seed, 1.5)
    weave = 1 + 0.03 * threads.at(x + 5, 60) + 0.03 * threads.at(y + 5, 60)
    fold = Strands(scene.texture_seed + 1, 6.0).at(x + 0.5 * y + 5, 12.0)
    shade = (0.80 + 0.20 * light.x * np.sign(x) * np.minimum(np.abs(x), 1)) * (1 + 0.07 * fold)
    shade = shade * weave * (light.fill + 0.6 * light.key)
    if scene.stripes:
        bands = soft(np.sin(y * 26 + 1.2 * np.square(x)), 0.5)
        shade = shade * (1 - 0.45 * scene.stripes * bands)
    hem = 1 - 0.25 * np.exp(-np.square((y - top - 0.07) / 0.018)) * (collar > slope)
    canvas.multiply((0.6, 0.52, 0.5), np.exp(-np.square((y - top) / 0.05)) * neck, window)
    canvas.paint(np.stack([c * shade * hem for c in scene.clothes]), cloth, window)


def _paint_ears(canvas: Canvas, person: Identity, light: Light) -> None:
    view = canvas.view
    for side in (-1.0, 1.0):
        # a turned head hides one ear
        centre = side * (0.985 * person.cheek) - 0.35 * view.moment.yaw
        window = view.window(centre, 0.16, 0.2, 0.36)
        x, y = (view.x[window] - centre) * side, view.y[window] - 0.14
        tilted = x - 0.20 * (-y)
        radial = np.hypot(tilted / (0.125 - 0.05 * y), y / 0.27)
        mask = soft(1 - radial, 2 * view.pixel / 0.15)
        rim = np.exp(-np.square((radial - 0.62) / 0.16))
        brightness = light.fill + light.key * np.float32(0.56 + 0.30 * light.x * side)
        tone = brightness * (0.95 - 0.30 * rim - 0.15 * bump(tilted + 0.02, y, 0.06, 0.12))
        rgb = _skin_tone(person, tone.astype(np.float32), light)
        rgb[1:] *= np.float32(0.93)
        canvas.paint(rgb, mask, window)


def _hair_light(view: View, outline: Outline, light: Light, reach: float) -> Floats:
    """Brightness of hair, around 1: brighter towards the light, with a sheen on the crown."""
    share = np.minimum(outline.share / np.float32(reach), 1)
    round_off = np.sqrt(np.maximum(1 - share**4, 0))
    toward = (light.x * view.x + light.y * view.y / 1.3) * share
    lit = light.fill + 0.15 + light.key * (0.42 + 0.35 * toward) * (0.55 + 0.45 * round_off)
    away = np.hypot(view.x - 0.75 * light.x, (view.y + 1.12) / 0.5)
    sheen = np.exp(-np.square(away / 0.55)) * np.float32(0.55 * light.key)
    return (lit + sheen).astype(np.float32)


def _cast_shadow(hair: Hair, head: Head, view: View, light: Light) -> Floats:
    """The shadow that the hair casts on the face, in the head's window."""
    image = Image.fromarray((hair.front * 255).astype(np.uint8)).resize((100, 100))
    image = image.filter(ImageFilter.GaussianBlur(2.2))
    reach = 0.075 * view.moment.scale * 100
    across, down = -light.x * reach, (0.5 - light.y) * reach
    moved = image.transform(image.size, Image.Transform.AFFINE, (1, 0, -across, 0, 1, -down))
    big = moved.resize((view.grid, view.grid), Image.Resampling.BILINEAR)
    return np.asarray(big, np.float32)[head.window] * np.float32(0.40 / 255) * head.mask


@dataclass(frozen=True, slots=True)
class Portrait:
    """A finished drawing and the mask of what covers the face.

    ``rgb`` has shape [3, size, size]; ``cover`` (hair and headwear, not glasses) [size, size].
    """

    rgb: Floats
    cover: Floats


def draw_portrait(person: Identity, scene: Scene, moment: Moment, size: int) -> Portrait:
    """Draw the person in the scene: backdrop, body, head, glasses and hair."""
    view, coarse = View.of(moment, size), View.of(moment, (size + 1) // 2)
    light = Light.of(scene, moment)
    head = draw_head(person, scene, view, coarse)
    canvas = Canvas(view, _backdrop(scene, moment, size))
    outline = outline_of(person, view)
    hair = grow_hair(person, view, outline)
    wrap = wrap_head(person, view, outline) if person.headwear != "none" else None
    lit = resized(_hair_light(coarse, outline_of(person, coarse), light, 1.15), view.shape)
    scarf = person.headwear == "scarf"
    if not scarf:
        paint_hair(canvas, person, hair, lit, behind=True)
    _paint_body(canvas, person, scene, light)
    if not scarf:
        _paint_ears(canvas, person, light)
    canvas.paint(head.rgb, head.mask, head.window)
    covering = hair if wrap is None else wrap
    shadow = _cast_shadow(covering, head, view, light)
    canvas.multiply((0.62, 0.48, 0.45), shadow, head.window)
    if person.glasses != "none":
        paint_glasses(canvas, person, 0.6 + 0.4 * light.key)
    cover = np.zeros_like(view.x)
    if not scarf:
        if wrap is not None:  # cut the hair that would stick out of a beanie
            hair = Hair(hair.behind, hair.front * soft(view.v + 0.75, 0.1), hair.strands)
        paint_hair(canvas, person, hair, lit, behind=False)
        cover = np.maximum(cover, hair.front)
    if wrap is not None:
        tone = wrap.strands * lit
        canvas.paint(np.stack([c * tone for c in person.headwear_colour]), wrap.front)
        cover = np.maximum(cover, wrap.front)
    return Portrait(canvas.rgb, cover)
