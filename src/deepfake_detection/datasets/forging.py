"""Makes the demo's images out of the drawn portraits that the package ships.

The portraits show no real person; `tools/draw_portraits.py` draws them. Each image is cut out of a
portrait at a random place and angle, forged first in the two fake classes, and taken with the same
camera in all three. The forgeries have the artefacts of real ones: a seam, a slight mismatch of
colour, smoother skin, and the faint grid of a generator's up-sampling layers.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from math import cos, pi, sin
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import map_coordinates
from tqdm import tqdm

ClassName = Literal["real", "fake_deepfake", "fake_face2face"]
People = Literal["main", "elsewhere"]
Floats = NDArray[np.floating]
Pixels = NDArray[np.uint8]

# Raise it when a change makes other images out of the same settings.
FORGING_VERSION = 2
CLASS_NAMES: tuple[ClassName, ...] = ("real", "fake_deepfake", "fake_face2face")
MOST_SOURCES: dict[People, int] = {"main": 60, "elsewhere": 20}
MOST_IMAGES = 5  # portraits of each person
LARGEST_SIZE = 299  # pixels

_PORTRAITS = Path(__file__).parent / "portraits"
_GRID = 320  # width and height of a portrait, pixels; what exceeds 299 is margin for cutting
# Eyes and mouth in face units: half the width of a head; u points right, v down
_FACE = np.array([[-0.41, 0.01], [0.41, 0.01], [0.0, 0.84]])
_BROWS = -0.33  # height of the brows, v
# An independent random stream for each purpose: a change to one leaves the others as they are.
_CAMERA, _QUALITY, _CUT, _SWAP, _REENACTMENT = range(5)


class Portrait(NamedTuple):
    """A portrait, RGB [320, 320, 3], and its landmarks in pixels (x, y).

    The points are the left eye, the right eye and the mouth; the outline is the polygon of the face
    below the hair.
    """

    rgb: Pixels
    points: Floats
    outline: Floats

    def window(self) -> tuple[slice, slice]:
        """The rows and columns that hold the face."""
        left, top = np.maximum(self.outline.min(0) - 8, 0).astype(int).tolist()
        right, bottom = np.minimum(self.outline.max(0) + 8, _GRID).astype(int).tolist()
        return slice(top, bottom), slice(left, right)


@dataclass(frozen=True, slots=True)
class Source:
    """The portraits of a person and of the donor of their swaps."""

    key: tuple[int, int]  # number of the set of people, and of the person in it
    portraits: list[Portrait]
    donor: list[Portrait]

    @classmethod
    def read(cls, people: People, number: int) -> Self:
        """Read from the package; people 2k and 2k + 1 are each other's donor."""
        landmarks = _read_landmarks()[people]

        def read(person: int) -> list[Portrait]:
            with Image.open(_PORTRAITS / f"{people}_{person:02}.jpg") as picture:
                pictures = np.split(np.asarray(picture), MOST_IMAGES, axis=1)
            return [
                Portrait(rgb, np.array(own["points"], float), np.array(own["outline"], float))
                for rgb, own in zip(pictures, landmarks[person], strict=True)
            ]

        return cls((list(MOST_SOURCES).index(people), number), read(number), read(number ^ 1))

    def stream(self, seed: int, purpose: int, *key: int) -> np.random.Generator:
        """An independent random stream for this person and a purpose."""
        return np.random.default_rng([seed, purpose, *self.key, *key])


@cache
def _read_landmarks() -> dict[str, list[list[dict[str, Any]]]]:
    content: dict[str, Any] = json.loads((_PORTRAITS / "landmarks.json").read_text("utf-8"))
    return content


def _affine(points: Floats, to: Floats) -> Floats:
    """The map [2, 3] that takes three points (x, y) to three others."""
    return np.linalg.solve(np.c_[points, np.ones(3)], to).T


def _soft(distance: Floats, width: float) -> Floats:
    """0 where distance is below -width / 2, 1 above width / 2, linear in between."""
    return np.clip(distance / width + 0.5, 0, 1)


def _bump(across: Floats, along: Floats, width: float, height: float) -> Floats:
    """A Gaussian with maximum 1; `width` and `height` are its standard deviations times √2."""
    return np.exp(-((across / width) ** 2) - (along / height) ** 2)


def _face_units(portrait: Portrait) -> tuple[Floats, Floats]:
    """Coordinates u and v of the pixels of the portrait's window; float32 [rows, columns]."""
    rows, columns = (axis.astype(np.float32) + 0.5 for axis in np.ogrid[portrait.window()])
    (a, b, c), (d, e, f) = _affine(portrait.points, _FACE).tolist()
    return a * columns + b * rows + c, d * columns + e * rows + f


def _matched(donor: Floats, target: Pixels, mask: Floats) -> Floats:
    """The donor's colours with the target's mean under a mask; values near white are not raised."""
    before, after = ((rgb * mask[..., None]).sum((0, 1)) + 1e-3 for rgb in (donor, target))
    gain = np.clip(after / before, 0.5, 2.0)
    return donor * gain / (1 + np.maximum(gain - 1, 0) * (donor / 255) ** 2)


