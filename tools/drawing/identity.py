"""Random people, scenes and moments: all that differs from one drawn portrait to the next.

Everything depends on a random seed alone. Lengths are in *face units*: half the width of a typical
head. The origin is between the eyes, x points right and y down. Colours are sRGB in [0, 1].
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]

# An independent random stream for each purpose: a change to one leaves the others as they are.
_PAIR, _IDENTITY, _SCENE, _MOTION, _MOMENT = range(5)

_SKINS: tuple[Colour, ...] = (
    (0.97, 0.805, 0.705),
    (0.955, 0.775, 0.66),
    (0.925, 0.735, 0.61),
    (0.87, 0.69, 0.57),
    (0.80, 0.61, 0.49),
    (0.70, 0.515, 0.40),
    (0.59, 0.425, 0.325),
    (0.48, 0.335, 0.26),
    (0.385, 0.265, 0.21),
)
_DARK_HAIR: tuple[Colour, ...] = (
    (0.09, 0.075, 0.075),
    (0.13, 0.095, 0.08),
    (0.19, 0.125, 0.095),
    (0.26, 0.165, 0.115),
)
_LIGHT_HAIR: tuple[Colour, ...] = (
    (0.36, 0.23, 0.14),
    (0.47, 0.31, 0.18),
    (0.62, 0.45, 0.26),
    (0.79, 0.63, 0.41),
    (0.55, 0.25, 0.12),
    (0.66, 0.33, 0.15),
)
_GREY_HAIR: tuple[Colour, ...] = ((0.52, 0.51, 0.50), (0.72, 0.71, 0.70), (0.85, 0.84, 0.82))
_DYED_HAIR: tuple[Colour, ...] = (
    (0.62, 0.25, 0.36),
    (0.24, 0.42, 0.50),
    (0.46, 0.30, 0.56),
)
_DARK_IRISES: tuple[Colour, ...] = ((0.20, 0.115, 0.07), (0.27, 0.16, 0.09), (0.33, 0.21, 0.11))
_LIGHT_IRISES: tuple[Colour, ...] = (
    (0.42, 0.33, 0.16),
    (0.34, 0.43, 0.27),
    (0.30, 0.47, 0.60),
    (0.38, 0.50, 0.56),
    (0.45, 0.49, 0.50),
)
_CLOTHES: tuple[Colour, ...] = (
    (0.16, 0.20, 0.30),
    (0.83, 0.82, 0.79),
    (0.55, 0.17, 0.17),
    (0.20, 0.36, 0.32),
    (0.82, 0.62, 0.27),
    (0.13, 0.13, 0.14),
    (0.42, 0.52, 0.66),
    (0.60, 0.48, 0.58),
    (0.71, 0.45, 0.33),
    (0.36, 0.40, 0.27),
)
_BACKDROPS: tuple[Colour, ...] = (
    (0.62, 0.68, 0.72),
    (0.78, 0.72, 0.64),
    (0.36, 0.44, 0.50),
    (0.56, 0.62, 0.50),
    (0.68, 0.53, 0.47),
    (0.30, 0.33, 0.36),
    (0.82, 0.80, 0.76),
    (0.46, 0.42, 0.52),
    (0.29, 0.42, 0.43),
    (0.74, 0.62, 0.42),
)

HairStyle = Literal[
    "bald", "buzz", "short", "side_part", "quiff", "curls", "afro", "bob", "long", "fringe", "bun"
]
Headwear = Literal["none", "beanie", "scarf"]
Beard = Literal["none", "stubble", "moustache", "goatee", "full"]
Glasses = Literal["none", "round", "square", "half"]
Backdrop = Literal["wall", "lights", "room", "foliage"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A person: everything that stays when the camera, the light and the moment change."""

    texture_seed: int
    feminine: float  # 0 to 1; leans on the shape of jaw, brows, lashes and lips
    age: float  # 0 to 1; deepens folds
    skin: Colour
    blush: float
    freckles: float
    crown: float  # multiples of the average head
    forehead: float
    cheek: float
    jaw: float
    chin: float
    eye_distance: float  # face units, from the middle of the face
    eye_height: float
    eye_width: float
    eye_opening: float  # multiples of eye_width
    eye_tilt: float
    lid_fold: float  # 0 to 1: how deep the crease above the eye is
    lashes: float  # 0 to 1
    iris: Colour
    brow_height: float
    brow_arch: float
    brow_thickness: float
    brow_strength: float  # opacity
    nose_length: float
    nose_width: float
    nose_bridge: float  # height of the ridge
    mouth_height: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    lips: Colour
    hair_style: HairStyle
    hair: Colour
    hair_volume: float
    hairline: float
    parting: float  # face units, right of the middle
    headwear: Headwear
    headwear_colour: Colour
    beard: Beard
    glasses: Glasses
    glasses_colour: Colour


