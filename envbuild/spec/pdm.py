"""``[tool.pdm]`` of ``pyproject.toml``: development groups, and what a ``pdm.lock`` was made of.

Format: https://pdm-project.org/en/stable/reference/pep621/
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from envbuild.source.text import quote
from envbuild.spec.findings import Findings
from envbuild.spec.pep508 import canonical_name
from envbuild.spec.toml_file import TomlFile, subtable

__all__ = ["PdmTables"]


class PdmTables:
    """What the tables below ``[tool.pdm]`` say."""

    def __init__(self, file: TomlFile) -> None:
        self._file = file
        self._pdm = subtable(subtable(file.data, "tool"), "pdm")

    @property
    def distribution(self) -> object:
        """Whether the project itself is to be installed; None when nothing is said."""
        return self._pdm.get("distribution")

    @property
    def groups(self) -> dict[str, Any]:
        """The values of ``dev-dependencies`` by canonical name."""
        return {canonical_name(key): value for key, value in subtable(self._pdm, "dev-dependencies").items()}

    def check_solving(self, findings: Findings) -> None:
        """Name what is said about solving and not followed."""
        sources = self._pdm.get("source")
        for source in sources if isinstance(sources, list) else ():
            name = source.get("name") if isinstance(source, dict) else None
            findings.error(
                "index-in-repository",
                f"the index {quote(str(name))} is not followed: the indexes are up to the user, "
                "never the repository",
                self._file.path,
                self._file.line_of_string(name) if isinstance(name, str) else None,
                "run `pdm lock` and keep the pdm.lock, or configure the index for your own machine",
            )
        if subtable(self._pdm, "resolution"):
            findings.warning(
                "option-ignored",
                "tool.pdm.resolution is not followed",
                self._file.path,
                self._file.line_of_key("tool.pdm.resolution") or self._file.line_of_key("resolution"),
                "run `pdm lock` and keep the pdm.lock, which is taken over as it is",
            )

    def content_hash(self) -> str | None:
        """The ``content_hash`` of a lock of this (PDM's ``PyProject.content_hash``); None if unknown."""
        project = subtable(self._file.data, "project")
        groups: dict[str, list[Any]] = {}
        own = subtable(self._pdm, "dev-dependencies")
        for table in (subtable(self._file.data, "dependency-groups"), own):
            for key, values in table.items():
                groups.setdefault(canonical_name(key), []).extend(values if isinstance(values, list) else ())
        content = {
            "sources": self._pdm.get("source", []),
            "dependencies": project.get("dependencies", []),
            "dev-dependencies": groups,
            "optional-dependencies": project.get("optional-dependencies", {}),
            "requires-python": project.get("requires-python", ""),
            "resolution": self._pdm.get("resolution", {}),
        }
        try:
            text = json.dumps(content, sort_keys=True)
        except (TypeError, ValueError):  # a date among the values, which no lock was made of
            return None
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
