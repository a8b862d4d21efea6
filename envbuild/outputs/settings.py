"""What a repository says about checking outputs: the table ``verify`` of its configuration."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from envbuild.outputs.tokens import KINDS

__all__ = ["SANITIZERS", "OutputSettings", "read_output_settings"]

# What may be left out of a comparison by its nature; numbers have tolerances instead.
SANITIZERS = tuple(kind for kind in KINDS if kind != "number")


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How the outputs of notebooks are checked; a key of the table is an attribute's name with hyphens.

    Attributes:
        relative_tolerance, absolute_tolerance: see :class:`.tokens.Tolerance`.
        picture_threshold, picture_tolerance: see :class:`.pictures.PictureRules`.
        sanitize: those of :data:`SANITIZERS` that are used.
        sanitize_with: the path of a file with replacements (:mod:`.sanitize`), in the repository.
        only_marked: compare only cells that are marked ``nbval-check-output``.
        timeout: seconds a cell may take; None: as long as it wants.
        skip: do not execute the notebook.
        notebooks: for paths that fit a pattern (``*`` is any text, also with ``/``), what is otherwise.
    """

    relative_tolerance: float = 1e-6
    absolute_tolerance: float = 0.0
    picture_threshold: float = 0.1
    picture_tolerance: float = 0.0
    sanitize: tuple[str, ...] = SANITIZERS
    sanitize_with: str | None = None
    only_marked: bool = False
    timeout: float | None = None
    skip: bool = False
    notebooks: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()

    def of(self, notebook: str) -> OutputSettings:
        """The settings for the notebook of this path: of patterns that fit, later ones win."""
        settings = self
        for pattern, otherwise in self.notebooks:
            if fnmatchcase(notebook, pattern):
                settings = replace(settings, **dict(otherwise))
        return settings


_SHARES = frozenset({"relative_tolerance", "picture_threshold", "picture_tolerance"})
_KEYS = tuple(field.name.replace("_", "-") for field in fields(OutputSettings))


def read_output_settings(table: Any) -> OutputSettings:
    """The settings in ``table``, as a TOML parser gives it.

    Raises:
        ValueError: what is wrong, as the end of a sentence about the table.
    """
    if not isinstance(table, Mapping):
        raise ValueError("must be a table")
    values = _values(table, _KEYS)
    patterns = []
    for pattern, otherwise in values.pop("notebooks", {}).items():
        if not isinstance(otherwise, Mapping):
            raise ValueError(f"must have a table for the notebooks {pattern!r}")
        keys = tuple(key for key in _KEYS if key != "notebooks")
        patterns.append((pattern, tuple(_values(otherwise, keys).items())))
    return OutputSettings(**values, notebooks=tuple(patterns))


def _values(table: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known ones: {', '.join(keys)}"
            raise ValueError(f"has an unknown key {key!r}; {hint}")
        name = key.replace("-", "_")
        trouble = _trouble(name, value)
        if trouble is not None:
            raise ValueError(f"has {key!r}, which {trouble}")
        values[name] = tuple(value) if isinstance(value, list) else value
    return values


def _trouble(name: str, value: Any) -> str | None:
    match name:
        case "only_marked" | "skip":
            return None if isinstance(value, bool) else "must be true or false"
        case "sanitize_with":
            return None if isinstance(value, str) and value else "must be the path of a file"
        case "notebooks":
            return None if isinstance(value, Mapping) else "must be a table"
        case "sanitize":
            fits = isinstance(value, list) and all(item in SANITIZERS for item in value)
            return None if fits else f"must be a list of these: {', '.join(SANITIZERS)}"
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e300:
        return "must be a number that is not negative"
    if name in _SHARES and value > 1:
        return "must not be larger than 1"
    if name == "timeout" and not value:
        return "must be more than 0 seconds"
    return None
