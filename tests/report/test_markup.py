"""No input breaks out of text or attributes."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.report.markup import Markup, element, join, link, text
from envbuild.source.text import printable, redact

_NASTY = st.text(st.characters() | st.sampled_from("<>&\"'/=` \n\t\u202e\u2028\udc80-!"))


class Reader(HTMLParser):
    """What a browser would see: elements with attributes, and texts."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.others: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)


@given(_NASTY, _NASTY)
def test_text_and_attributes_stay_what_they_are(content: str, value: str) -> None:
    read = Reader(element("td", content, title=value, data_sort=value))

    shown = printable(redact(value))
    assert [("td", {"title": shown, "data-sort": shown})] == read.elements
    assert printable(redact(content)) == "".join(read.texts)
    assert [] == read.others


@given(
    _NASTY | st.builds("https://example.org/{}".format, _NASTY) | st.builds("javascript:{}".format, _NASTY)
)
def test_links_lead_to_the_web_or_nowhere(address: str) -> None:
    for name, attributes in Reader(link(address, "here")).elements:
        assert "a" == name
        assert {"href"} == attributes.keys()
        assert (attributes["href"] or "").startswith(("http://", "https://", "#"))
        assert attributes["href"] == address


@pytest.mark.parametrize("name", ["onclick", "style", "href", "src", "srcset", "formaction", "ONLOAD"])
def test_attributes_that_could_do_something_are_refused(name: str) -> None:
    attributes: dict[str, Any] = {name: "x"}
    with pytest.raises(ValueError, match="no attribute"):
        element("p", **attributes)


def test_credentials_are_left_out() -> None:
    assert "index at https://***@example.org/simple" == text("index at https://me:secret@example.org/simple")


def test_numbers_nothing_and_lists() -> None:
    items = [element("li", number) for number in (1, 2)]

    assert '<ul class="a"><li>1</li><li>2</li></ul>' == element("ul", items, None, class_="a", hidden=False)
    assert '<input disabled width="1.5">' == element("input", disabled=True, width=1.5, height=None)
    assert "a&lt;b" == join(["a", Markup("&lt;"), "b"])
