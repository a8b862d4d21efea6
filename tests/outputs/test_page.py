"""The report is one file in which nothing of a notebook runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from envbuild.errors import RepoError
from envbuild.outputs.compare import compare_outputs
from envbuild.outputs.page import report_page
from envbuild.outputs.verdict import CellVerdict, NotebookVerdict
from tests.outputs.examples import RULES, display, outputs, plot, stream

EVIL = "</pre></iframe><script>alert(1)</script><img src=x onerror=alert(1)>\"' srcdoc="


class _Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def _verdict(path: str = "a.ipynb") -> NotebookVerdict:
    stored = outputs(
        stream(EVIL),
        display(text_html=EVIL),
        display(image_png=plot()),
        display(image_svg__xml=f"<svg>{EVIL}</svg>"),
    )
    new = outputs(
        stream("1"),
        display(text_html="<b>1</b>"),
        display(image_png=plot("green")),
        display(image_svg__xml="<svg/>"),
    )
    # HTML with a script is not compared, so this one has only what acts without.
    found = compare_outputs(stored, new, RULES)
    plain = compare_outputs(
        outputs(display(text_html="<p onclick=alert(1)>1</p>")), outputs(display(text_html="<p>2</p>")), RULES
    )
    cell = CellVerdict(2, 1, EVIL, "differs", (*found.differences, *plain.differences), found.skipped)
    return NotebookVerdict(path, "differs", (cell,), RepoError(EVIL, code="outputs-differ"))


def test_nothing_of_a_notebook_runs() -> None:
    failed = NotebookVerdict(EVIL, "failed", (), RepoError(EVIL, code="cell-failed", detail=EVIL))
    page = report_page(EVIL, [_verdict(EVIL), failed])
    elements = _Elements(page).found

    allowed = {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "header",
            "h1",
            "h2",
            "h3",
            "h4",
            "p",
            "nav",
            "ul",
            "li",
        ),
        *(
            "span",
            "a",
            "main",
            "section",
            "article",
            "details",
            "summary",
            "pre",
            "del",
            "ins",
            "div",
            "figure",
        ),
        *("figcaption", "img", "iframe"),
    }
    assert set() == {tag for tag, _ in elements} - allowed
    assert set() == {name for _, attributes in elements for name in attributes if name.startswith("on")}
    assert {""} == {attributes["sandbox"] or "" for tag, attributes in elements if tag == "iframe"}
    assert all(
        (attributes["src"] or "").startswith("data:image/") for tag, attributes in elements if tag == "img"
    )
    policies = [attributes.get("content") for tag, attributes in elements if attributes.get("http-equiv")]
    assert [True] == [str(policy).startswith("default-src 'none';") for policy in policies]


def test_pictures_are_side_by_side_with_where_they_differ() -> None:
    page = report_page("demo", [_verdict()])

    captions = re.findall(r"<figcaption>(.*?)</figcaption><img", page)
    assert ["Stored", "New", "Where they differ", "Stored", "New"] == captions
    assert "cell 2 (In [1])" in page
    assert "picture differs in" in page


def test_it_needs_nothing_from_elsewhere() -> None:
    page = report_page("demo", [_verdict()])

    assert [] == [
        attributes for tag, attributes in _Elements(page).found if tag in ("link", "script", "object")
    ]
    assert [] == re.findall(r"url\(|@import", page)


def test_what_is_the_same_is_counted() -> None:
    cells = tuple(CellVerdict(number, number, "1", "same") for number in (1, 2))
    page = report_page(
        "demo", [NotebookVerdict("a.ipynb", "same", cells), NotebookVerdict("b.ipynb", "skipped")]
    )

    assert "2 notebooks executed again: 1 same, 1 skipped." in page
    assert "2 of 2 cells that were compared give the same." in page
