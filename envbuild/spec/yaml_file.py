"""A YAML file of the repository: what it says, and the lines it says it on.

Every scalar stays the text that was written, so ``python: 3.10`` does not become 3.1. What YAML can do beyond
lists, mappings and text is refused: tags, duplicate keys, several documents, and aliases that multiply.
Nothing here recurses, so nesting cannot exhaust the stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import clean, quote

__all__ = ["Node", "parse_yaml", "read_yaml"]

_MOST_NODES = 300_000
_MOST_DEPTH = 32
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER = getattr(yaml, "CLoader", yaml.Loader)  # only its parser is used, which makes no objects


@dataclass(frozen=True, slots=True)
class Node:
    """One value and the line it begins on: a text, None for ``null``, a list or a mapping.

    ``size`` counts the values in it, itself included. ``file`` is for people.
    """

    value: str | list[Node] | dict[str, Node] | None
    line: int
    file: str
    size: int = 1

    def error(self, message: str, *, code: str = "bad-yaml", remedy: str | None = None) -> RepoError:
        """An error that points here, to be raised."""
        return RepoError(message, code=code, file=self.file, line=self.line, remedy=remedy)

    def bad_lock(self, message: str) -> RepoError:
        """As :meth:`error`, about a lock file."""
        return self.error(message, code="bad-lock", remedy="write the lock again with the tool that made it")

    @property
    def shown(self) -> str:
        """What this is, quoted for a message."""
        return quote(self.value) if isinstance(self.value, str) else "(not a text)"

    def text(self, what: str) -> str:
        """The text this is; ``what`` names it in the error when it is something else."""
        if isinstance(self.value, str):
            return self.value
        raise self.error(f"{what} must be a text")

    def items(self, what: str) -> list[Node]:
        """The list this is; empty for null."""
        if self.value is None:
            return []
        if isinstance(self.value, list):
            return self.value
        raise self.error(f"{what} must be a list")

    def table(self, what: str) -> dict[str, Node]:
        """The mapping this is; empty for null."""
        if self.value is None:
            return {}
        if isinstance(self.value, dict):
            return self.value
        raise self.error(f"{what} must be a mapping")


def read_yaml(repo: Repo, path: str, limit: int) -> Node:
    """Read the YAML file ``path`` of at most ``limit`` bytes; an empty one is a node with None.

    Raises:
        RepoError: it cannot be read, or not understood; names the line.
    """
    return parse_yaml(repo.read(path, limit), printable(path))


def parse_yaml(data: bytes, file: str) -> Node:
    """Read YAML from ``data``; ``file`` is its name for messages.

    Raises:
        RepoError: it is not UTF-8 text, not YAML, or uses what is not supported; names the line.
    """
    text = _decode(data, file)
    try:
        return _Builder(file).build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        said = clean(error.problem or error.context or "")
        raise _bad(f"this is not valid YAML: {said}", file, line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise _bad("there is a control character, which YAML does not allow", file, line) from error
    except yaml.YAMLError as error:
        raise _bad("this is not valid YAML", file, None) from error


def _decode(data: bytes, file: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RepoError(
            "this is not UTF-8 text", code="bad-encoding", file=file, line=line, remedy="save it as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RepoError("this is not a text file", code="bad-encoding", file=file, line=line)
    return text


def _bad(message: str, file: str, line: int | None) -> RepoError:
    return RepoError(message, code="bad-yaml", file=file, line=line, remedy="correct the file")


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read; ``key`` is the mapping's key that waits for its value."""

    line: int
    anchor: str | None
    items: list[Node] | None
    table: dict[str, Node] | None
    key: str | None = None
    size: int = 1


class _Builder:
    """Turns parser events into nodes, with a stack of its own."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None
        self._documents = 0

    def build(self, events: Iterator[Any]) -> Node:
        for event in events:
            line = event.start_mark.line + 1
            match event:
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        raise _bad("there is more than one document", self._file, line)
                case yaml.ScalarEvent():
                    self._no_tag(event.tag, line)
                    plain = event.style is None or event.style == ""
                    value = None if plain and event.value in _NULL else event.value
                    self._add(Node(value, line, self._file), event.anchor)
                case yaml.AliasEvent():
                    # Unknown when it stands inside of what it names, which would be endless.
                    known = self._anchors.get(event.anchor)
                    if known is None:
                        raise _bad(f"{quote('*' + event.anchor)} names nothing", self._file, line)
                    self._add(Node(known.value, line, self._file, known.size), None)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self._no_tag(event.tag, line)
                    if len(self._stack) >= _MOST_DEPTH:
                        raise _bad("this is nested too deeply", self._file, line)
                    listed = isinstance(event, yaml.SequenceStartEvent)
                    self._stack.append(
                        _Open(line, event.anchor, [] if listed else None, None if listed else {})
                    )
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    done = self._stack.pop()
                    value = done.items if done.items is not None else done.table
                    self._add(Node(value, done.line, self._file, done.size), done.anchor)
        return self._root or Node(None, 1, self._file)

    def _no_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag != "!":
            raise _bad(f"the tag {quote(tag)} is not allowed", self._file, line)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.size += node.size
        if parent.size > _MOST_NODES:
            raise _bad("this is too large once its aliases are followed", self._file, node.line)
        if parent.items is not None:
            parent.items.append(node)
        elif parent.table is not None and parent.key is None:
            self._key(parent, node)
        elif parent.table is not None and parent.key is not None:
            parent.table[parent.key] = node
            parent.key = None

    def _key(self, parent: _Open, node: Node) -> None:
        key = node.value if node.value is not None else ""
        if not isinstance(key, str):
            raise _bad("a key must be a text", self._file, node.line)
        if parent.table is not None and key in parent.table:
            raise _bad(f"the key {quote(key)} is there twice", self._file, node.line)
        parent.key = key
