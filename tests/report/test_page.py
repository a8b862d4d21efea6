"""The page: what is in it, that it is safe, and that it can be read."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import envbuild.report
from envbuild.contents.licences import Licence
from envbuild.report.model import Command, Fact, NotebookEntry, Package, Report
from envbuild.report.page import page
from tests.report.examples import EMPTY, REPORT, RUN, layer, package, platform

_STYLE = Path(envbuild.report.__file__).with_name("style.css").read_text("utf-8")


class Reader(HTMLParser):
    """The page as elements: name, attributes, text; unbalanced tags are an error."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.text = ""
        self.feed(markup)
        self.close()
        assert [] == self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag not in {"input", "link", "meta"}:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.stack):
            self.text += data
        if self.stack and re.fullmatch("h[1-6]", self.stack[-1]):
            level, text = self.headings.pop()
            self.headings.append((level, text + data))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def test_everything_that_is_known_is_on_the_page() -> None:
    text = Reader(page(REPORT)).text

    for expected in (
        *("Demo", "linux/amd64", "3.11.2", "116.0 MB", "5 packages"),
        *("numpy", "Arrays", "BSD-3-Clause", "56.0 MB", "asked for", "six", "see the web site", "as stated"),
        *("libc6", "GNU C Library", "Debian, see /usr/share/doc", "not stated", "not known", "of no package"),
        *("Python (Demo)", "a.ipynb", "ran to its end", "2026-01-02 03:04 UTC", "1 min 02 s", "year = 2020"),
        *("With this lock and this image.", "no trace of a run", "envbuild up --locked"),
    ):
        assert expected in text, expected


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (replace(RUN, lock=False), "With another lock than this one"),
        (replace(RUN, image_id="sha256:other", platform="linux/arm64"), "With this lock, on linux/arm64."),
        (replace(RUN, image_id="sha256:other"), "With this lock, in another image than this one."),
        (replace(RUN, failed=3), "failed in cell 3"),
        (replace(RUN, dirty=False), "Commit cccccccccccc"),
    ],
)
def test_runs_say_what_they_were_run_with(run: object, expected: str) -> None:
    entry = NotebookEntry("a.ipynb", "demo", "python", run)  # type: ignore[arg-type]

    assert expected in Reader(page(replace(REPORT, notebooks=(entry,)))).text


def test_what_is_not_there_is_said() -> None:
    text = Reader(page(EMPTY)).text

    for expected in (
        "Nothing is known about what is in the layers.",
        "No package manager has left a trace in the image.",
        "Nothing is known about licences.",
        "This report is about an image.",
    ):
        assert expected in text, expected
    assert "There is no notebook in the repository." in page(replace(EMPTY, notebooks=()))


def test_packages_of_several_platforms_are_one_row() -> None:
    """The size of each is shown where they differ."""
    amd64 = platform("linux/amd64", layer("all", package("same", 1000), package("binary", 2000)))
    arm64 = platform("linux/arm64", layer("all", package("same", 1000), package("binary", 3000)))

    read = Reader(page(replace(REPORT, platforms=(amd64, arm64))))

    assert 1 == read.text.count("3.0 kB linux/arm64")
    assert "1.0 kB linux/amd64" not in read.text
    assert ["linux/amd64", "linux/arm64"] == [text for level, text in read.headings if text.startswith("lin")]


def test_the_same_report_is_the_same_page_and_has_no_time_in_it() -> None:
    assert page(REPORT) == page(REPORT)
    assert "Made by envbuild" in page(REPORT) and " on <time" not in page(REPORT)
    made = datetime(2026, 5, 6, 7, 8, tzinfo=UTC)
    assert '<time datetime="2026-05-06T07:08:00Z">2026-05-06 07:08 UTC</time>' in page(
        replace(REPORT, made=made)
    )


# Nothing is loaded, and nothing runs but the page's own script


