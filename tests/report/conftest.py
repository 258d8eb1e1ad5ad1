from html.parser import HTMLParser

import pytest
from sample_audit import write_sample_audit

EMPTY = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """The elements of a page in order, each with its attributes and the text inside it."""

    def __init__(self, content):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(content)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", "in": [each["tag"] for each in self._open], **dict(attributes)}
        self.elements.append(element)
        if tag not in EMPTY:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    def by_id(self, name):
        (element,) = [element for element in self.elements if element.get("id") == name]
        return element


@pytest.fixture(scope="session")
def parse():
    """Return a function from HTML to a `Page`."""
    return Page


@pytest.fixture
def audit(tmp_path):
    """Return the folder of a made-up audit that a test may do with what it likes."""
    return write_sample_audit(tmp_path / "audit")