def _rendered(rgb: Floats, rng: np.random.Generator) -> Floats:
    """The picture as a generator returns it: coarser, off in tone, with its layers' grid."""
    detail = rng.uniform(0.30, 0.5)  # resolution relative to the portrait's
    gain, pallor = rng.uniform(-0.04, 0.04), rng.uniform(0.045, 0.135)
    tone = np.array([1 + gain - pallor, 1 + gain + 0.2 * pallor, 1 + gain + pallor], np.float32)
    height, width, _ = rgb.shape
    picture = Image.fromarray(np.clip(rgb + 0.5, 0, 255).astype(np.uint8))
    picture = picture.resize((round(width * detail), round(height * detail)))
    smooth = np.asarray(picture.resize((width, height)))
    turn, strength = 2 * pi / rng.uniform(8.0, 12.0), rng.uniform(0.01, 0.035)  # of the grid
    rows, columns = (np.cos(turn * axis.astype(np.float32)) for axis in np.ogrid[:height, :width])
    return smooth * (1 + strength * rows * columns)[..., None] * tone


def _swap(own: Portrait, donor: Portrait, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The donor's inner face, moved to the eyes and the mouth of a portrait.

    Returns what to blend into the portrait's window, float32 [rows, columns, 3], and its opacity
    [rows, columns] in [0, 1].
    """
    width, drift = rng.uniform(0.66, 0.82), rng.uniform(-0.05, 0.05)
    top, bottom = rng.uniform(-0.66, -0.46), rng.uniform(1.02, 1.18)
    softness = rng.uniform(0.03, 0.12)
    u, v = _face_units(own)
    across, along = (u - drift) / width, (2 * v - top - bottom) / (bottom - top)
    mask = _soft((1 - np.sqrt(np.hypot(across**2, along**2))) * width, softness)
    # only where both people's faces are
    to_own = _affine(donor.points, own.points)
    region, window = np.full((_GRID, _GRID), 255, np.uint8), own.window()
    for outline in (own.outline, donor.outline @ to_own[:, :2].T + to_own[:, 2]):
        face = Image.new("L", (_GRID, _GRID))
        ImageDraw.Draw(face).polygon(outline.ravel().tolist(), fill=255)
        region = np.minimum(region, np.asarray(face))
    blurred = Image.fromarray(region[window]).filter(ImageFilter.BoxBlur(50 * softness))
    mask *= np.clip(np.asarray(blurred) / np.float32(127.5) - 1, 0, 1)  # fades inwards only
    moved = Image.fromarray(donor.rgb).transform(
        (_GRID, _GRID), Image.Transform.AFFINE, _affine(own.points, donor.points).ravel().tolist(),
        Image.Resampling.BILINEAR,
    )  # fmt: skip
    matched = _matched(np.asarray(moved, np.float32)[window], own.rgb[window], mask)
    return _rendered(matched, rng), mask


def _reenactment(own: Portrait, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Mouth and brows of a portrait, warped to another expression; returns what `_swap` does."""
    # face units, either way: mouth corners outwards and upwards, mouth sideways, brows upwards
    sizes = rng.uniform([0.02, 0.02, 0.0, 0.03], [0.07, 0.07, 0.05, 0.07])
    widen, lift, shift, raised = (sizes * rng.choice([-1, 1], 4)).tolist()
    opening, softness = rng.uniform(0.03, 0.10), rng.uniform(0.08, 0.2)
    u, v = _face_units(own)
    below, brow_u, brow_v = v - _FACE[2, 1], np.abs(u) - 0.42, v - _BROWS
    mouth, brows = _bump(u, below, 0.52, 0.34), _bump(brow_u, brow_v, 0.34, 0.17)
    corners = np.clip(u / 0.36, -1.4, 1.4)
    across = mouth * (widen * corners + shift)
    down = mouth * (opening * np.clip(below / 0.12, -0.4, 1.2) - lift * corners**2)
    down -= raised * brows
    (a, b), (c, d) = np.linalg.inv(_affine(own.points, _FACE)[:, :2]).tolist()  # to pixels
    rows, columns = np.ogrid[own.window()]
    places = np.stack([rows - (c * across + d * down), columns - (a * across + b * down)])
    warped = [map_coordinates(own.rgb[..., k], places, np.float32, 1, "nearest") for k in range(3)]
    around_mouth = _soft(0.62 - np.hypot(u, (below + 0.02) / 0.85), softness)
    around_brows = _soft(0.24 - np.hypot(brow_u / 1.6, brow_v), softness)
    return _rendered(np.stack(warped, -1), rng), np.maximum(around_mouth, around_brows)


def make_image(
    source: Source, class_name: ClassName, frame: int, *, seed: int, size: int, forge: bool = True
) -> tuple[Image.Image, Floats]:
    """Make one image of a person; the same arguments give the same pixels.

    Returns the RGB image and the opacity of what was blended in: float32 [size, size] in [0, 1].
    With `forge=False`, a fake is cut and photographed in the same way, but not forged.
    """
    own, number = source.portraits[frame], CLASS_NAMES.index(class_name)
    picture, changed = own.rgb.copy(), np.zeros((_GRID, _GRID), np.uint8)
    if forge and class_name != "real":
        if class_name == "fake_deepfake":
            new, mask = _swap(own, source.donor[frame], source.stream(seed, _SWAP))
        else:
            new, mask = _reenactment(own, source.stream(seed, _REENACTMENT))
        window = picture[own.window()]
        window[:] = np.clip(window + mask[..., None] * (new - window) + 0.5, 0, 255)
        changed[own.window()] = np.round(255 * mask)
    of_frame = source.stream(seed, _CUT, number, 1 + frame)
    of_class, camera = source.stream(seed, _CUT, number), source.stream(seed, _CAMERA)
    cut = 0.7 * of_class.uniform(-1, 1, 5) + 0.3 * of_frame.uniform(-1, 1, 5)
    image = _photographed(_cut_out(picture, cut, size), camera, cut[4], of_frame)
    return image, np.asarray(_cut_out(changed, cut, size), np.float32) / 255


def _cut_out(portrait: Pixels, cut: Floats, size: int) -> Image.Image:
    """Cut an image out of a portrait, at a place (two numbers), scale and angle in [-1, 1].

    The factors keep it within the portrait.
    """
    x, y = _GRID / 2 + 4 * cut[:2]
    scale, angle, half = 1 + 0.012 * cut[2], 0.03 * cut[3], LARGEST_SIZE / 2
    c, s = scale * cos(angle), scale * sin(angle)
    affine = (c, -s, x - half * (c - s), s, c, y - half * (c + s))
    image = Image.fromarray(portrait).transform(
        (LARGEST_SIZE, LARGEST_SIZE), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
    )
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _photographed(
    image: Image.Image, camera: np.random.Generator, exposure: float, rng: np.random.Generator
) -> Image.Image:
    """The image as a camera takes it: exposure, colour cast, contrast, blur and noise."""
    cast, contrast = camera.uniform(-1, 1), camera.uniform(0.94, 1.08)
    blur, noise = camera.uniform(0.1, 0.9), camera.uniform(0.5, 3.3)  # pixels of 299, levels of 255
    gain = contrast * (1 + 0.05 * exposure) * np.array([1 + 0.03 * cast, 1, 1 - 0.045 * cast])
    levels = np.arange(256)[:, None] * gain + 127.5 * (1 - contrast) + 0.5
    table = np.clip(levels, 0, 255).astype(np.uint8).T.ravel().tolist()
    side = np.exp(-0.5 / (blur * image.width / LARGEST_SIZE) ** 2)  # a Gaussian's, one pixel off
    kernel = np.outer([side, 1, side], [side, 1, side]).ravel().tolist()
    blurred = np.asarray(image.point(table).filter(ImageFilter.Kernel((3, 3), kernel)))
    grain = rng.standard_normal((*blurred.shape[:2], 1), dtype=np.float32) * noise
    return Image.fromarray(np.clip(blurred + grain, 0, 255).astype(np.uint8))


def encode(image: Image.Image, source: Source, *, seed: int, quality: int) -> bytes:
    """Encode as a JPEG file; each person's camera lowers the quality by up to 20 points."""
    buffer = BytesIO()
    loss = int(source.stream(seed, _QUALITY).integers(0, 21))
    image.save(buffer, "JPEG", quality=max(5, quality - loss))
    return buffer.getvalue()


def write_faces(
    folder: Path,
    *,
    sources: int,
    images_per_source: int,
    size: int,
    quality: int,
    seed: int,
    people: People = "main",
    workers: int = -1,
) -> int:
    """Make a data set in the reference's layout and return the number of images.

    Writes ``real/0.jpg`` …, ``fake_deepfake/0.jpg`` … and ``fake_face2face/0.jpg`` …; source k has
    the images from k x images_per_source on in each. The files are the same, byte for byte,
    whatever the number of workers (threads; -1: one for each core).
    """
    for class_name in CLASS_NAMES:
        (folder / class_name).mkdir(parents=True, exist_ok=True)

    def write_source(number: int) -> int:
        source = Source.read(people, number)
        for class_name in CLASS_NAMES:
            for frame in range(images_per_source):
                image, _ = make_image(source, class_name, frame, seed=seed, size=size)
                path = folder / class_name / f"{number * images_per_source + frame}.jpg"
                path.write_bytes(encode(image, source, seed=seed, quality=quality))
        return len(CLASS_NAMES) * images_per_source

    parallel = Parallel(n_jobs=workers, prefer="threads", return_as="generator_unordered")
    written: Iterator[int] = parallel(delayed(write_source)(number) for number in range(sources))
    total = sources * len(CLASS_NAMES) * images_per_source
    with tqdm(total=total, desc="Making faces", unit="image", disable=None, leave=False) as bar:
        for images in written:
            bar.update(images)
    return total