@dataclass(frozen=True, slots=True)
class Scene:
    """Place and light, the same in all portraits of a person."""

    texture_seed: int
    backdrop: Backdrop
    backdrop_colours: tuple[Colour, Colour, Colour]
    clothes: Colour
    neckline: float  # 0 round … 1 a deep V
    stripes: float  # 0 none … 1 strong
    light_from: float  # radians; 0 is above, positive to the right
    light_height: float  # 0 frontal … 1 from the side
    key_light: float
    fill_light: float
    light_colour: Colour


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame: pose, expression and the flicker of the light."""

    x: float  # centre of the face, as a share of the image
    y: float
    scale: float  # half the width of the head, as a share of the image
    roll: float  # radians
    yaw: float
    pitch: float
    smile: float  # 0 to 1
    mouth_open: float  # 0 to 1
    eyes_open: float  # 1 as the identity has them
    brow_raise: float
    gaze_x: float
    gaze_y: float
    light_shift: float
    exposure: float


def _stream(seed: int, purpose: int, *key: int) -> np.random.Generator:
    return np.random.default_rng([seed, purpose, *key])


def _jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """The colour, a little lighter or darker and a little off in hue."""
    gain = 1 + amount * rng.uniform(-1, 1)
    red, green, blue = (
        float(np.clip(c * gain * (1 + 0.35 * amount * rng.uniform(-1, 1)), 0, 1)) for c in colour
    )
    return red, green, blue


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...], amount: float) -> Colour:
    return _jitter(rng, colours[int(rng.integers(len(colours)))], amount)


def _hair_colour(rng: np.random.Generator, skin_number: int, age: float, feminine: bool) -> Colour:
    if age > 0.8:
        return _pick(rng, _GREY_HAIR, 0.08)
    if rng.random() < 0.1 and feminine:
        return _pick(rng, _DYED_HAIR, 0.1)
    light = skin_number <= 3 and rng.random() < 0.6
    return _pick(rng, _LIGHT_HAIR if light else _DARK_HAIR, 0.12)


def _hair_style(rng: np.random.Generator, feminine: bool) -> HairStyle:
    styles: tuple[HairStyle, ...]
    if feminine:
        styles = ("long", "long", "bob", "fringe", "bun", "curls", "afro", "side_part")
    else:
        styles = ("short", "short", "side_part", "side_part", "quiff", "curls", "buzz", "bald")
    return styles[int(rng.integers(len(styles)))]


def draw_identity(seed: int, number: int) -> Identity:
    """Draw a person.

    People 2k and 2k + 1 are a pair of face donors: they have the same skin tone, and both wear
    glasses or neither does.
    """
    rng = _stream(seed, _IDENTITY, number)
    feminine = bool(rng.random() < 0.5)
    lean = float(rng.uniform(0.6, 1.0) if feminine else rng.uniform(0.0, 0.35))
    age = float(rng.beta(1.3, 1.6))
    shared = _stream(seed, _PAIR, number - number % 2)
    skin_number = int(shared.integers(len(_SKINS)))
    wears_glasses = shared.random() < 0.24
    skin = _jitter(rng, _SKINS[skin_number], 0.05)
    hair = _hair_colour(rng, skin_number, age, feminine)
    light_eyes = skin_number <= 3 and rng.random() < 0.65
    lipstick = float(rng.uniform(0.25, 0.8) if feminine and rng.random() < 0.6 else 0.0)
    bare_lips = (skin[0] * 0.86, skin[1] * 0.63, skin[2] * 0.64)
    painted = ((0.72, 0.22, 0.26), (0.66, 0.30, 0.32), (0.55, 0.16, 0.24))[int(rng.integers(3))]
    red, green, blue = (
        (1 - lipstick) * a + lipstick * b for a, b in zip(bare_lips, painted, strict=True)
    )
    headwear_draw = rng.random()
    headwear: Headwear = "none"
    if headwear_draw < 0.08:
        headwear = "beanie"
    elif headwear_draw < 0.17 and feminine:
        headwear = "scarf"
    hair_style = _hair_style(rng, feminine)
    if headwear == "beanie" and hair_style == "afro":
        hair_style = "curls"  # an afro does not fit under a beanie
    beards: tuple[Beard, ...] = (
        "none",
        "none",
        "stubble",
        "stubble",
        "moustache",
        "goatee",
        "full",
    )
    glasses: tuple[Glasses, ...] = ("round", "square", "half")
    return Identity(
        texture_seed=int(rng.integers(2**31)),
        feminine=lean,
        age=age,
        skin=skin,
        blush=float(rng.uniform(0.2, 1.0)),
        freckles=float(rng.uniform(0.3, 1.0)) if skin_number < 5 and rng.random() < 0.25 else 0.0,
        crown=float(rng.uniform(0.95, 1.05)),
        forehead=float(rng.uniform(0.93, 1.05)),
        cheek=float(rng.uniform(0.93, 1.06)),
        jaw=float(rng.uniform(0.88, 1.02) - 0.05 * lean + (0.06 if not feminine else 0.0)),
        chin=float(rng.uniform(0.94, 1.06) - 0.02 * lean),
        eye_distance=float(rng.uniform(0.385, 0.445)),
        eye_height=float(rng.uniform(-0.03, 0.05)),
        eye_width=float(rng.uniform(0.21, 0.235) + 0.02 * lean),
        eye_opening=float(rng.uniform(0.36, 0.52) + 0.06 * lean),
        eye_tilt=float(rng.uniform(-0.06, 0.16)),
        lid_fold=float(rng.uniform(0.15, 1.0)),
        lashes=float(np.clip(rng.uniform(0.0, 0.4) + 0.6 * lean, 0, 1)),
        iris=_pick(rng, _LIGHT_IRISES if light_eyes else _DARK_IRISES, 0.15),
        brow_height=float(rng.uniform(-0.345, -0.29) - 0.02 * lean),
        brow_arch=float(rng.uniform(0.02, 0.07) + 0.04 * lean),
        brow_thickness=float(rng.uniform(0.038, 0.062) - 0.016 * lean),
        brow_strength=float(rng.uniform(0.6, 0.95)),
        nose_length=float(rng.uniform(0.48, 0.60) - 0.02 * lean),
        nose_width=float(rng.uniform(0.155, 0.225) - 0.025 * lean),
        nose_bridge=float(rng.uniform(0.7, 1.2)),
        mouth_height=float(rng.uniform(0.80, 0.88)),
        mouth_width=float(rng.uniform(0.32, 0.40)),
        upper_lip=float(rng.uniform(0.045, 0.085) + 0.012 * lean),
        lower_lip=float(rng.uniform(0.075, 0.115) + 0.015 * lean),
        lips=(red, green, blue),
        hair_style=hair_style,
        hair=hair,
        hair_volume=float(rng.uniform(0.7, 1.3)),
        hairline=float(rng.uniform(-1.0, -0.84) - (0.06 * age if not feminine else 0.0)),
        parting=float(rng.choice([-1, 1]) * rng.uniform(0.0, 0.4)),
        headwear=headwear,
        headwear_colour=_pick(rng, _CLOTHES, 0.15),
        beard="none" if feminine else beards[int(rng.integers(len(beards)))],
        glasses=glasses[int(rng.integers(3))] if wears_glasses else "none",
        glasses_colour=((0.08, 0.08, 0.09), (0.30, 0.17, 0.10), (0.55, 0.46, 0.32))[
            int(rng.integers(3))
        ],
    )


def draw_scene(seed: int, number: int) -> Scene:
    """Draw the place and the light of a person's portraits."""
    rng = _stream(seed, _SCENE, number)
    warmth = float(rng.uniform(-1, 1))
    backdrops: tuple[Backdrop, ...] = ("wall", "lights", "room", "foliage")
    first, second, third = (_pick(rng, _BACKDROPS, 0.2) for _ in range(3))
    fill = float(rng.uniform(0.40, 0.56))
    return Scene(
        texture_seed=int(rng.integers(2**31)),
        backdrop=backdrops[int(rng.integers(4))],
        backdrop_colours=(first, second, third),
        clothes=_pick(rng, _CLOTHES, 0.2),
        neckline=float(rng.uniform(0, 1)),
        stripes=float(rng.uniform(0.3, 1)) if rng.random() < 0.3 else 0.0,
        light_from=float(rng.uniform(-1.25, 1.25)),
        light_height=float(rng.uniform(0.35, 0.85)),
        key_light=float(rng.uniform(1.04, 1.12)) - fill,
        fill_light=fill,
        light_colour=(1 + 0.035 * warmth, 1.0, 1 - 0.05 * warmth),
    )


