"""Changing single requirements in the text of a file, and nothing else of it.

Whoever wrote the file keeps comments, order and layout. What cannot be changed so is not changed: every edit
is checked by reading the result, which has to say what was said before but for the one requirement.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import tomli
import yaml

from envbuild.drift.declaring import Advice, Place
from envbuild.spec.match_spec import parse_match_spec
from envbuild.spec.pep508 import canonical_name, parse_requirement

__all__ = ["edited"]

_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_ENTRY = re.compile(r'(?P<name>[a-z0-9_.-]+) = "(?P<value>[^"\\]+)"')


def edited(text: str, advice: Advice, place: Place) -> str | None:
    """``text`` of the file ``advice.file``, with the advice (to add, replace or remove) followed.

    Returns:
        None when that cannot be done without touching anything else.
    """
    # Only plain requirements files are included by others.
    way = place.way if advice.file == place.path else "requirements"
    edit = _WAYS.get(way)
    if edit is None:
        return None
    try:
        result = edit(text, advice, place)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, yaml.YAMLError):
        return None
    return result if result is not None and _few_lines(text, result) else None


def _few_lines(before: str, after: str) -> bool:
    """Whether at most two lines of ``before`` are not in ``after`` (the last of a list may get a comma)."""
    compared = difflib.ndiff(before.splitlines(), after.splitlines())
    return sum(line.startswith("- ") for line in compared) <= 2


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


# requirements.txt


def _requirements(text: str, advice: Advice, place: Place) -> str | None:
    newline = _newline(text)
    if advice.action == "add":
        if text.rstrip("\r\n").endswith("\\"):
            return None
        return text + (newline if text and not text.endswith("\n") else "") + advice.text + newline
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    number = (advice.line or 0) - 1
    line = lines[number].rstrip("\r\n") if number >= 0 else ""
    comment = _COMMENT.search(line)
    requirement = line[: comment.start()] if comment else line
    parsed = parse_requirement(requirement)
    # A line that goes on in the next one, or has options, is not a requirement alone.
    if parsed is None or parsed.name != advice.change.name:
        return None
    ending = lines[number][len(line) :]
    kept = comment[0] if comment else ""
    lines[number] = "" if advice.action == "remove" else advice.text + kept + ending
    return "".join(lines)


# environment.yml


def _conda(text: str, advice: Advice, place: Place) -> str | None:
    root = yaml.compose(text, Loader=yaml.BaseLoader) if not text.startswith("\ufeff") else None
    dependencies = _value(root, "dependencies")
    if not isinstance(dependencies, yaml.SequenceNode) or not dependencies.value:
        return None
    pip = next((found for node in dependencies.value if (found := _value(node, "pip")) is not None), None)
    by_conda = advice.change.manager == "conda"
    key = "dependencies" if by_conda else "pip"
    if advice.action != "add":
        nodes = dependencies.value if by_conda else pip.value if pip is not None else []
        node = next(node for node in nodes if _names(node, advice.change.name, by_conda=by_conda))
        if advice.action == "remove" and len(nodes) == 1:
            return None
        result = _replaced(text, node, advice.text) if advice.action == "replace" else _without(text, node)
        new = None if advice.action == "remove" else advice.text
        return result if result and _says(_yaml(text), _yaml(result), key, node.value, new) else None
    if by_conda:
        result = _appended(text, dependencies, [advice.text])
    elif pip is not None:
        result = _appended(text, pip, [advice.text]) if pip.value else None
    else:
        named = any(_names(node, "pip", by_conda=True) for node in dependencies.value)
        if dependencies.flow_style:
            return None
        column = " " * dependencies.start_mark.column
        block = [f"pip:{_newline(text)}{column}  - {advice.text}"]
        result = _appended(text, dependencies, block if named else ["pip", *block])
    also = (("dependencies", "pip"),)
    return result if result and _says(_yaml(text), _yaml(result), key, None, advice.text, also) else None


def _value(node: yaml.Node | None, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _names(node: yaml.Node, name: str, *, by_conda: bool) -> bool:
    if not isinstance(node, yaml.ScalarNode):
        return False
    if by_conda:
        spec = parse_match_spec(node.value)
        return spec is not None and spec.name == name
    parsed = parse_requirement(node.value)
    return parsed is not None and parsed.name == name


def _last_line(node: yaml.Node) -> int:
    """The line that the last scalar in ``node`` ends on; what follows may be comments."""
    while not isinstance(node, yaml.ScalarNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    line: int = node.end_mark.line
    return line


def _appended(text: str, sequence: yaml.SequenceNode, items: list[str]) -> str:
    if sequence.flow_style:
        end = sequence.value[-1].end_mark.index
        return text[:end] + "".join(f', "{item}"' for item in items) + text[end:]
    newline, column = _newline(text), " " * sequence.start_mark.column
    lines = text.splitlines(keepends=True)
    number = _last_line(sequence)
    if not lines[number].endswith(("\n", "\r")):
        lines[number] += newline
    added = [f"{column}- {item}{newline}" for item in items]
    return "".join([*lines[: number + 1], *added, *lines[number + 1 :]])


def _replaced(text: str, node: yaml.ScalarNode, value: str) -> str:
    quote = node.style if node.style in ("'", '"') else ""
    return f"{text[: node.start_mark.index]}{quote}{value}{quote}{text[node.end_mark.index :]}"


def _without(text: str, node: yaml.ScalarNode) -> str | None:
    lines = text.splitlines(keepends=True)
    line = lines[node.start_mark.line]
    if line[: node.start_mark.column].strip() != "-":
        return None
    del lines[node.start_mark.line]
    return "".join(lines)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=yaml.BaseLoader)


# pyproject.toml, Pipfile, pixi.toml


def _project(text: str, advice: Advice, place: Place) -> str | None:
    import tomlkit

    document = tomlkit.parse(text)
    project: Any = document["project"]
    dynamic = project.get("dynamic", [])
    if "dependencies" not in project and "dependencies" not in dynamic and advice.action == "add":
        project["dependencies"] = tomlkit.array().multiline(True)
    array = project["dependencies"]
    old = None
    if advice.action == "add":
        array.append(advice.text)
    else:
        number, old = next(
            (number, str(value))
            for number, value in enumerate(array)
            if (parsed := parse_requirement(value)) and parsed.name == advice.change.name
        )
        if advice.action == "remove":
            array.pop(number)
        else:
            array[number] = advice.text
    result = tomlkit.dumps(document)
    new = None if advice.action == "remove" else advice.text
    return result if _says(tomli.loads(text), tomli.loads(result), "dependencies", old, new) else None


def _table(text: str, advice: Advice, place: Place) -> str | None:
    """An entry ``name = "version"`` of a table, made if it is missing."""
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for key in _keys(advice, place):
        if key not in table:
            table[key] = tomlkit.table()
        table = table[key]
    key = next((key for key in table if canonical_name(key) == advice.change.name), advice.change.name)
    old = table.get(key)
    if old is not None and not isinstance(old, str):
        return None  # what else the entry says would be lost
    if advice.action == "remove":
        del table[key]
    elif entry := _ENTRY.fullmatch(advice.text):
        table[key] = entry["value"]
    result = tomlkit.dumps(document)
    return result if _says(tomli.loads(text), tomli.loads(result), key, old, table.get(key)) else None


def _keys(advice: Advice, place: Place) -> tuple[str, ...]:
    if place.way == "Pipfile":
        return ("packages",)
    if place.way == "poetry":
        return ("tool", "poetry", "dependencies")
    return (*place.prefix, "dependencies" if advice.change.manager == "conda" else "pypi-dependencies")


# Checking


def _says(
    before: Any,
    after: Any,
    key: str,
    old: str | None,
    new: str | None,
    also: tuple[tuple[str, str], ...] = (),
) -> bool:
    """Whether the data ``after`` is ``before`` with ``new`` under ``key`` in the place of ``old``.

    ``also`` may be there as well.
    """
    one, two = Counter(_leaves(before)), Counter(_leaves(after))
    gone = Counter() if old is None else Counter([(key, old)])
    wanted = Counter() if new is None else Counter([(key, new)])
    added = two - one
    added.subtract(leaf for leaf in also if leaf in added)
    return +added == wanted - gone and one - two == gone - wanted


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text or number in ``value``, with the name it is under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    else:
        yield key, str(value)


_WAYS: dict[str, Callable[[str, Advice, Place], str | None]] = {
    "requirements": _requirements,
    "conda": _conda,
    "project": _project,
    "poetry": _table,
    "Pipfile": _table,
    "pixi": _table,
}
