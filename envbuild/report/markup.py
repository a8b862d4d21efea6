"""HTML and SVG from values: whatever is not markup made here is text, and stays text.

Names, titles and addresses come from strangers. There is one way into a page, :func:`element`, and it escapes
everything that is no :class:`Markup`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final

from envbuild.source.text import printable, redact

__all__ = ["Markup", "element", "join", "link", "text"]

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
# Elements that have no content and no end tag.
_VOID: Final = frozenset({"br", "col", "hr", "input", "link", "meta"})
# Where a browser sees an address or a program in what is text elsewhere.
_NEVER: Final = re.compile(r"on.*|style|src|srcset|action|formaction|href")


class Markup(str):
    """A text that is markup, made by the functions of this module."""

    __slots__ = ()


Content = str | int | None | Iterable["Content"]


def text(value: object) -> Markup:
    """``value`` as text: on one line, without credentials of addresses, and nothing that is invisible.

    >>> text("a <b> & https://me:secret@example.org")
    'a &lt;b&gt; &amp; https://***@example.org'
    """
    return Markup(escape(printable(redact(str(value))), quote=True))


def element(name: str, *content: Content, **attributes: str | int | float | bool | None) -> Markup:
    """An element; what is not :class:`Markup` in it becomes text.

    >>> element("td", "<b>", class_="name", aria_label='a "name"')
    '<td class="name" aria-label="a &quot;name&quot;">&lt;b&gt;</td>'

    Parameters:
        content: strings, numbers, nothing (None), or collections of these.
        attributes: a trailing ``_`` is left out and ``_`` is written as ``-``. True: an attribute without a
            value; False and None: none.

    Raises:
        ValueError: the attribute could hold an address or a program (:func:`link` makes links).
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no element")
    return _element(name, content, {_attribute(key): value for key, value in attributes.items()})


def link(address: str, *content: Content, **attributes: str) -> Markup:
    """A link; without one when ``address`` is neither ``http(s)`` nor a place in this page.

    >>> link("#layers", "Layers"), link("javascript:alert(1)", "Home")
    ('<a href="#layers">Layers</a>', 'Home')
    """
    if not re.fullmatch(r"(?:https?://|#)[!-~]+", address):
        return join(content)
    named = {_attribute(key): value for key, value in attributes.items()}
    # As it is: an address with parts left out leads somewhere else.
    return _element("a", content, {"href": Markup(escape(address)), **named})


def join(content: Content) -> Markup:
    """The markup of several pieces, one after the other."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str | int):
        return text(content)
    return Markup("".join(map(join, content)))


def _attribute(name: str) -> str:
    written = name.rstrip("_").replace("_", "-")
    if not _NAME.fullmatch(written) or _NEVER.fullmatch(written.lower()):
        raise ValueError(f"{written!r} is no attribute for a page of this kind")
    return written


def _element(name: str, content: Content, attributes: dict[str, str | int | float | bool | None]) -> Markup:
    written = "".join(
        f" {key}"
        if value is True
        else f' {key}="{value if isinstance(value, Markup) else text(_number(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(content)}</{name}>")


def _number(value: object) -> object:
    """Numbers in drawings to a hundredth: more cannot be seen, and makes pages large."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