def _draw_motion(seed: int, number: int) -> Moment:
    """Draw a person's average pose and expression."""
    rng = _stream(seed, _MOTION, number)
    return Moment(
        x=0.5 + float(rng.uniform(-0.02, 0.02)),
        y=0.515 + float(rng.uniform(-0.02, 0.02)),
        scale=float(rng.uniform(0.275, 0.305)),
        roll=float(rng.normal(0, 0.05)),
        yaw=float(rng.uniform(-0.17, 0.17)),
        pitch=float(rng.uniform(-0.05, 0.06)),
        smile=float(rng.uniform(0.15, 0.85)),
        mouth_open=float(rng.uniform(0.0, 0.3)),
        eyes_open=float(rng.uniform(0.88, 1.06)),
        brow_raise=float(rng.uniform(-0.01, 0.03)),
        gaze_x=float(rng.uniform(-0.12, 0.12)),
        gaze_y=float(rng.uniform(-0.04, 0.06)),
        light_shift=0.0,
        exposure=1.0,
    )


def draw_moment(seed: int, number: int, frame: int) -> Moment:
    """Draw one frame of a person: frames are neighbours in time and differ a little."""
    base = _draw_motion(seed, number)
    rng = _stream(seed, _MOMENT, number, frame)

    def moved(value: float, deviation: float) -> float:
        return float(value + rng.normal(0, deviation))

    blink = 0.6 if rng.random() < 0.06 else 1.0
    return replace(
        base,
        x=moved(base.x, 0.004),
        y=moved(base.y, 0.004),
        scale=moved(base.scale, 0.002),
        roll=moved(base.roll, 0.012),
        yaw=moved(base.yaw, 0.012),
        pitch=moved(base.pitch, 0.008),
        smile=float(np.clip(moved(base.smile, 0.05), 0.05, 1)),
        mouth_open=float(np.clip(moved(base.mouth_open, 0.08), 0, 0.8)),
        eyes_open=blink * moved(base.eyes_open, 0.03),
        brow_raise=moved(base.brow_raise, 0.006),
        gaze_x=float(np.clip(moved(base.gaze_x, 0.02), -0.25, 0.25)),
        gaze_y=float(np.clip(moved(base.gaze_y, 0.01), -0.1, 0.12)),
        light_shift=moved(0.0, 0.02),
        exposure=moved(1.0, 0.012),
    )
