"""Which Python a repository asks for: ``runtime.txt``, ``.python-version`` and version specifiers."""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import quote
from envbuild.spec.findings import Findings
from envbuild.spec.model import PythonRequest

__all__ = ["is_specifier", "read_python_version", "read_runtime_txt", "specifier_of"]

_FILE_LIMIT = 64 << 10
_LONGEST = 200
_VERSION = re.compile(r"(\d{1,3}\.\d{1,3})(\.\d{1,4})?", re.ASCII)


def is_specifier(value: object) -> bool:
    """Whether ``value`` is a PEP 440 specifier set."""
    try:
        return isinstance(value, str) and len(value) <= _LONGEST and SpecifierSet(value) is not None
    except InvalidSpecifier:
        return False


def specifier_of(request: str) -> str | None:
    """The specifier for what a user typed: ``3.11``, ``3.11.2`` or a specifier set; None for anything else.

    >>> specifier_of("3.11"), specifier_of("3.11.2"), specifier_of(">=3.11"), specifier_of("snake")
    ('==3.11.*', '==3.11.2', '>=3.11', None)
    """
    if match := _VERSION.fullmatch(request):
        return f"=={request}" if match[2] else f"=={request}.*"
    return request if request and is_specifier(request) else None


def read_runtime_txt(repo: Repo, path: str, findings: Findings) -> PythonRequest | None:
    """``runtime.txt`` as Binder has it: one line, ``python-3.11``."""
    shown = printable(path)
    text = _read_text(repo, path, findings)
    if text is None:
        return None
    line = text.strip()
    version = _VERSION.fullmatch(line.removeprefix("python-")) if line.startswith("python-") else None
    if version is None:
        if not re.match(r"(r|julia)-", line, re.IGNORECASE):  # those are repo2docker's (engine_build.py)
            findings.error("bad-runtime", f"{quote(line)} is not a runtime", shown, 1, "write `python-3.11`")
        return None
    findings.used(path, "runtime.txt", f"asks for Python {version[0]}")
    return _release_series(version, shown, 1, findings)


def read_python_version(repo: Repo, path: str, findings: Findings) -> PythonRequest | None:
    """``.python-version`` as pyenv and uv have it: the first line that is not a comment."""
    shown = printable(path)
    text = _read_text(repo, path, findings)
    if text is None:
        return None
    for number, line in enumerate(text.splitlines(), 1):
        request = line.strip()
        if not request or request.startswith("#"):
            continue
        if version := _VERSION.fullmatch(request.removeprefix("cpython").lstrip("@-")):
            findings.used(path, ".python-version", f"asks for Python {version[0]}")
            return _release_series(version, shown, number, findings)
        if is_specifier(request):
            findings.used(path, ".python-version", f"asks for Python {request}")
            return PythonRequest(request, shown, number)
        if re.match(r"pypy|graalpy|jython|\d+\.\d+(\.\d+)?t", request):
            findings.error(
                "not-supported-yet", f"{quote(request)} is not supported yet: only CPython is", shown, number
            )
        else:
            findings.warning(
                "python-version-ignored", f"{quote(request)} is not a version of Python", shown, number
            )
        break
    findings.ignored(path, ".python-version", "names no version of Python")
    return None


def _release_series(version: re.Match[str], shown: str, line: int, findings: Findings) -> PythonRequest:
    """A request for the series: these files are written by tools that always add a patch release."""
    if version[2]:
        findings.note(
            "python-patch-release",
            f"Python {version[0]} is read as {version[1]}: the base image decides the patch release",
            shown,
            line,
        )
    return PythonRequest(f"=={version[1]}.*", shown, line)


def _read_text(repo: Repo, path: str, findings: Findings) -> str | None:
    try:
        return repo.read(path, _FILE_LIMIT).decode("utf-8-sig")
    except RepoError as error:
        findings.failed(error)
    except UnicodeDecodeError:
        findings.error("bad-encoding", "this is not UTF-8 text", printable(path))
    return None
