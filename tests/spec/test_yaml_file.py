"""YAML as text with lines, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envbuild.errors import RepoError
from envbuild.spec.yaml_file import Node, parse_yaml


def plain(node: Node) -> Any:
    """The values without lines."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def test_scalars_stay_what_was_written() -> None:
    text = b"python: 3.10\nyes: no\nnumber: 1e3\ndate: 2024-01-01\nnothing: ~\nquoted: '~'\n"

    assert {
        "python": "3.10",
        "yes": "no",
        "number": "1e3",
        "date": "2024-01-01",
        "nothing": None,
        "quoted": "~",
    } == plain(parse_yaml(text, "a.yml"))


def test_every_value_knows_its_line() -> None:
    root = parse_yaml(b"a:\n  - b\n  - c: d\n", "a.yml")
    items = root.table("")["a"].items("")

    assert [1, 2, 3, 3] == [root.line, items[0].line, items[1].line, items[1].table("")["c"].line]


def test_byte_order_mark_and_windows_line_ends() -> None:
    assert {"a": "b", "c": "d"} == plain(parse_yaml(b"\xef\xbb\xbfa: b\r\nc: d\r\n", "a.yml"))


def test_an_alias_is_what_it_names() -> None:
    assert {"a": ["x"], "b": ["x"]} == plain(parse_yaml(b"a: &one [x]\nb: *one\n", "a.yml"))


BOMB = b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 10)) for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a: 1\nb: 2\na: 3\n", 3, "there twice"),
        (b"a:\n  - !!python/object/apply:os.system [x]\n", 2, "tag"),
        (b"a: !secret b\n", 1, "tag"),
        (BOMB, 6, "too large"),
        (b"a: &a [*a]\n", 1, "names nothing"),
        (b"a: *b\n", 1, "names nothing"),
        (b"[" * 100_000, 1, "nested too deeply"),
        (b"{a: " * 40, 1, "nested too deeply"),
        (b"- " * 10_000, 1, "nested too deeply"),
        (b"a: 1\n---\nb: 2\n", 2, "more than one document"),
        (b"? [a]\n: b\n", 1, "key must be a text"),
        (b"a:\n\t- b\n", 2, "not valid YAML"),
        (b"a: b\n<<<<<<< HEAD\n", 3, "not valid YAML"),
        (b"a: [b\n", 2, "not valid YAML"),
        (b"a: b\nc: \xe9\n", 2, "not UTF-8"),
        (b"a: b\nc: \0\n", 2, "not a text file"),
        (b"a: b\nc: \x01\n", 2, "control character"),
        (b"'" + b"x" * 10_000_000, 1, "not valid YAML"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refused_with_the_line(data: bytes, line: int, words: str) -> None:
    with pytest.raises(RepoError, match=words) as caught:
        parse_yaml(data, "a.yml")

    assert ("a.yml", line) == (caught.value.file, caught.value.line)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text("ab:- \n\t[]{}&*!#'\"|>?%@,", max_size=80).map(str.encode)))
@example(b"&a &b c")
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        parse_yaml(data, "a.yml")
    except RepoError as error:
        assert error.file == "a.yml"
