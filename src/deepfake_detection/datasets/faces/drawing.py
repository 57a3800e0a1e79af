"""Draws the demo's images: portraits made by this code from a seed, and forgeries of them.

They are drawings, not photographs, and show nobody: they stand in for a data set of real faces so
that the whole pipeline can be tried without one. A *source* is one person in one scene. The same
source number in two class folders is the same person and scene at other moments, as where fakes
were made out of the real videos.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageFilter
from tqdm import tqdm

from deepfake_detection.datasets.faces.canvas import Floats, View
from deepfake_detection.datasets.faces.forging import reenact_face, swap_face
from deepfake_detection.datasets.faces.identity import (
    CLASS_NAMES,
    ClassName,
    Moment,
    Scene,
    donor_of,
    draw_identity,
    draw_moment,
    draw_reenactment,
    draw_scene,
    draw_swap,
)
from deepfake_detection.datasets.faces.portrait import draw_head, draw_portrait

# Raise it when a change makes other pictures out of the same settings.
DRAWING_VERSION = 1


@dataclass(frozen=True, slots=True)
class DrawnFace:
    """An image and where it was forged.

    ``image`` is RGB. ``changed`` has shape [size, size], float32 in [0, 1]: the opacity of what was
    blended in or warped, zero everywhere for a real image.
    """

    image: Image.Image
    changed: Floats


def draw_image(
    class_name: ClassName, source_number: int, frame: int, seed: int, size: int, forge: bool = True
) -> DrawnFace:
    """Draw one image of size x size pixels; the same arguments give the same pixels.

    Without forging, a fake's moment is drawn as it was before anything was done to the face.
    """
    person = draw_identity(seed, source_number)
    scene = draw_scene(seed, source_number)
    moment = draw_moment(seed, source_number, class_name, frame)
    view = View.of(moment, size)
    coarse = View.of(moment, (size + 1) // 2)
    head = draw_head(person, scene, view, coarse)
    changed: Floats = np.zeros((size, size), np.float32)
    if forge and class_name == "fake_deepfake":
        donor = draw_identity(seed, donor_of(source_number))
        swap = draw_swap(seed, source_number)
        other = draw_head(donor, scene, view, coarse)
        head, changed[head.window] = swap_face(head, other, swap, view)
    portrait = draw_portrait(person, scene, view, coarse, head)
    rgb = portrait.rgb
    changed *= 1 - portrait.cover
    if forge and class_name == "fake_face2face":
        drive = draw_reenactment(seed, source_number)
        rgb, changed = reenact_face(rgb, person, drive, view)
    return DrawnFace(_photographed(rgb, scene, moment), changed)


def _photographed(rgb: Floats, scene: Scene, moment: Moment) -> Image.Image:
    """The drawing as the scene's camera takes it: colour cast, contrast, blur and noise."""
    size = rgb.shape[1]
    levels = np.empty((size, size, 3), np.uint8)
    for channel, gain in enumerate(scene.camera_gain):
        plane = rgb[channel] * np.float32(255 * gain * scene.contrast)
        plane += np.float32(127.5 * (1 - scene.contrast) + 0.5)
        levels[:, :, channel] = np.clip(plane, 0, 255, out=plane)
    picture = Image.fromarray(levels).filter(ImageFilter.GaussianBlur(scene.blur * size / 299))
    rng = np.random.default_rng(moment.grain_seed)
    grain = rng.standard_normal((size, size, 1), dtype=np.float32)
    grain *= np.float32(255 * scene.noise)
    noisy = np.asarray(picture) + grain
    return Image.fromarray(np.clip(noisy, 0, 255, out=noisy).astype(np.uint8))


def draw_file(
    class_name: ClassName, source_number: int, frame: int, *, seed: int, size: int, quality: int
) -> bytes:
    """Draw one image as the bytes of a JPEG file; the scene's camera takes some of the quality."""
    drawn = draw_image(class_name, source_number, frame, seed, size)
    buffer = BytesIO()
    loss = draw_scene(seed, source_number).quality_loss
    drawn.image.save(buffer, "JPEG", quality=max(5, quality - loss))
    return buffer.getvalue()


def _write_source(
    folder: Path, source_number: int, images_per_source: int, seed: int, size: int, quality: int
) -> int:
    for class_name in CLASS_NAMES:
        for frame in range(images_per_source):
            data = draw_file(
                class_name, source_number, frame, seed=seed, size=size, quality=quality
            )
            number = source_number * images_per_source + frame
            (folder / class_name / f"{number}.jpg").write_bytes(data)
    return len(CLASS_NAMES) * images_per_source


def write_faces(
    folder: Path,
    *,
    sources: int,
    images_per_source: int,
    size: int,
    quality: int,
    seed: int,
    workers: int = -1,
) -> int:
    """Draw a data set in the course's layout and return the number of images.

    Writes ``real/0.jpg`` …, ``fake_deepfake/0.jpg`` … and ``fake_face2face/0.jpg`` … into the
    folder; source k has the images from k x images_per_source on in each. The files are the same,
    byte for byte, whatever the number of workers (-1: one for each core).
    """
    for class_name in CLASS_NAMES:
        (folder / class_name).mkdir(parents=True, exist_ok=True)
    jobs = (
        delayed(_write_source)(folder, source, images_per_source, seed, size, quality)
        for source in range(sources)
    )
    # Workers leave soon after the last image instead of holding their memory through a training.
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", idle_worker_timeout=10)
    written: Iterator[int] = parallel(jobs)
    total = sources * len(CLASS_NAMES) * images_per_source
    with tqdm(total=total, desc="Drawing faces", unit="image", disable=None, leave=False) as bar:
        for images in written:
            bar.update(images)
    return total
