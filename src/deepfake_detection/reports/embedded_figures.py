"""Figures in a page, as images that lie in the page itself."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from deepfake_detection.reports.style import Theme, drawing


@dataclass(frozen=True)
class PageFigure:
    """A figure in the page, as an SVG image for a light and one for a dark background."""

    name: str
    alt: str
    light: str
    dark: str
    caption: str = ""


def page_figure(
    name: str, alt: str, draw: Callable[[Theme], Figure], caption: str = ""
) -> PageFigure:
    """The figure, drawn once for each theme.

    Args:
        name: What it is.
        alt: What it shows, in words.
        draw: Draws it for a theme.
        caption: What stands beneath it.
    """
    return PageFigure(name, alt, svg(draw, "light"), svg(draw, "dark"), caption)


def svg(draw: Callable[[Theme], Figure], theme: Theme) -> str:
    """A drawn figure as the data URI of an SVG image; the same figure makes the same one."""
    figure = draw(theme)
    buffer = io.BytesIO()
    with drawing(theme):
        # the page's own surface shows through; no date, so that the same run is the same page
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return data_uri("image/svg+xml", buffer.getvalue())


def data_uri(media_type: str, content: bytes) -> str:
    """Bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
