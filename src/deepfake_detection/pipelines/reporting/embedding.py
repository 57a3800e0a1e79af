"""Pictures and heat maps as data URIs: small, and without a file beside the page."""

import io

import numpy as np
from PIL import Image

from deepfake_detection.metrics.cases import ExplainedCase
from deepfake_detection.models.heat_maps import heat_layer
from deepfake_detection.reports.embedded_figures import data_uri

_JPEG_QUALITY = 82
# A heat map is no finer than the network's last grid (7×7 to 8×8 for photographs): so few pixels
# each way lose nothing of it.
_HEAT_PIXELS = 24
_SCALE_STEPS = 32


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
    """A case's heat map as the data URI of a PNG image to lay over its picture; "" without one."""
    if case.heat is None:
        return ""
    side = min(_HEAT_PIXELS, case.heat.shape[0])
    return _embed_layer(heat_layer(np.asarray(case.heat, dtype=np.float32), (side, side)))


def embed_heat_scale() -> str:
    """The colours of heat maps, from no heat on the left to the most on the right."""
    steps = np.linspace(0, 1, _SCALE_STEPS, dtype=np.float32)[None]
    return _embed_layer(heat_layer(steps, (_SCALE_STEPS, 1)))


def _embed_layer(layer: Image.Image) -> str:
    buffer = io.BytesIO()
    layer.save(buffer, "PNG", optimize=True)
    return data_uri("image/png", buffer.getvalue())
