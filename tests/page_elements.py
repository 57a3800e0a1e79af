"""What stands in a page and in a figure."""

import re
from html.parser import HTMLParser

from matplotlib.text import Text

INLINE = {"a", "bdi", "em", "span", "strong", "sup"}


class Elements(HTMLParser):
    """Every element's name and attributes, and all text outside `style` and `script`."""

    def __init__(self, page):
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words = ""
        self.feed(page)
        self.words = re.sub(r"\s+", " ", self.words)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        # neighbouring words of two blocks are not one word
        self.words += "" if tag in INLINE else " "
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        if self.names[-1:] not in (["style"], ["script"]):
            self.words += data

    def values(self, tag, attribute):
        return [value for t, name, value in self.attributes if (t, name) == (tag, attribute)]

    def check_document(self):
        """It is one document, whose links lead to elements of its own."""
        assert self.names.count("title") == self.names.count("h1") == 1
        assert not {"link", "iframe", "object"} & set(self.names)
        ids = [f"#{value}" for _, name, value in self.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        assert set(self.values("a", "href")) <= set(ids)


def words_in(drawn):
    """All words of a figure, or of a part of it."""
    return "\n".join(text.get_text() for text in drawn.findobj(Text) if text.get_text())
