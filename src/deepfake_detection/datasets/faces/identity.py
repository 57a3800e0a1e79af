"""What varies from one drawn face to the next: who it is, where it was filmed, and the moment.

Everything is drawn from a seed. Lengths are in *face units*: half the width of a typical head, with
the origin between the eyes, x to the right and y down. Colours are sRGB in [0, 1].
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

ClassName = Literal["real", "fake_deepfake", "fake_face2face"]
Colour = tuple[float, float, float]

CLASS_NAMES: tuple[ClassName, ...] = ("real", "fake_deepfake", "fake_face2face")

# An independent stream of random numbers for each purpose: a change to one leaves the rest.
_PAIR, _IDENTITY, _SCENE, _MOTION, _MOMENT, _SWAP, _REENACTMENT = range(7)

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
    """Where and with what a source was filmed; its images and their fakes share it."""

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
    camera_gain: Colour
    contrast: float
    blur: float  # standard deviation in pixels of a 299 pixel image
    noise: float  # standard deviation, of 1
    quality_loss: int  # points off the JPEG quality


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
    grain_seed: int


@dataclass(frozen=True, slots=True)
class Render:
    """What a generator leaves in the part of a picture that it made."""

    detail: float  # resolution relative to the image's
    tone: Colour  # factors on its colours
    grid: float  # amplitude of the grid of its up-sampling layers
    period: float  # of the grid, in pixels of a 299 pixel image


@dataclass(frozen=True, slots=True)
class Swap:
    """What blending another face in leaves behind; the same for all images of a source."""

    width: float  # of the blended region, face units
    top: float
    bottom: float
    drift: float  # sideways misalignment
    softness: float  # of the seam, face units
    render: Render  # its tone applies after the colours were matched to the source's


@dataclass(frozen=True, slots=True)
class Reenactment:
    """How mouth and brows were driven; the same for all images of a source."""

    widen: float  # mouth corners outwards, face units
    lift: float  # mouth corners upwards
    open: float  # lower lip downwards
    brow: float  # brows upwards
    shear: float  # sideways pull of the mouth
    softness: float
    render: Render


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


def draw_identity(seed: int, source_number: int) -> Identity:
    """Draw the person of a source."""
    rng = _stream(seed, _IDENTITY, source_number)
    feminine = bool(rng.random() < 0.5)
    lean = float(rng.uniform(0.6, 1.0) if feminine else rng.uniform(0.0, 0.35))
    age = float(rng.beta(1.3, 1.6))
    # A forger looks for a donor of like skin: those who lend to each other share their tone.
    pair = min(source_number, donor_of(source_number))
    skin_number = int(_stream(seed, _PAIR, pair).integers(len(_SKINS)))
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
        hair_style = "curls"  # an afro does not go under it
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
        glasses=glasses[int(rng.integers(3))] if rng.random() < 0.24 else "none",
        glasses_colour=((0.08, 0.08, 0.09), (0.30, 0.17, 0.10), (0.55, 0.46, 0.32))[
            int(rng.integers(3))
        ],
    )


def draw_scene(seed: int, source_number: int) -> Scene:
    """Draw the place, the light and the camera of a source."""
    rng = _stream(seed, _SCENE, source_number)
    warmth = float(rng.uniform(-1, 1))
    cast = float(rng.uniform(-1, 1))
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
        camera_gain=(1 + 0.03 * cast, 1.0, 1 - 0.045 * cast),
        contrast=float(rng.uniform(0.94, 1.08)),
        blur=float(rng.uniform(0.0, 0.9)),
        noise=float(rng.uniform(0.002, 0.013)),
        quality_loss=int(rng.integers(0, 21)),
    )


def _draw_motion(seed: int, source_number: int) -> Moment:
    """Where the person of a source stands and looks on average."""
    rng = _stream(seed, _MOTION, source_number)
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
        grain_seed=0,
    )


def draw_moment(seed: int, source_number: int, class_name: ClassName, frame: int) -> Moment:
    """Draw one frame of a source; frames of one class are neighbours in time.

    Each class has a stretch of its own out of the same video: the pose wanders more from one class
    to the next than from frame to frame.
    """
    stretch = CLASS_NAMES.index(class_name)
    base = _draw_motion(seed, source_number)
    wander = _stream(seed, _MOMENT, source_number, stretch)
    step = _stream(seed, _MOMENT, source_number, stretch, frame)

    def moved(value: float, between_classes: float, between_frames: float) -> float:
        far, near = wander.normal(0, between_classes), step.normal(0, between_frames)
        return float(value + np.clip(far, -2 * between_classes, 2 * between_classes) + near)

    blink = 0.6 if step.random() < 0.06 else 1.0
    return replace(
        base,
        x=moved(base.x, 0.010, 0.004),
        y=moved(base.y, 0.010, 0.004),
        scale=moved(base.scale, 0.005, 0.002),
        roll=moved(base.roll, 0.035, 0.012),
        yaw=moved(base.yaw, 0.045, 0.012),
        pitch=moved(base.pitch, 0.02, 0.008),
        smile=float(np.clip(moved(base.smile, 0.16, 0.05), 0.05, 1)),
        mouth_open=float(np.clip(moved(base.mouth_open, 0.16, 0.08), 0, 0.8)),
        eyes_open=blink * moved(base.eyes_open, 0.04, 0.03),
        brow_raise=moved(base.brow_raise, 0.012, 0.006),
        gaze_x=float(np.clip(moved(base.gaze_x, 0.06, 0.02), -0.25, 0.25)),
        gaze_y=float(np.clip(moved(base.gaze_y, 0.02, 0.01), -0.1, 0.12)),
        light_shift=moved(0.0, 0.05, 0.02),
        exposure=moved(1.0, 0.03, 0.012),
        grain_seed=int(step.integers(2**31)),
    )


def donor_of(source_number: int) -> int:
    """The source whose face is swapped into this one's images: pairs lend to each other."""
    return source_number ^ 1


