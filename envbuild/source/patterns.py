"""Patterns of ignore files: ``.gitignore`` (gitignore(5)) and ``.dockerignore`` (Docker's reference).

A pattern is matched component by component, and within one leftmost first. So the time it takes grows with
the lengths of pattern and path only, whatever a repository writes.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["ANY_DEPTH", "Pattern", "docker_patterns", "git_pattern", "setting_pattern"]

ANY_DEPTH: Literal["**"] = "**"

_MOST_CHARACTERS = 1000
_MOST_ALTERNATIVES = 16
_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """``components`` that a path must have, each an expression or ``**`` (any number of them, none included).

    ``negated`` patterns (``!``) take back what earlier ones ignored; ``directory`` ones match only those.
    """

    components: tuple[re.Pattern[str] | Literal["**"], ...]
    negated: bool = False
    directory: bool = False

    def matches(self, path: tuple[str, ...]) -> bool:
        """Whether it is about exactly ``path`` (its components)."""
        wanted = self.components
        here = there = 0
        back: tuple[int, int] | None = None
        # Of several ``**`` only the last one has to be tried again: the greedy matching of wildcards.
        while there < len(path):
            step = wanted[here] if here < len(wanted) else None
            if step == ANY_DEPTH:
                back = here, there
                here += 1
            elif step is not None and not isinstance(step, str) and step.fullmatch(path[there]):
                here += 1
                there += 1
            elif back is not None:
                here, there = back[0] + 1, back[1] + 1
                back = back[0], there
            else:
                return False
        return all(step == ANY_DEPTH for step in wanted[here:])


def git_pattern(line: str) -> Pattern | None:
    """The pattern in a line of ``.gitignore``, relative to that file's directory; None when there is none.

    Bytes are to be decoded as Latin-1: to git a character is a byte.

    Raises:
        ValueError: it is too long.
    """
    text = line.rstrip("\r\n")
    text = re.sub(r"(?<!\\)((?:\\\\)*)[ ]+$", r"\1", text)
    if not text or text.startswith("#"):
        return None
    _check_length(text)
    negated = text.startswith("!")
    if negated:
        text = text[1:]
    directory = text.endswith("/")
    text = text.removesuffix("/")
    anchored = "/" in text
    parts = _git_components(text.removeprefix("/"))
    if parts is None or text in ("", "/"):
        return None
    components = [ANY_DEPTH if part == "**" else _expression(part, git=True) for part in parts]
    if any(component is None for component in components):
        return None  # git takes a pattern it cannot read for one that matches nothing
    if not anchored:
        components.insert(0, ANY_DEPTH)
    if parts[-1] == "**" and len(parts) > 1:
        components.append(re.compile("(?s:.+)"))  # "a/**" is what is in a, not a itself
    return Pattern(tuple(part for part in components if part is not None), negated, directory)


def _git_components(text: str) -> list[str] | None:
    """What slashes separate, also escaped ones, but none in a class: ``[a/]`` is git's way to say ``a``.

    None when there is a class without an end.
    """
    components = [""]
    position = 0
    while position < len(text):
        end = position + 1
        if text[position] == "\\":
            end += 1
        elif text[position] == "[":
            found = _character_class(text, end, git=True)
            if found is None:
                return None
            end = found[1]
        piece = text[position:end]
        if piece in ("/", "\\/"):
            components.append("")
        else:
            components[-1] += piece
        position = end
    return components


def docker_patterns(line: str) -> tuple[Pattern, ...]:
    """The patterns in a line of ``.dockerignore``; any of them counts. No pattern when it is empty.

    In Docker ``**`` may be part of a component, where it also stands for slashes: ``a**b`` is ``ab`` or
    ``a*/**/b``.

    Raises:
        ValueError: it is not a pattern; the message is the end of a sentence.
    """
    text = line.strip()
    if not text or line.startswith("#"):
        return ()
    _check_length(text)
    negated = text.startswith("!")
    text = text[1:].strip() if negated else text
    if negated and not text:
        raise ValueError("has nothing after the !")
    text = posixpath.normpath(text)
    text = text.lstrip("/") if len(text) > 1 else text
    found = []
    for alternative in _spread(text):
        components = [
            ANY_DEPTH if part == "**" else _expression(part, git=False) for part in alternative.split("/")
        ]
        if any(component is None for component in components):
            raise ValueError("has a [ without ], or ends with a backslash")
        found.append(Pattern(tuple(part for part in components if part is not None), negated))
    return tuple(found)


def setting_pattern(text: str) -> Pattern:
    """The pattern of a setting: as in ``.gitignore``, without ``!`` and comments.

    Raises:
        ValueError: it is not a pattern.
    """
    pattern = None if text.startswith(("!", "#")) else git_pattern(text.encode().decode("latin-1"))
    if pattern is None:
        raise ValueError("is not a pattern")
    return pattern


def _check_length(text: str) -> None:
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"is longer than {_MOST_CHARACTERS:,} characters")


def _spread(text: str) -> list[str]:
    """``text`` as patterns in which ``**`` is always a whole component."""
    todo, done = [text], []
    while todo:
        one = todo.pop()
        match = re.search(r"(?<!\\)\*\*+", one)
        while match and _is_component(one, match.start(), match.end()):
            match = re.compile(r"(?<!\\)\*\*+").search(one, match.end())
        if match is None:
            done.append(re.sub(r"(?<!\\)\*\*+", "**", one))
            continue
        before, after = one[: match.start()], one[match.end() :].removeprefix("/")
        if not after:
            # "a**" is everything that begins with a: matching a directory includes what is in it.
            todo.append(f"{before}*")
        elif before.endswith("/") or not before:
            todo.append(f"{before}**/{after}")
        else:
            todo += [f"{before}{after}", f"{before}*/**/{after}"]
        if len(todo) + len(done) > _MOST_ALTERNATIVES:
            raise ValueError("has ** too often")
    return done


def _is_component(text: str, start: int, end: int) -> bool:
    return (start == 0 or text[start - 1] == "/") and (end == len(text) or text[end] == "/")


def _expression(part: str, *, git: bool) -> re.Pattern[str] | None:
    """``part`` of a pattern, between slashes, as an expression; None when it is none."""
    pieces: list[str] = []  # what stands between the stars
    fixed = ""
    position = 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            pieces.append(fixed)
            fixed = ""
        elif char == "?":
            fixed += "."
        elif char == "\\":
            if position == len(part):
                return None
            fixed += re.escape(part[position])
            position += 1
        elif char == "[":
            found = _character_class(part, position, git=git)
            if found is None:
                return None
            expression, position = found
            fixed += expression
        else:
            fixed += re.escape(char)
    pieces.append(fixed)
    first, *rest = pieces
    if not rest:
        return re.compile(f"(?s:{first})")
    # Each piece where it is found first, and never again: enough, and without going back.
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1] if piece)
    try:
        return re.compile(f"(?s:{first}{middle}.*{rest[-1]})")
    except re.error:
        return None


def _character_class(part: str, position: int, *, git: bool) -> tuple[str, int] | None:
    """``(expression, position behind it)`` of the class whose ``[`` is before ``position``."""
    start = position
    inverted = part[position : position + 1] in (("!", "^") if git else ("^",))
    position += inverted
    ranges: list[str] = []
    first = True
    while position < len(part) and (part[position] != "]" or first):
        first = False
        named = re.compile(r"\[:([a-z]+):\]").match(part, position) if git else None
        if named is not None:
            if named[1] not in _POSIX_CLASSES:
                return None
            ranges.append(_POSIX_CLASSES[named[1]])
            position = named.end()
            continue
        low, position = _class_character(part, position)
        high = low
        if part[position : position + 1] == "-" and part[position + 1 : position + 2] not in ("", "]"):
            high, position = _class_character(part, position + 1)
        if low is None or high is None:
            return None
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        elif git:  # which has compared with where a range begins before it sees that it is one
            ranges.append(re.escape(low))
    if position >= len(part) or position == start:
        return None
    if not ranges:
        return ("." if inverted else "(?!)"), position + 1
    return f"[{'^' if inverted else ''}{''.join(ranges)}]", position + 1


def _class_character(part: str, position: int) -> tuple[str | None, int]:
    if part[position] == "\\":
        position += 1
        if position == len(part):
            return None, position
    return part[position], position + 1
