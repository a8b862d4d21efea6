"""``apt.txt``: names of Debian packages, as repo2docker reads it."""

from __future__ import annotations

import codecs
import re

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import quote
from envbuild.spec.findings import Findings
from envbuild.spec.model import AptPackage, Execution

__all__ = ["apt_execution", "read_apt"]

_LIMIT = 1 << 20
_MOST_PACKAGES = 2000
_LONGEST_WORD = 256

# Debian policy 5.6.1 and 5.6.12. Nothing that apt takes for an option, a pattern, a path or a release.
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"(?:[0-9]+:)?[0-9][A-Za-z0-9.+~-]*")

_REMEDY = "write names of Debian packages, or `name=version`, separated by spaces or lines"


def read_apt(repo: Repo, path: str, findings: Findings) -> tuple[AptPackage, ...]:
    """The packages that the ``apt.txt`` at ``path`` names, in its order, each once.

    Every mistake becomes a problem in ``findings`` with its line, and reading goes on.
    """
    shown = printable(path)
    try:
        text = _decode(repo.read(path, _LIMIT), shown)
    except RepoError as error:
        findings.failed(error)
        return ()
    found: dict[str, AptPackage] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        for word in line.partition("#")[0].split():
            package = _package(word, shown, number, findings)
            if package is None:
                continue
            known = found.setdefault(package.name, package)
            if known is not package:
                _check_again(known, package, findings)
    if len(found) > _MOST_PACKAGES:
        findings.error("bad-apt", f"this names more than {_MOST_PACKAGES} packages", shown, remedy=_REMEDY)
        return ()
    return tuple(found.values())


def apt_execution(packages: tuple[AptPackage, ...]) -> Execution:
    """What installing ``packages`` (at least one) runs."""
    count = f"{len(packages)} Debian package{'s' if len(packages) > 1 else ''}"
    return Execution(
        what=f"maintainer scripts of {count} and what they need",
        why="Debian packages are set up by programs that they bring",
        when="build",
        file=packages[0].file,
        line=packages[0].line,
    )


def _decode(data: bytes, shown: str) -> str:
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\0" in data:
        raise RepoError("this is not a text file", code="bad-encoding", file=shown, remedy="save it as UTF-8")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RepoError(
            "this is not UTF-8 text",
            code="bad-encoding",
            file=shown,
            line=data.count(b"\n", 0, error.start) + 1,
            remedy="save it as UTF-8",
        ) from error


def _package(word: str, shown: str, number: int, findings: Findings) -> AptPackage | None:
    name, equals, version = word.partition("=")
    if len(word) <= _LONGEST_WORD and _NAME.fullmatch(name):
        if not equals:
            return AptPackage(name, shown, number)
        if _VERSION.fullmatch(version):
            return AptPackage(name, shown, number, version)
    if word.startswith("-"):
        trouble = "is an option, and apt's options are not the repository's to choose"
    elif re.fullmatch(rf"{_NAME.pattern}:[a-z0-9-]+", word[:_LONGEST_WORD]):
        trouble = "names an architecture, and an image has only its own"
    else:
        trouble = "is not the name of a Debian package"
    findings.error("bad-apt", f"{quote(word)} {trouble}", shown, number, _REMEDY)
    return None


def _check_again(known: AptPackage, again: AptPackage, findings: Findings) -> None:
    """Say that a package is named twice."""
    if known.version == again.version:
        findings.note(
            "apt-twice", f"{again.name} is named in line {known.line} already", again.file, again.line
        )
    else:
        findings.error(
            "bad-apt",
            f"{again.name} is asked for in another version than in line {known.line}",
            again.file,
            again.line,
            "keep one of the two lines",
        )
