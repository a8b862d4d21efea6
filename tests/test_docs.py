"""The documentation's links lead somewhere."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
_NOT_OURS = frozenset({".venv", ".git", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis"})
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_PAGE = re.compile(r"(?<![/\w])docs/[\w./-]+\.md\b")


@functools.cache
def _all_files() -> list[Path]:
    found = []
    for directory, below, names in os.walk(ROOT):
        below[:] = set(below) - _NOT_OURS  # is not entered
        found += [Path(directory, name) for name in names]
    return sorted(found)


def _files(ending: str) -> list[Path]:
    return [path for path in _all_files() if path.suffix == ending]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def _anchors(page: Path) -> set[str]:
    """What can be linked to in ``page``, as GitHub derives it from headings."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _links(text: str) -> list[str]:
    """The targets of inline links, without those in code."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def test_links_are_found() -> None:
    """The pattern sees what it is meant to see."""
    text = 'see [a](a.md), `[b](b.md)`, [c](<c.md#d> "e")\n```\n[f](f.md)\n```\n'
    assert ["a.md", "c.md#d"] == _links(text)


@pytest.mark.parametrize("page", _files(".md"), ids=_name)
def test_relative_links_resolve(page: Path) -> None:
    """Every relative link names a file or directory, and a heading that is in it."""
    broken = []
    for link in _links(page.read_text("utf-8")):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert [] == broken


def test_pages_that_code_refers_to_exist() -> None:
    """Docstrings, comments and scripts name only pages that are there."""
    mentioned = {
        (_name(file), page)
        for ending in (".py", ".toml")
        for file in _files(ending)
        for page in _PAGE.findall(file.read_text("utf-8"))
    }
    assert [] == sorted((file, page) for file, page in mentioned if not (ROOT / page).exists())


def test_every_decision_is_in_the_index() -> None:
    """docs/adr/README.md lists each page once, in order."""
    index = ROOT / "docs" / "adr" / "README.md"
    pages = sorted(page.name for page in index.parent.glob("[0-9]*.md"))
    assert pages == [link for link in _links(index.read_text("utf-8")) if link[0].isdigit()]


def test_every_page_is_reachable_from_the_index() -> None:
    """docs/README.md links to every page beside it."""
    index = ROOT / "docs" / "README.md"
    pages = {page.name for page in index.parent.glob("*.md")} - {"README.md"}
    assert set() == pages - set(_links(index.read_text("utf-8")))
