"""The config of an image that somebody else made, as far as an image on top of it depends on it.

Follows config.md of the OCI image specification 1.1; Docker's own configs have the same fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.image.reference import is_digest

__all__ = ["BaseConfig", "parse_config"]

_MOST_LAYERS = 10_000
_MOST_HISTORY = 10_000
_HISTORY_TEXTS = ("created", "created_by", "author", "comment")
# What the files of an image may need of a machine, beside its system and architecture.
_REQUIREMENTS = ("variant", "os.version")


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """What a config says.

    ``platform`` is ``linux/amd64``; ``requirements`` are further properties of the platform that an image on
    top has, too (``variant``). ``diff_ids`` and ``history`` are bottom to top, the latter with entries for
    what made no layer; ``variables`` are the environment's.
    """

    platform: str
    requirements: Mapping[str, str]
    diff_ids: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]
    variables: Mapping[str, str]

    def history_of(self, name: str) -> list[dict[str, Any]]:
        """The history, with exactly one entry for each layer.

        Tools refuse an image whose history has another number of layers. If that of ``name`` has, entries
        that say no more than whose layers they are take its place.
        """
        layers = sum(not entry.get("empty_layer") for entry in self.history)
        if layers == len(self.diff_ids):
            return [dict(entry) for entry in self.history]
        return [{"created_by": name} for _ in self.diff_ids]


def parse_config(data: bytes) -> BaseConfig:
    """Read a config.

    Raises:
        ValueError: it is not the config of a container image; says what is wrong with it.
    """
    try:
        config = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(config, dict):
        raise ValueError("it is not an object")
    system, architecture = config.get("os"), config.get("architecture")
    if not isinstance(system, str) or not isinstance(architecture, str) or not system or not architecture:
        raise ValueError("it names no operating system and architecture")
    inner = config.get("config")
    return BaseConfig(
        f"{system}/{architecture}",
        {
            name: config[name]
            for name in _REQUIREMENTS
            if isinstance(config.get(name), str) and config[name].isprintable() and config[name]
        },
        _diff_ids(config.get("rootfs")),
        _history(config.get("history")),
        _variables(inner.get("Env") if isinstance(inner, dict) else None),
    )


def _diff_ids(rootfs: Any) -> tuple[str, ...]:
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(found, list) or len(found) > _MOST_LAYERS:
        raise ValueError("it has no list of layers")
    if not all(isinstance(digest, str) and is_digest(digest) for digest in found):
        raise ValueError("it has a layer whose digest is not one of sha256")
    return tuple(found)


def _history(entries: Any) -> tuple[Mapping[str, Any], ...]:
    """The entries, with the fields of the specification alone; none when that is not what they are."""
    if not isinstance(entries, list) or len(entries) > _MOST_HISTORY:
        return ()
    if not all(isinstance(entry, dict) for entry in entries):
        return ()
    return tuple(
        {
            **{name: entry[name] for name in _HISTORY_TEXTS if _is_text(entry.get(name))},
            **({"empty_layer": True} if entry.get("empty_layer") is True else {}),
        }
        for entry in entries
    )


def _is_text(value: Any) -> bool:
    """Whether it is a text that can be written again; JSON can escape half a character."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _variables(values: Any) -> dict[str, str]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        return {}
    pairs = (value.partition("=") for value in values if isinstance(value, str))
    return {name: value for name, equals, value in pairs if equals}
