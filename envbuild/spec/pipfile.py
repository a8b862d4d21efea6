"""``Pipfile``: packages, dev-packages and other categories, as PEP 508 requirements.

Format: https://pipenv.pypa.io/en/stable/pipfile.html
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from envbuild.errors import UsageError
from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.findings import Findings
from envbuild.spec.model import PythonRequest
from envbuild.spec.pep508 import canonical_name
from envbuild.spec.python_version import specifier_of
from envbuild.spec.toml_file import TomlFile, parse_toml

__all__ = ["Pipfile", "check_groups", "markers_of", "read_pipfile"]

_FILE_LIMIT = 1 << 20
_OWN_TABLES = frozenset({"source", "requires", "scripts", "pipfile", "pipenv", "packages", "dev-packages"})
# Keys of an entry that are markers, with an operator and a value: `sys_platform = "== 'win32'"`.
_MARKER_KEYS = (
    "os_name",
    "sys_platform",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_version",
    "python_full_version",
    "implementation_name",
    "implementation_version",
)


def read_pipfile(repo: Repo, path: str) -> Pipfile:
    """Read ``path``.

    Raises:
        RepoError: it cannot be read or is not TOML.
    """
    return Pipfile(parse_toml(repo, path, _FILE_LIMIT))


def check_groups(path: str, groups: tuple[str, ...], offered: tuple[str, ...]) -> None:
    """Raise :class:`UsageError` for a group that ``path`` does not offer."""
    for name in groups:
        if name not in offered:
            raise UsageError(
                f"{path} has no group {quote(name)}",
                code="unknown-group",
                remedy=f"choose from: {', '.join(offered)}" if offered else "there is no group at all",
            )


class Pipfile:
    """One ``Pipfile``; the group ``dev`` is ``dev-packages``, other groups are categories of their own."""

    def __init__(self, file: TomlFile) -> None:
        self._file = file

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of what can be selected, sorted."""
        names = {name for name, value in self._file.data.items() if isinstance(value, dict)} - _OWN_TABLES
        return tuple(sorted(names | ({"dev"} if "dev-packages" in self._file.data else set())))

    def python(self, findings: Findings) -> PythonRequest | None:
        """``python_full_version`` or ``python_version`` of ``[requires]``."""
        requires = self._table("requires")
        key = next((key for key in ("python_full_version", "python_version") if key in requires), None)
        if key is None:
            return None
        line = self._file.line_of_key(key)
        value = requires[key]
        # The base decides the patch release, as for runtime.txt.
        series = re.match(r"\d{1,3}\.\d{1,3}(?=\.\d|$)", value) if isinstance(value, str) else None
        specifier = specifier_of(series[0]) if series else None
        if specifier is None:
            message = f"{key} = {quote(str(value))} is not a version of Python"
            findings.error("bad-pipfile", message, self._file.path, line, 'write it as "3.11"')
            return None
        return PythonRequest(specifier, self._file.path, line)

    def dependencies(
        self, groups: tuple[str, ...], findings: Findings, *, locked: bool
    ) -> Iterator[tuple[str, int | None]]:
        """The requirements of ``packages`` and of ``groups``, with their lines.

        Parameters:
            locked: a lock has the files, so from which index they are wanted does not matter.
        """
        for section in ("packages", *("dev-packages" if name == "dev" else name for name in groups)):
            for name, value in self._table(section).items():
                line = self._file.line_of_key(name)
                table = {"version": value} if isinstance(value, str) else value
                try:
                    if not isinstance(table, dict):
                        raise ValueError("is neither a version nor a table")
                    if isinstance(table.get("index"), str) and not locked:
                        self._refuse_index(
                            f"{quote(name)} is wanted from the index {quote(table['index'])}, which is not "
                            "followed",
                            line,
                            findings,
                        )
                    yield _pep508(name, table), line
                except ValueError as error:
                    message = f"the package {quote(name)} {error}"
                    remedy = "write it as Pipenv documents it"
                    findings.error("bad-requirement", message, self._file.path, line, remedy)

    def check_sources(self, findings: Findings, *, locked: bool) -> None:
        """Name the indexes that ``[[source]]`` brings beside the first, which ``pipenv install`` writes."""
        sources = self._file.data.get("source")
        for source in sources[1:] if isinstance(sources, list) else ():
            name = source.get("name") if isinstance(source, dict) else None
            line = self._file.line_of_string(name) if isinstance(name, str) else None
            message = (
                f"the index {quote(str(name))} is not followed: the indexes are up to the user, "
                "never the repository"
            )
            if locked:
                findings.note("index-in-repository", message, self._file.path, line)
            else:
                self._refuse_index(message, line, findings)

    def _refuse_index(self, message: str, line: int | None, findings: Findings) -> None:
        findings.error(
            "index-in-repository",
            message,
            self._file.path,
            line,
            "run `pipenv lock` and keep the Pipfile.lock, or configure the index for your own machine",
        )

    def content_hash(self, sources: object) -> str | None:
        """The ``_meta.hash`` of a lock of this (Plette's ``Pipfile.get_hash``); None when it cannot be told.

        Parameters:
            sources: those of the lock, which stand in when the Pipfile has none.
        """
        data = self._file.data
        content: dict[str, Any] = {
            "_meta": {"sources": data.get("source", sources), "requires": data.get("requires", {})},
            "default": data.get("packages", {}),
            "develop": data.get("dev-packages", {}),
        }
        own = {*_OWN_TABLES, "default", "develop"}
        content |= {name: values for name, values in data.items() if name not in own}
        try:
            text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError):  # a date among the values, which no lock was made of
            return None
        return hashlib.sha256(text.encode()).hexdigest()

    def _table(self, key: str) -> dict[str, Any]:
        value = self._file.data.get(key)
        return value if isinstance(value, dict) else {}


def markers_of(table: dict[str, Any]) -> str:
    """The marker of an entry of a ``Pipfile`` or ``Pipfile.lock``, "" for none.

    Raises:
        ValueError: it is not a text.
    """
    parts = []
    for key in ("markers", *_MARKER_KEYS):
        value = table.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise ValueError(f"has {key} that is no text")
        parts.append(value if key == "markers" else f"{key} {value}")
    return parts[0] if len(parts) == 1 else " and ".join(f"({part})" for part in parts)


def _pep508(name: str, table: dict[str, Any]) -> str:
    """One package; raises :class:`ValueError` when it cannot be said."""
    extras = table.get("extras", [])
    if not isinstance(extras, list) or not all(isinstance(extra, str) for extra in extras):
        raise ValueError("has extras that are no list of names")
    text = canonical_name(name) + (f"[{','.join(extras)}]" if extras else "")
    values = {key: table[key] for key in ("git", "path", "file", "version") if key in table}
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError("has a version or a place that is no text")
    if "git" in values:
        reference = table.get("ref")
        revision = f"@{reference}" if isinstance(reference, str) else ""
        folder = table.get("subdirectory")
        location = values["git"] if values["git"].startswith("git+") else f"git+{values['git']}"
        text += f" @ {location}{revision}" + (f"#subdirectory={folder}" if isinstance(folder, str) else "")
    elif place := values.get("path", values.get("file")):
        text += f" @ {place if '://' in place or place.startswith(('/', '.')) else './' + place}"
    elif (version := values.get("version", "*")) != "*":
        text += version if version[:1] in "<>=!~" else f"=={version}"
    marker = markers_of(table)
    return f"{text} ; {marker}" if marker else text
