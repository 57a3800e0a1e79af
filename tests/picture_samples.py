"""Pictures, files of pictures that no library would write, and parameters of image sets."""

import struct
import zlib

import numpy as np
from PIL import Image

from deepfake_detection.parameters import ImageSetParameters, PreprocessingParameters


def png_of_size(width, height):
    """A whole PNG file in a few bytes that says it has this size."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def grainy_photograph(seed, size=(48, 40), grain=6):
    """Smooth colours, neither dark nor bright, with grey grain of this deviation."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(70, 170, (3, 3, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    noise = generator.normal(0, grain, smooth.shape[:2])[:, :, None]
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def make_sizes(resize, crop, mean=0.0):
    return PreprocessingParameters(resize=resize, crop=crop, mean=(mean,) * 3, std=(1, 1, 1))


LAYOUT_OPTIONS = {
    "compression": None, "lists": None, "table": None, "folder_names": {}, "leave_out": [],
    "official_subset": None,
}  # fmt: skip


def make_image_set(classes, source="consecutive", group="source", options=None, **changes):
    """Parameters of an image set of these class folders, with its rules of sources and groups."""
    return ImageSetParameters.model_validate(
        {
            "images": "folder",
            "layout": "auto",
            "layout_options": LAYOUT_OPTIONS | (options or {}),
            "classes": classes,
            "source": {"rule": source, "size": 5, "pattern": None},
            "group": {"rule": group, "pattern": None},
            "max_rejected_share": 0,
            "crop_recipe": None,
            "equalise": None,
            "max_pixels": 1_000_000,
            "note": None,
        }
        | changes
    )
