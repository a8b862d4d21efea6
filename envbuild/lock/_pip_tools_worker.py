"""Solves requirements with pip-tools for another machine. Run as a program of its own, in an empty directory.

pip-tools and pip have no public way to ask for another platform and Python, so parts of them that are not
public are replaced for the life of this process: which wheels fit, what markers see, where hashes come from.
Both are pinned exactly in ``pyproject.toml``.

Reads one JSON request from standard input::

    {"python": "3.11.2", "platforms": [TAG, ...], "markers": {NAME: VALUE}, "cache": PATH,
     "exclude_newer": TIME or null, "preferences": {NAME: VERSION}, "compile": [ARGUMENT, ...] or null}

With ``compile``, ``pip-compile`` runs with these arguments. Otherwise ``requirements.in`` and
``constraints.txt`` are solved. Everything is in the current directory. ``answer.json`` gets
``{"packages": [{"name", "version", "wheels": [{"filename", "url", "sha256"}]}]}`` or ``{"failure": ...}``,
as :func:`envbuild.lock.pip_reasons.explain_failure` reads it.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import packaging.markers
import pip._vendor.packaging.markers
import piptools.scripts.compile
import piptools.writer
from pip._internal.exceptions import (
    DistributionNotFound,
    InstallationError,
    NetworkConnectionError,
    PipError,
)
from pip._internal.index import collector
from pip._internal.models.format_control import FormatControl
from pip._internal.models.target_python import TargetPython
from pip._vendor.packaging.utils import canonicalize_name
from pip._vendor.requests import RequestException
from pip._vendor.resolvelib import ResolutionImpossible
from piptools._compat import parse_requirements
from piptools._internal import _pip_api
from piptools.repositories import PyPIRepository
from piptools.resolver import BacktrackingResolver
from piptools.utils import drop_extras, key_from_ireq

# Only the parts of wheels that say what they need are fetched, and an index that does not answer is given up
# on in seconds.
_PIP_ARGUMENTS = ("--only-binary", ":all:", "--use-feature", "fast-deps", "--retries", "2", "--quiet")


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    unreachable: list[dict[str, str]] = []
    _note_failures(unreachable)
    _pretend(request["markers"])
    kind = functools.partial(_Repository, request=request)
    arguments = [*_PIP_ARGUMENTS]
    if request["exclude_newer"]:
        arguments += ["--uploaded-prior-to", request["exclude_newer"]]

    def repository() -> _Repository:
        return kind([*arguments, "--cache-dir", request["cache"]], cache_dir=request["cache"])

    answer: dict[str, Any] = {"packages": []}
    try:
        if request["compile"] is not None:
            _compile(request, kind, arguments)
        else:
            answer = {"packages": _solve(repository(), request["preferences"])}
    except DistributionNotFound as error:
        answer = {"failure": _conflict(error, repository())}
    except (PipError, RequestException) as error:
        kind_of = "network" if isinstance(error, NetworkConnectionError | RequestException) else "other"
        answer = {"failure": {"kind": kind_of, "message": str(error)}}
    # An index that failed may have had the better answer, or the only one.
    if unreachable:
        answer = {"failure": {"kind": "network", **unreachable[0]}}
    Path("answer.json").write_text(json.dumps(answer), "utf-8")


class _Repository(PyPIRepository):
    """What the index has for the target."""

    def __init__(self, pip_args: list[str], cache_dir: str, *, request: dict[str, Any]) -> None:
        super().__init__(pip_args, cache_dir=cache_dir)
        version = tuple(int(part) for part in request["python"].split("."))
        target = TargetPython(request["platforms"], version, None, "cp")
        self._finder = self.command._build_package_finder(
            options=self.options, session=self.session, target_python=target
        )
        self.command.make_resolver = functools.partial(self.command.make_resolver, py_version_info=version)

    @contextmanager
    def allow_all_wheels(self) -> Iterator[None]:
        """For hashes: every file counts, sources as well."""
        control, self.finder.format_control = self.finder.format_control, FormatControl()
        try:
            with super().allow_all_wheels():
                yield
        finally:
            self.finder.format_control = control

    def _get_hashes_from_pypi(self, ireq: Any) -> dict[str, str]:
        return {}  # not part of the simple API; the links have them

    def _get_file_hash(self, link: Any) -> str:
        sha256 = _sha256(link)
        if sha256 is None:
            raise InstallationError(f"the index gives no sha256 for {link.filename}")
        return f"sha256:{sha256}"


def _sha256(link: Any) -> str | None:
    sha256 = (link._hashes or {}).get("sha256") or (link.hash if link.hash_name == "sha256" else None)
    return sha256.lower() if sha256 else None


def _note_failures(unreachable: list[dict[str, str]]) -> None:
    """Have ``unreachable`` filled with the index pages that cannot be had; pip would go on without them."""

    def note(link: Any, reason: str | Exception, meth: Any = None) -> None:
        response = getattr(reason, "response", None)
        if response is None or response.status_code not in (404, 410):
            unreachable.append({"url": link.redacted_url, "message": str(reason)})

    collector._handle_get_simple_fail = note


def _pretend(markers: dict[str, str]) -> None:
    """Make both copies of packaging evaluate markers as if this were the target."""
    copies: tuple[Any, ...] = (packaging.markers, pip._vendor.packaging.markers)
    for module in copies:
        module.default_environment = lambda: dict(markers)


def _solve(repository: _Repository, preferences: dict[str, str]) -> list[dict[str, Any]]:
    options = {"finder": repository.finder, "session": repository.session, "options": repository.options}
    asked = list(parse_requirements("requirements.in", **options))
    asked += parse_requirements("constraints.txt", constraint=True, **options)
    asked = [one for one in asked if one.match_markers(())]
    for one in asked:
        drop_extras(one)
    kept = [
        _pip_api.create_install_requirement_from_line(f"{name}=={version}")
        for name, version in sorted(preferences.items())
    ]
    resolver = BacktrackingResolver(
        constraints=asked,
        existing_constraints={key_from_ireq(one): one for one in kept},
        repository=repository,
        allow_unsafe=True,
    )
    found = resolver.resolve(max_rounds=100)
    return sorted((_package(one, repository) for one in found), key=lambda package: str(package["name"]))


def _package(pinned: Any, repository: _Repository) -> dict[str, Any]:
    version = next(iter(pinned.specifier)).version
    links = [
        candidate.link
        for candidate in repository.find_all_candidates(pinned.name)
        if str(candidate.version) == version or pinned.specifier.contains(candidate.version, prereleases=True)
    ]
    return {
        "name": canonicalize_name(pinned.name),
        "version": version,
        "wheels": [
            {"filename": link.filename, "url": link.url_without_fragment, "sha256": _sha256(link)}
            for link in links
        ],
    }


def _compile(request: dict[str, Any], kind: Any, arguments: list[str]) -> None:
    """``pip-compile``, as its command line does it, but for the target."""
    major, minor = (int(part) for part in request["python"].split(".")[:2])
    piptools.writer.sys = SimpleNamespace(version_info=SimpleNamespace(major=major, minor=minor))
    piptools.scripts.compile.PyPIRepository = kind
    # Not through the options: what is given there ends up in the file.
    cli = piptools.scripts.compile.cli
    try:
        cli.main(
            [*request["compile"], "--cache-dir", request["cache"], "--pip-args", " ".join(arguments)],
            standalone_mode=False,
        )
    except SystemExit as error:
        raise InstallationError("pip-compile failed") from error


def _conflict(error: DistributionNotFound, repository: _Repository) -> dict[str, Any]:
    """Who asks for what that cannot be had, and what there is."""
    cause = error.__cause__
    if not isinstance(cause, ResolutionImpossible):
        return {"kind": "other", "message": str(error)}
    causes = [
        {
            "requirement": str(one.requirement).partition(";")[0].strip(),
            "name": canonicalize_name(one.requirement.project_name),
            "parent": f"{one.parent.name}=={one.parent.version}" if one.parent else None,
        }
        for one in cause.causes
    ]
    versions: dict[str, dict[str, list[str]]] = {}
    for name in sorted({one["name"] for one in causes if one["name"] != "<python from requires-python>"}):
        fitting = sorted({str(candidate.version) for candidate in repository.find_all_candidates(name)})
        versions[name] = {"fitting": fitting, "any": _all_versions(name, repository)}
    return {"kind": "conflict", "causes": causes, "versions": versions}


def _all_versions(name: str, repository: _Repository) -> list[str]:
    """What there is of ``name``, for whatever machine and Python, sources included."""
    with repository.allow_all_wheels():
        finder = repository.command._build_package_finder(
            options=repository.options, session=repository.session, ignore_requires_python=True
        )
        finder.format_control = FormatControl()
        return sorted({str(candidate.version) for candidate in finder.find_all_candidates(name)})


if __name__ == "__main__":
    main()
