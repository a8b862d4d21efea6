"""Where a repository says what it depends on, and what a changed package looks like there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from packaging.requirements import Requirement as Pep508
from packaging.version import Version

from envbuild.drift.changes import Change, Origin
from envbuild.lock.compiled import find_compiled
from envbuild.source import Repo
from envbuild.spec.findings import Findings
from envbuild.spec.match_spec import name_of, parse_match_spec
from envbuild.spec.model import Requirement, SourceRequirement, Spec
from envbuild.spec.pep508 import canonical_name, parse_requirement
from envbuild.spec.requirements import read_requirements
from envbuild.spec.toml_file import parse_toml, subtable

__all__ = ["Advice", "Place", "advise", "declaring_place", "line_for_package"]

Way = Literal["requirements", "project", "poetry", "Pipfile", "conda", "pixi", "command", "text"]
"""How a file says it: a line, PEP 621, tables of tools, a command of a tool that has a lock, or otherwise."""

_NEW_FILE = "requirements.txt"
_PYPROJECT_LIMIT = 1 << 20
# The lock of another tool -> what declares, how one more package is asked for, and how one less is.
_COMMANDS = {
    "uv.lock": ("pyproject.toml", 'uv add "{}"', "uv remove {}"),
    "poetry.lock": ("pyproject.toml", 'poetry add "{}"', "poetry remove {}"),
    "pdm.lock": ("pyproject.toml", 'pdm add "{}"', "pdm remove {}"),
    "Pipfile.lock": ("Pipfile", 'pipenv install "{}"', "pipenv uninstall {}"),
    "pixi.lock": ("pixi.toml", 'pixi add --pypi "{}"', "pixi remove --pypi {}"),
}
_SECTIONS = {
    "project": "dependencies of [project]",
    "poetry": "[tool.poetry.dependencies]",
    "Pipfile": "[packages]",
}


@dataclass(frozen=True, slots=True)
class Place:
    """The file that declares the dependencies, and how.

    ``requirements`` and ``packages`` (conda's) are those that are declared, ``sources`` those on something
    that is in no index. ``section`` is where in the file, for people; "" when that is clear. ``prefix`` is
    the TOML table that pixi's tables are in. ``lock`` is another tool's lock that has to be renewed with that
    tool. ``new`` tells that the file does not exist yet: then ``requirements`` are what was inferred.
    """

    path: str
    way: Way
    requirements: tuple[Requirement, ...] = ()
    packages: tuple[Requirement, ...] = ()
    sources: tuple[SourceRequirement, ...] = ()
    section: str = ""
    prefix: tuple[str, ...] = ()
    lock: str | None = None
    new: bool = False

    @property
    def pins(self) -> bool:
        """Whether versions are written exactly: as most are, or where there are none as is usual."""
        parsed = [parse_requirement(one.text) for one in self.requirements]
        exact = [one.pin is not None for one in parsed if one is not None]
        exact += [_is_exact(one.text) for one in self.packages if name_of(one.text) != "python"]
        return 2 * sum(exact) > len(exact) if exact else self.way in ("requirements", "conda", "text")


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about one change so that it is there the next time.

    ``action`` is what to do with ``text`` in ``file``: ``"add"`` it, let it ``"replace"`` what is on
    ``line``, ``"remove"`` what is on ``line``, or ``"run"`` it. ``"lock"``: what is on ``line`` allows the
    version already. ``"none"``: nothing can be written, and ``reason`` says why; else it is what to do after
    that. ``section`` is where in the file, for people.
    """

    change: Change
    action: Literal["add", "replace", "remove", "run", "lock", "none"]
    file: str = ""
    text: str = ""
    line: int | None = None
    section: str = ""
    reason: str = ""


def declaring_place(spec: Spec, repo: Repo) -> Place:
    """The file of ``spec`` that packages are added to; a new ``requirements.txt`` when none declares any.

    Raises:
        RepoError: the file cannot be read.
    """
    return replace(_place(spec, repo), sources=spec.sources)


def _place(spec: Spec, repo: Repo) -> Place:
    winner, asked = spec.declared_by, spec.requirements
    if winner is None:
        return Place(_NEW_FILE, "requirements", asked, new=True)
    name = posixpath.basename(winner)
    if winner == "command line":
        return Place("the requirements that are given with --requirement, or configured", "text", asked)
    if spec.engine_build is not None:
        return Place(winner, "text", asked)
    if spec.adopted is not None:
        return _locked(winner, spec, repo)
    if name in ("environment.yml", "environment.yaml"):
        return Place(winner, "conda", asked, spec.conda.packages if spec.conda else ())
    if name == "Pipfile":
        return Place(winner, "Pipfile", asked, section=_SECTIONS["Pipfile"])
    if name == "pixi.toml" or (name == "pyproject.toml" and spec.conda is not None):
        prefix = () if name == "pixi.toml" else ("tool", "pixi")
        return Place(winner, "pixi", asked, spec.conda.packages if spec.conda else (), prefix=prefix)
    if name == "pyproject.toml":
        way: Way = "poetry" if _is_poetrys(repo, winner) else "project"
        return Place(winner, way, asked, section=_SECTIONS[way])
    if name in ("setup.cfg", "setup.py"):
        return Place(winner, "text", asked, section="install_requires")
    return Place(winner, "requirements", asked)


def _is_exact(text: str) -> bool:
    """Whether a MatchSpec names one version, as ``name=1.2`` does."""
    spec = parse_match_spec(text)
    return spec is not None and bool(re.fullmatch(r"={0,2}[^<>=!~,|]+", spec.version))


def _is_poetrys(repo: Repo, path: str) -> bool:
    """Whether the dependencies are in ``[tool.poetry]``, as before Poetry knew ``[project]``."""
    data = parse_toml(repo, path, _PYPROJECT_LIMIT).data
    own = "dependencies" in subtable(data, "project")
    return not own and "dependencies" in subtable(subtable(data, "tool"), "poetry")


def _locked(path: str, spec: Spec, repo: Repo) -> Place:
    """The file that was locked by another tool."""
    folder, name = posixpath.split(path)
    if name in _COMMANDS:
        declares = posixpath.join(folder, _COMMANDS[name][0])
        return Place(declares, "command", spec.requirements, lock=path)
    if (compiled := find_compiled(repo, spec)) is not None:  # which is compiled again whenever it is locked
        asked = read_requirements(repo, compiled.source, Findings()).requirements
        return Place(compiled.source, "requirements", tuple(asked))
    if name.startswith("conda-lock"):
        return Place(posixpath.join(folder, "environment.yml"), "conda", lock=path)
    source = posixpath.join(folder, "requirements.in")
    known = name == "requirements.txt" and repo.exists(source)
    return Place(source if known else f"what {path} was made of", "requirements", lock=path)


def advise(changes: Iterable[Change], place: Place) -> tuple[Advice, ...]:
    """What to do about those ``changes`` that somebody asked for, in their order."""
    return tuple(_advise(change, place) for change in changes if change.requested)


def _advise(change: Change, place: Place) -> Advice:
    there = _declared(change, place)
    source = next((one for one in place.sources if one.name == change.name), None)
    if source is not None:
        shown = f"{source.file}:{source.line}" if source.line else source.file
        return Advice(change, "none", reason=f"{shown} asks for it from {source.location or 'its source'}")
    if change.after is None:
        if there is None:
            return Advice(change, "none", reason="no file of the repository asks for it")
        if place.way == "command":
            return Advice(change, "run", place.path, _COMMANDS[_lock_name(place)][2].format(change.name))
        return Advice(change, "remove", there.file, there.text, there.line, place.section)
    if reason := _unfit(change, place):
        return Advice(change, "none", reason=reason)
    if there is not None and change.origin is None and change.manager == "pip":
        parsed = Pep508(there.text)
        if parsed.specifier.contains(change.after, prereleases=True):
            return Advice(change, "lock", there.file, there.text, there.line)
    text = line_for(change, place, there)
    if place.way == "command":
        return Advice(change, "run", place.path, text)
    section = place.section
    if place.way == "conda":
        section = "dependencies" if change.manager == "conda" else "dependencies, pip"
    elif place.way == "pixi":
        table = "dependencies" if change.manager == "conda" else "pypi-dependencies"
        section = f"[{'.'.join((*place.prefix, table))}]"
    renew = f"renew {place.lock}" if place.lock else ""
    if there is not None:
        return Advice(change, "replace", there.file, text, there.line, section, renew)
    return Advice(change, "add", place.path, text, None, section, renew)


def _lock_name(place: Place) -> str:
    return posixpath.basename(place.lock or "")


def _unfit(change: Change, place: Place) -> str:
    """Why a package that is there now cannot be declared."""
    origin, conda = change.origin, _of_conda(change.name, place)
    if change.manager == "conda" and place.way not in ("conda", "pixi") and _lock_name(place) != "pixi.lock":
        return f"conda installed it, which {place.path} is not for"
    if change.manager == "pip" and conda is not None:
        shown = f"{conda.file}:{conda.line}" if conda.line else conda.file
        return f"{shown} asks conda for it: change the version there"
    if origin is None:
        return ""
    if origin.kind == "directory" and origin.location == "/":
        return "it was installed from a directory that is not in the repository"
    if origin.private:
        return "it was installed from an address with a password, which belongs into no file"
    if origin.kind == "directory" and place.way not in ("requirements", "conda"):
        return "it was installed from a directory of the repository: declare that by hand"
    if place.way not in ("requirements", "conda", "project", "text") or (
        origin.kind == "archive" and origin.folder
    ):
        return f"it was installed from {origin.location}: declare that by hand"
    return ""


def _declared(change: Change, place: Place) -> Requirement | None:
    """The requirement on the package that a file of the repository has."""
    if place.new:
        return None
    if change.manager == "conda":
        return _of_conda(change.name, place)
    for requirement in place.requirements:
        parsed = parse_requirement(requirement.text)
        if parsed is not None and parsed.name == change.name:
            return requirement
    return None


def _of_conda(name: str, place: Place) -> Requirement | None:
    return next((one for one in place.packages if name_of(one.text).lower() == name), None)


def line_for(change: Change, place: Place, there: Requirement | None = None) -> str:
    """What asks for a changed package in ``place``: a line, an entry of a list or of a table, a command.

    Parameters:
        there: the requirement that is replaced; its extras and marker stay.
    """
    version = Version(change.after or "0").public if change.manager == "pip" else f"{change.after}"
    exact = place.pins or _is_older(change)
    if change.manager == "conda":
        if place.way == "pixi":
            return f'{change.name} = "{"==" if exact else ">="}{version}"'
        if place.way == "command":
            return f'pixi add "{change.name}{"==" if exact else ">="}{version}"'
        return f"{change.name}{'=' if exact else '>='}{version}"
    extras = marker = ""
    if there is not None:
        parsed = Pep508(there.text)
        extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
        marker = f"; {parsed.marker}" if parsed.marker else ""
    specifier = f"{'==' if exact else '>='}{version}"
    if change.origin is not None:
        return _direct(change.name, change.origin)
    if place.way == "command":
        at = "@" if _lock_name(place) == "poetry.lock" and not exact else ""
        wanted = f"{change.name}{extras}@^{version}" if at else f"{change.name}{extras}{specifier}"
        return _COMMANDS[_lock_name(place)][1].format(wanted)
    if place.way in ("Pipfile", "pixi"):
        return f'{change.name} = "{specifier}"'
    if place.way == "poetry":
        return f'{change.name} = "{specifier if exact else "^" + version}"'
    return f"{change.name}{extras}{specifier}{marker}"


def line_for_package(name: str, place: Place) -> str:
    """What asks in ``place`` for the package ``name``, whatever its version."""
    name = canonical_name(name)
    if place.way == "command":
        return _COMMANDS[_lock_name(place)][1].format(name)
    return f'{name} = "*"' if place.way in ("Pipfile", "pixi", "poetry") else name


def _is_older(change: Change) -> bool:
    if change.before is None or change.after is None or change.manager == "conda":
        return False
    return Version(change.after) < Version(change.before)


def _direct(name: str, origin: Origin) -> str:
    if origin.kind == "directory":
        path = "." if origin.location == "." else f"./{origin.location}"
        return f"-e {path}" if origin.editable else path
    folder = f"#subdirectory={origin.folder}" if origin.folder else ""
    revision = f"@{origin.revision}" if origin.revision else ""
    return f"{name} @ {'git+' if origin.kind == 'git' else ''}{origin.location}{revision}{folder}"
