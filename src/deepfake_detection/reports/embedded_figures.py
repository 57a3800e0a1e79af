"""Figures as part of a page: one SVG element that takes its neutral colours from the page."""

import base64
import io
import re
from dataclasses import dataclass

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from deepfake_detection.reports.style import PAGE_COLOURS, drawing
from deepfake_detection.reports.words import printable

# What an SVG element inside HTML does without; comments repeat the drawn texts.
_LEFT_OUT = re.compile(
    r'<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>| xmlns(:xlink)?="[^"]*"', re.DOTALL
)
_COLOUR = re.compile("|".join(PAGE_COLOURS), re.IGNORECASE)
_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')


@dataclass(frozen=True)
class PageFigure:
    """A figure in a page: its name, what it shows in words, its SVG element, and a caption."""

    name: str
    alt: str
    svg: Markup
    caption: str = ""


def embed_figure(name: str, alt: str, figure: Figure, caption: str = "") -> PageFigure:
    """Turn a figure into an SVG element; the same figure gives the same element.

    The figure was drawn inside `drawing`. No two of a page have the same name.
    """
    buffer = io.StringIO()
    with drawing():
        # the page's background shows through; without a date, so that equal runs give equal pages
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = _LEFT_OUT.sub("", buffer.getvalue())
    svg = _COLOUR.sub(lambda found: f"var({PAGE_COLOURS[found[0].lower()]})", svg)
    # ids are unique in a page
    svg = _REFERENCE.sub(rf"\g<1>{re.sub('[^a-z0-9]+', '-', name.lower())}-", svg)
    spoken = f'<svg role="img" aria-label="{escape(alt)}"'
    svg = svg[svg.index("<svg") :].replace("<svg", spoken, 1)
    # Matplotlib's own element, without the comments in which drawn texts would stand
    return PageFigure(name, alt, Markup(svg), caption)  # noqa: S704


def data_uri(media_type: str, content: bytes) -> str:
    """A data URI that holds these bytes."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def describe_figure(figure: Figure) -> str:
    """What a figure says in words: titles, texts and legends of its axes, for use as `alt`."""
    words = []
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        legend = axes.get_legend()
        texts = [*axes.texts, *(legend.get_texts() if legend else ())]
        words += [axes.get_title("left"), *(text.get_text() for text in texts)]
    words += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return ". ".join(printable(line.replace("\n", ", ")) for line in words if line)
