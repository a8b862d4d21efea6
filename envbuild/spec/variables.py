"""Environment variables that a repository sets in its image (``variables`` of ``environment.yml``)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from envbuild.source.text import quote
from envbuild.spec.findings import Findings
from envbuild.spec.yaml_file import Node

__all__ = ["kept_of_base", "read_variables", "variable_trouble"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_MOST_CHARACTERS = 10_000
_MOST_VARIABLES = 500
# Who replaces these changes which programs start, or what the image promises (docs/image.md).
_RESERVED = re.compile(
    r"CONDA_.*|HOME|JUPYTERHUB_.*|JUPYTER_PATH|LANG|LD_.*|NB_.*|PATH|PYTHONHOME|REPO_DIR|SHELL|SSL_CERT_FILE|USER"
    r"|VIRTUAL_ENV"
)
# Of a base's variables these are not kept: they would point the environment's Python at another's packages.
_NOT_OF_BASE = re.compile(r"CONDA_.*|PYTHONHOME|PYTHONPATH|PYTHONSTARTUP|PYTHONUSERBASE|VIRTUAL_ENV")


def variable_trouble(name: str, value: str) -> str | None:
    """Why the variable cannot be set in an image, as the rest of a sentence; None when it can."""
    if not _NAME.fullmatch(name):
        return "is not a name of letters, digits and '_'"
    if _RESERVED.fullmatch(name):
        return "is set by the image or by the hub"
    if not value.isprintable() or len(value) > _MOST_CHARACTERS:
        return f"must be one line of at most {_MOST_CHARACTERS} visible characters"
    return None


def kept_of_base(variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Those of a base image's variables that an image on top of it has too, sorted.

    Left out is what would make the base's Python, or another environment of the base, take the place of the
    image's own, and what is no variable.
    """
    kept = [
        (name, value)
        for name, value in variables.items()
        if _NAME.fullmatch(name)
        and not _NOT_OF_BASE.fullmatch(name)
        and value.isprintable()
        and len(value) <= _MOST_CHARACTERS
    ]
    return tuple(sorted(kept)[:_MOST_VARIABLES])


def read_variables(table: Mapping[str, Node], findings: Findings) -> tuple[tuple[str, str], ...]:
    """Name and value of the variables in ``table``, sorted; those that cannot be set become errors.

    Values stay the text that was written: ``true`` is not made ``True``, which conda would do.
    """
    found = {}
    for number, (name, node) in enumerate(table.items()):
        value = node.value
        if not isinstance(value, str):
            trouble: str | None = "has no text as its value"
        elif number >= _MOST_VARIABLES:
            trouble = f"is more than the {_MOST_VARIABLES} that can be set"
        else:
            trouble = variable_trouble(name, value)
            found[name] = value
        if trouble is not None:
            findings.error(
                "bad-variable",
                f"the variable {quote(name)} {trouble}",
                node.file,
                node.line,
                "remove or rename it; `start` can set variables when the container starts",
            )
    return tuple(sorted(found.items()))
