"""What is different between the configs of two images: each statement of either by itself. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ConfigChange", "config_difference"]

# What the layers and the platform are is compared elsewhere.
_ELSEWHERE = frozenset({"rootfs", "os", "architecture", "variant"})


@dataclass(frozen=True, slots=True, order=True)
class ConfigChange:
    """One statement (``label X``, ``variable Y``, ``Cmd``) and what it is in each image, None: not made."""

    name: str
    before: str | None
    after: str | None


def config_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ConfigChange, ...]:
    """The statements that differ between two configs (OCI image specification 1.1, config.md), by name.

    Empty exactly when the configs are equal but for layers and platform.
    """
    one, two = dict(_statements(before)), dict(_statements(after))
    return tuple(
        ConfigChange(name, one.get(name), two.get(name))
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    )


def _statements(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if key in _ELSEWHERE:
            continue
        if key == "config" and isinstance(value, dict):
            yield from _started_with(value)
        elif key == "history" and isinstance(value, list):
            for number, entry in enumerate(value):
                yield f"history {number + 1}", _text(entry)
        else:
            yield key, _text(value)


def _started_with(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if key == "Labels" and isinstance(value, dict):
            for name, text in value.items():
                yield f"label {name}", _text(text)
        elif key == "Env" and _is_environment(value):
            for assignment in value:
                name, _, text = assignment.partition("=")
                yield f"variable {name}", text
        else:
            yield key, _text(value)


def _is_environment(value: Any) -> bool:
    """Whether it is a list of assignments, each name once: then order says nothing."""
    if not isinstance(value, list) or not all(isinstance(item, str) and "=" in item for item in value):
        return False
    names = [item.partition("=")[0] for item in value]
    return len(set(names)) == len(names)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
