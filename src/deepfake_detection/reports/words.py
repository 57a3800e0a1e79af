"""How numbers and names from outside are written for a reader."""

import math
import textwrap
from collections.abc import Sequence

_LEAST_SHOWN = 0.001
# Width of an interval in [0, 1] from which on more than two decimals would say nothing
_PRECISE = 0.03
# in ratios, with spaces at which no line is broken
_WHOLE = "\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}"


def printable(text: str) -> str:
    r"""The text with every invisible character written as its escape.

    File names may hold line breaks, bytes that are no UTF-8, or marks that reverse the reading
    direction.

    >>> printable("a\nb")
    'a\\nb'
    """
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def shortened(text: str, length: int) -> str:
    """The text in at most `length` characters: `…` replaces the middle.

    A path's start holds the class, its end the file's number: both are kept.
    """
    if len(text) <= length:
        return text
    tail = length // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def wrapped(text: str, width: int, lines: int) -> str:
    """The text in at most `lines` lines of `width` characters, broken anywhere, or near a `/`.

    For file names, which have few spaces. Too long a text is shortened in the middle.
    """
    rest = shortened(text, width * lines)
    broken: list[str] = []
    while len(rest) > width and len(broken) < lines - 1:
        slash = rest.rfind("/", width // 2, width) + 1
        room_after = width * (lines - 1 - len(broken))
        cut = slash if slash and len(rest) - slash <= room_after else width
        broken.append(rest[:cut])
        rest = rest[cut:]
    return "\n".join([*broken, rest])


def folded(text: str, width: int, lines: int) -> str:
    r"""The text in at most `lines` lines of `width` characters, broken between words.

    Lines are about equally long. Too long a text is shortened in the middle.

    >>> folded("Baseline + StepLR + L2", 20, 2)
    'Baseline +\nStepLR + L2'
    """
    # `80 : 20` stays whole
    text = unbroken(printable(text))
    length = min(len(text), width * lines)
    while len(broken := _wrap(shortened(text, length), width)) > lines:
        length -= 1
    needed = len(broken)
    while needed > 1 and len(narrower := _wrap(" ".join(broken), width - 1)) == needed:
        broken, width = narrower, width - 1
    return "\n".join(broken).replace(_WHOLE, " : ").replace("\N{NO-BREAK SPACE}", " ")


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_on_hyphens=False)


def unbroken(text: str) -> str:
    """The text with ratios, as in `80 : 20`, and numbers with their `%` kept on one line."""
    return text.replace(" : ", _WHOLE).replace(" %", "\N{NO-BREAK SPACE}%")


def probability(value: float) -> str:
    """A probability with three decimals, never rounded to certainty."""
    if math.isnan(value):
        return "undefined"
    if 0 < value < _LEAST_SHOWN:
        return f"< {_LEAST_SHOWN}"
    if 1 - _LEAST_SHOWN < value < 1:
        return f"> {1 - _LEAST_SHOWN}"
    return f"{value:.3f}"


def percent(share: float) -> str:
    """A share in per cent with one decimal; 100 and 0 only for exactly all and none.

    >>> percent(0.9999)
    '99.9 %'
    """
    if math.isnan(share):
        return "undefined"
    tenths = round(share * 1000)
    if share < 1:
        tenths = min(tenths, 999)
    if share > 0:
        tenths = max(tenths, 1)
    return f"{tenths / 10:.1f} %"


def rounded_percent(share: float, width: float = 1.0) -> str:
    """A share in whole per cent where its interval, of this width, is too wide for more.

    >>> rounded_percent(0.8123, 0.3)
    '81 %'
    """
    if math.isnan(share) or width < _PRECISE or 0 < share < 0.005 or 0.995 < share < 1:
        return percent(share)
    return f"{100 * share:.0f} %"


def rounded(value: float, width: float) -> str:
    """A value in two decimals, in three or four where its interval, of this width, allows it.

    >>> rounded(0.98765, 0.2), rounded(0.98765, 0.01)
    ('0.99', '0.988')
    """
    if math.isnan(width) or width >= _PRECISE:
        return f"{value:.2f}"
    return f"{value:.3f}" if width >= _PRECISE / 10 else f"{value:.4f}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def name_levels(medium: object) -> dict[str, str]:
    """What pages call the levels of scores; `medium` is that of a split summary."""
    if medium == "video":
        return {"image": "frame", "source": "video"}
    return {"image": "image", "source": "source"}


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: `1 image`, `2,400 images`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
