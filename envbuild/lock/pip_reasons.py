"""Why pip-tools found no solution, traced to the requirement it is about."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from packaging.requirements import Requirement as Parsed
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from envbuild.errors import EnvbuildError, MachineError, RemoteError, RepoError
from envbuild.source.text import clean, redact
from envbuild.spec.model import Requirement

__all__ = ["explain_failure"]

_MOST_CAUSES = 3
_NO_UPLOAD_TIME = re.compile(r"upload.?time", re.IGNORECASE)
_STATUS = re.compile(r"\b(401|403|407)\b")


def explain_failure(
    failure: Mapping[str, Any],
    requirements: Sequence[Requirement],
    constraints: Sequence[Requirement],
    target: str,
) -> EnvbuildError:
    """The error to raise for the worker's ``failure``.

    Parameters:
        requirements, constraints: what was asked.
        target: for people, what was locked for.
    """
    if failure["kind"] == "conflict":
        return _no_solution(failure, [*requirements, *constraints], target)
    message = redact(str(failure["message"]))
    if failure["kind"] == "network":
        return _unreachable(message, redact(failure.get("url", "")))
    if _NO_UPLOAD_TIME.search(message):
        return RemoteError(
            "this package index does not tell pip when files were published",
            code="no-upload-times",
            remedy="lock without --exclude-newer, or use `--resolver uv`, which reads more of an index",
            detail=message,
        )
    return MachineError(
        f"pip-tools failed: {clean(message.splitlines()[0] if message else 'it did not say why')}",
        code="resolver-failed",
        remedy="run with --debug and report this if it looks like a fault of envbuild",
        detail=message,
    )


def _unreachable(message: str, url: str) -> EnvbuildError:
    status = _STATUS.search(message)
    if status and status[1] != "407":
        return RemoteError(
            f"the package index refuses the credentials it was given, or wants some: HTTP {status[1]}"
            + (f" from {url}" if url else ""),
            code="index-unauthorized",
            remedy="set them in the index's address, in ~/.netrc or in a keyring",
        )
    return RemoteError(
        f"the package index cannot be reached: {url + ': ' if url else ''}{clean(message)}",
        code="index-unreachable",
        remedy="check the network, the proxy and the index settings, then try again",
    )


def _no_solution(failure: Mapping[str, Any], asked: Sequence[Requirement], target: str) -> RepoError:
    causes = failure["causes"]
    versions: Mapping[str, Mapping[str, list[str]]] = failure.get("versions", {})
    code, message, remedy = "unsolvable", "", "relax one of the requirements named"
    for cause in causes:
        known = versions.get(cause["name"])
        if known is None:
            continue
        trouble = _alone(cause, known, target)
        if trouble is not None:
            code, message, remedy = trouble
            break
    if not message:
        facts = list(dict.fromkeys(map(_fact, causes)))
        shown = facts if len(facts) <= _MOST_CAUSES else [*facts[: _MOST_CAUSES - 1], "…", facts[-1]]
        message = f"{'; '.join(shown)} (for {target})"
    blamed = _blamed(causes, asked)
    elsewhere = [f"{one.file}:{one.line}" for one in blamed[1:] if one.file and one.line]
    if code == "unsolvable" and elsewhere:
        message = f"{message}; see also {', '.join(dict.fromkeys(elsewhere[:3]))}"
    return RepoError(
        message,
        code=code,
        file=(blamed[0].file or None) if blamed else None,
        line=blamed[0].line if blamed else None,
        remedy=remedy,
    )


def _alone(
    cause: Mapping[str, Any], known: Mapping[str, list[str]], target: str
) -> tuple[str, str, str] | None:
    """``(code, message, remedy)`` when ``cause`` cannot be met whatever else is asked."""
    name = cause["name"]
    if not known["any"] and not known["fitting"]:
        return (
            "unknown-package",
            f"there is no package named {name!r} in the package index",
            "correct the name, or remove the requirement",
        )
    specifier = _specifier(cause["requirement"])
    if not any(specifier.contains(version, prereleases=True) for version in known["any"]):
        return (
            "no-such-version",
            f"there is no version of {cause['requirement']}",
            "choose a version that exists",
        )
    if not any(specifier.contains(version, prereleases=True) for version in known["fitting"]):
        return (
            "no-wheel",
            f"{cause['requirement']} has no wheels for this platform and Python (for {target})",
            "choose a version with a wheel: building from source is not supported by pip-tools here",
        )
    return None


def _specifier(text: str) -> SpecifierSet:
    try:
        return Parsed(text).specifier
    except ValueError:
        return SpecifierSet()


def _fact(cause: Mapping[str, Any]) -> str:
    if cause["parent"]:
        return f"{cause['parent']} depends on {cause['requirement']}"
    return f"you require {cause['requirement']}"


def _blamed(causes: Sequence[Mapping[str, Any]], asked: Sequence[Requirement]) -> list[Requirement]:
    """The requirements to point at: those that are causes, else those that ask for a cause's parent."""
    names = [cause["name"] for cause in causes if not cause["parent"]]
    names += [re.split(r"[\[=]", cause["parent"])[0] for cause in causes if cause["parent"]]
    names += [cause["name"] for cause in causes]
    found = []
    for name in map(canonicalize_name, names):
        found += [one for one in asked if canonicalize_name(Parsed(one.text).name) == name]
    # A line of the repository is more useful to point at than something envbuild itself asks for.
    return sorted(dict.fromkeys(found), key=lambda one: not one.file)