def test_the_policy_allows_the_style_the_script_and_nothing_else() -> None:
    text = page(REPORT)
    (policy,) = [one["content"] for one in Reader(text).all("meta") if one.get("http-equiv")]

    def hashed(name: str) -> str:
        (found,) = re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
        return "'sha256-" + base64.b64encode(hashlib.sha256(found.encode()).digest()).decode() + "'"

    expected = {
        "default-src": ["'none'"],
        "style-src": [hashed("style")],
        "script-src": [hashed("script")],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    rules = [rule.split() for rule in (policy or "").split(";")]
    assert expected == {name: values for name, *values in rules}


def test_nothing_is_loaded_from_anywhere() -> None:
    read = Reader(page(REPORT))
    addresses = [(tag, key, value) for tag, attributes in read.elements for key, value in attributes.items()]

    assert [] == [
        one for one in addresses if one[1] in ("src", "srcset", "style", "action") or one[1][:2] == "on"
    ]
    links = [(tag, value or "") for tag, key, value in addresses if key == "href"]
    assert {"a", "link"} == {tag for tag, _ in links}
    assert all(value.startswith("data:") for tag, value in links if tag == "link")
    assert "@import" not in _STYLE and "url(" not in _STYLE


_NASTY = st.text(max_size=30) | st.sampled_from(
    [
        "</title><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "'><svg/onload=alert(1)>",
        "<!--",
        "]]>",
        "</svg></style></script>",
        "javascript:alert(1)",
        "&lt;b&gt;",
        "\u202egnp.exe",
        "\ud800",
    ]
)


@st.composite
def _hostile(draw: st.DrawFn) -> Report:
    def text() -> str:
        return draw(_NASTY)

    hostile = Package(
        name=text(),
        version=text(),
        kind="wheel",
        part="environment",
        size=draw(st.none() | st.integers(0, 10**15)),
        licence=Licence(text(), spdx=False),
        summary=text(),
        home_page=text(),
    )
    run = replace(
        RUN, path=text(), platform=text(), commit=text(), parameters={text(): text()}, inputs={text(): text()}
    )
    return Report(
        name=text(),
        title=text(),
        facts=(Fact(text(), text()), Fact(text(), text(), code=True)),
        platforms=(
            replace(platform(text(), replace(layer("x", hostile, size=100), title=text())), image_id=text()),
        ),
        notebooks=(NotebookEntry(text(), text(), text(), run),),
        commands=(Command(text(), text()),),
        unknown=(text(),),
    )


_HARMLESS = Reader(page(REPORT))


@given(_hostile())
def test_no_input_breaks_out_of_the_page(report: Report) -> None:
    """Elements and attributes are those of a harmless report, and links lead to the web or nowhere."""
    written = page(report)
    read = Reader(written)

    assert {tag for tag, _ in read.elements} <= {tag for tag, _ in _HARMLESS.elements} | {"h3"}
    known = {key for _, attributes in _HARMLESS.elements for key in attributes}
    assert {key for _, attributes in read.elements for key in attributes} <= known
    assert 1 == len(read.all("script")) == len(read.all("style"))
    for attributes in read.all("a"):
        assert re.match(r"https?://|#", attributes["href"] or "")
    assert "\u202e" not in written
    written.encode("utf-8")


# Readable by everybody


@pytest.mark.parametrize("report", [REPORT, EMPTY], ids=["full", "empty"])
def test_headings_are_in_order_and_sections_have_names(report: Report) -> None:
    read = Reader(page(report))
    levels = [level for level, _ in read.headings]

    assert 1 == levels[0] and 1 == levels.count(1)
    assert all(level - before <= 1 for before, level in pairwise(levels))
    assert [{"lang": "en"}] == read.all("html")
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in (attributes for _, attributes in read.elements):
        for key in ("aria-labelledby", "aria-controls", "for"):
            assert attributes.get(key) is None or attributes[key] in ids
    inside = [
        attributes["href"] for attributes in read.all("a") if (attributes["href"] or "").startswith("#")
    ]
    assert set(inside) <= {f"#{one}" for one in ids}


def test_tables_have_captions_and_scopes() -> None:
    text = page(REPORT)
    tables = re.findall(r"<table.*?</table>", text, re.DOTALL)

    assert 7 == len(tables)
    for table in tables:
        read = Reader(table)
        assert "caption" == read.elements[1][0]
        assert all(head.get("scope") in ("col", "row") for head in read.all("th"))
        rows = re.findall(r"<tr[^>]*>(.*?)</tr>", re.sub(r"<details>.*?</details>", "", table), re.DOTALL)
        assert 1 == len({len(re.findall(r"<t[hd]\b", row)) for row in rows})


def test_drawings_are_pictures_with_a_description() -> None:
    drawings = Reader(page(REPORT)).all("svg")

    assert ["img", "img"] == [drawing["role"] for drawing in drawings]
    assert all("numpy 56.0 MB" in (drawing["aria-label"] or "") for drawing in drawings)


def _schemes() -> Iterator[tuple[str, dict[str, str]]]:
    """The colours of the light scheme, the dark one and the one for paper."""
    light, dark, paper = re.findall(r":root \{(.*?)\}", _STYLE, re.DOTALL)
    base = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light))
    yield "light", base
    yield "dark", base | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", dark))
    yield "paper", base | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", paper))


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


_BLOCKS = ("environment", "apt", "server", "system", "other")


@pytest.mark.parametrize(
    ("scheme", "colours"), list(_schemes()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_colours_have_enough_contrast(scheme: str, colours: dict[str, str]) -> None:
    """4.5 for text, 3 for what is no text (WCAG 2.2, 1.4.3 and 1.4.11)."""
    texts = [
        (colour, ground)
        for colour in ("text", "quiet", "link", "good", "bad", "warn")
        for ground in ("ground", "panel")
    ]
    texts += [("block-text", part) for part in _BLOCKS]
    others = [(part, "ground") for part in (*_BLOCKS, "focus", "quiet")]

    weak = [pair for pair in texts if _contrast(colours[pair[0]], colours[pair[1]]) < 4.5]
    weak += [pair for pair in others if _contrast(colours[pair[0]], colours[pair[1]]) < 3]
    assert [] == weak


def test_all_colours_are_in_the_schemes() -> None:
    """So that the test above sees them."""
    rules = re.sub(r":root \{.*?\}", "", _STYLE, flags=re.DOTALL)

    assert [] == re.findall(r"#[0-9a-f]{3,8}\b|\brgba?\(|\bhsla?\(", rules)