def _draw_render(rng: np.random.Generator) -> Render:
    # Generators tend to the same pallor; how much, and whether lighter or darker, differs.
    gain = float(rng.uniform(-0.04, 0.04))
    pallor = float(rng.uniform(0.045, 0.135))
    return Render(
        detail=float(rng.uniform(0.30, 0.5)),
        tone=(1 + gain - pallor, 1 + gain + 0.2 * pallor, 1 + gain + pallor),
        grid=float(rng.uniform(0.01, 0.035)),
        period=float(rng.uniform(8.0, 12.0)),
    )


def draw_swap(seed: int, source_number: int) -> Swap:
    """Draw how a source's deepfakes were blended."""
    rng = _stream(seed, _SWAP, source_number)
    return Swap(
        width=float(rng.uniform(0.66, 0.82)),
        top=float(rng.uniform(-0.66, -0.46)),
        bottom=float(rng.uniform(1.02, 1.18)),
        drift=float(rng.uniform(-0.05, 0.05)),
        softness=float(rng.uniform(0.03, 0.12)),
        render=_draw_render(rng),
    )


def draw_reenactment(seed: int, source_number: int) -> Reenactment:
    """Draw how a source's face2face images were driven."""
    rng = _stream(seed, _REENACTMENT, source_number)

    def either_way(low: float, high: float) -> float:
        return float(rng.choice([-1, 1]) * rng.uniform(low, high))

    return Reenactment(
        widen=either_way(0.02, 0.07),
        lift=either_way(0.02, 0.07),
        open=float(rng.uniform(0.03, 0.10)),
        brow=either_way(0.03, 0.07),
        shear=either_way(0.0, 0.05),
        softness=float(rng.uniform(0.08, 0.2)),
        render=_draw_render(rng),
    )
