"""Pictures and heat maps as they lie in the page itself: small, and without a file beside it."""

import io
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

from deepfake_detection.metrics.cases import ExplainedCase
from deepfake_detection.reports.embedded_figures import data_uri

_JPEG_QUALITY = 82

# A heat map is no finer than the network's last grid (7×7 to 8×8 for photographs): this many pixels
# each way lose nothing of it, and weigh half a kilobyte.
_HEAT_PIXELS = 24
_HEAT_LEVELS = 32
# evenly perceived, and colour-blind safe
_HEAT_COLOURS = "viridis"
_MOST_OPAQUE = 0.75


def embed_picture(image: Image.Image, edge: int) -> str:
    """A picture as the data URI of a JPEG image, its longer edge at most `edge` pixels.

    Args:
        image: RGB.
        edge: Pixels.
    """
    smaller = image.copy()
    smaller.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return data_uri("image/jpeg", buffer.getvalue())


def embed_heat(case: ExplainedCase) -> str:
    """A case's heat map as the data URI of a PNG image to be laid over its picture; empty if none.

    The more heat, the more opaque and the brighter; where there is none the picture shows through.
    """
    if case.heat is None:
        return ""
    heat = Image.fromarray(np.asarray(case.heat, dtype=np.float32))
    side = min(_HEAT_PIXELS, heat.width)
    return _embed_levels(np.asarray(heat.resize((side, side), Image.Resampling.BOX)))


def embed_heat_scale() -> str:
    """What heat maps look like from no heat, on the left, to the most."""
    return _embed_levels(np.linspace(0, 1, _HEAT_LEVELS)[None])


def _embed_levels(heat: np.ndarray[Any, Any]) -> str:
    levels = np.clip(np.rint(heat * (_HEAT_LEVELS - 1)), 0, _HEAT_LEVELS - 1).astype(np.uint8)
    image = Image.fromarray(levels).convert("L")
    image.putpalette(_palette())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=_opacities(), optimize=True)
    return data_uri("image/png", buffer.getvalue())


def _palette() -> bytes:
    colours = np.asarray(colormaps[_HEAT_COLOURS](np.linspace(0, 1, _HEAT_LEVELS)))[:, :3]
    return bytes(np.rint(colours * 255).astype(np.uint8).ravel())


def _opacities() -> bytes:
    shares = np.linspace(0, _MOST_OPAQUE, _HEAT_LEVELS)
    return bytes(np.rint(shares * 255).astype(np.uint8))
