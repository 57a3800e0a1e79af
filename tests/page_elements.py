"""What stands in a page."""

import re
from html.parser import HTMLParser

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
