"""Places of values in TOML files."""

from __future__ import annotations

import string

import tomli
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from envbuild.fleet.lines import Key, lines_of

_TEXT = '''\
# comment with [brackets] and = signs
top = "a # no comment" # one
"quoted.key" . sub = 1

[a."b.c"]
text = """
[not.a.table]
x = 1 \\""" still
"""
literal = \'\'\'
y = [\'\'\'
inline = { one = 1, two = { three = "}" } }

[[a.list]]
n = [ # a comment ]
  1, "]",
  { k = 2 },
]
[[a.list]]
[a.list.inner]
m = 1979-05-27 07:32:00
'''


def test_lines_of_everything_toml_has() -> None:
    expected: dict[Key, int] = {
        ("top",): 2,
        ("quoted.key",): 3,
        ("quoted.key", "sub"): 3,
        ("a",): 5,
        ("a", "b.c"): 5,
        ("a", "b.c", "text"): 6,
        ("a", "b.c", "literal"): 10,
        ("a", "b.c", "inline"): 12,
        ("a", "b.c", "inline", "one"): 12,
        ("a", "b.c", "inline", "two"): 12,
        ("a", "b.c", "inline", "two", "three"): 12,
        ("a", "list"): 14,
        ("a", "list", 0): 14,
        ("a", "list", 0, "n"): 15,
        ("a", "list", 0, "n", 0): 16,
        ("a", "list", 0, "n", 1): 16,
        ("a", "list", 0, "n", 2): 17,
        ("a", "list", 0, "n", 2, "k"): 17,
        ("a", "list", 1): 19,
        ("a", "list", 1, "inner"): 20,
        ("a", "list", 1, "inner", "m"): 21,
    }
    assert tomli.loads(_TEXT)
    assert expected == lines_of(_TEXT)


_NAMES = st.text(string.ascii_letters + "\"'.\\\n é#[]=", min_size=1, max_size=5)
_VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text("ab\"'\\\n#[]{},=", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


def _keys(value: object, path: Key = ()) -> set[Key]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} | {key for name, item in inner for key in _keys(item, (*path, name))}


@given(st.dictionaries(_NAMES, _VALUES, max_size=4), st.booleans())
def test_every_key_that_a_parser_finds_has_a_line(document: dict[str, object], multiline: bool) -> None:
    text = tomli_w.dumps(document, multiline_strings=multiline)
    assert _keys(tomli.loads(text)) - {()} == set(lines_of(text))
