"""How every figure looks: one style sheet, and one colour for each thing it can show."""

from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import style
from matplotlib.figure import Figure

_SHEET = "deepfake_detection.reports.report"

# Okabe and Ito's palette, and two of Tol's muted one for the split methods. All are legible on
# white and on near-black. A thing keeps its colour in every figure and on the page.
COLOURS = {
    "train": "#E69F00",
    "validation": "#0072B2",
    "test": "#009E73",
    "false negative": "#D55E00",
    "false positive": "#CC79A7",
    "certain fake": "#56B4E9",
    "certain real": "#F0E442",
    "plain recipe": "#8A929C",
    "this project": "#0072B2",
    "bare step": "#56B4E9",
    "bare forward pass": "#56B4E9",
    "individual": "#AA4499",
    "group": "#999933",
    "fake": "#D55E00",
    "real": "#0072B2",
    "ROC AUC": "#0072B2",
    "accuracy": "#E69F00",
}
_ANY_OTHER = "#56B4E9"

# Colours of the style sheet, and the CSS variables of page.css that replace them in a page, so that
# one drawing is legible on a light and on a dark background.
PAGE_COLOURS = {
    "#1f2328": "--ink",
    "#59636e": "--quiet",
    "#848d97": "--edge",
    "#e1e4e8": "--line",
    "#ffffff": "--surface",
}


def colour_of(thing: str) -> str:
    """The colour of a subset, a kind of error, or another thing in `COLOURS`."""
    return COLOURS.get(thing, _ANY_OTHER)


@contextmanager
def drawing() -> Iterator[None]:
    """Inside this context Matplotlib draws and saves in the report's style.

    Settings of the user's own Matplotlib file are ignored, and restored afterwards.
    """
    with style.context(_SHEET, after_reset=True):
        yield


def finished(figure: Figure) -> Figure:
    """Draw all parts of a figure, so that it looks the same when saved outside the style.

    Matplotlib makes ticks only when it first draws, from the settings of that moment.
    """
    figure.draw_without_rendering()
    # computing the layout again would take as long as all the rest of saving
    figure.set_layout_engine("none")
    return figure


def message_figure(message: str, title: str) -> Figure:
    """A figure that says why there is nothing to draw. Call it inside `drawing`."""
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", wrap=True, transform=axes.transAxes)
    return finished(figure)
