"""Whether a lock still is what the repository asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from envbuild.lock.model import Lock, Target, Wheel
from envbuild.lock.select import marker_environment
from envbuild.source import Repo
from envbuild.spec.match_spec import name_of
from envbuild.spec.model import CondaRequest, Requirement, Spec

__all__ = ["adopted_bytes", "check", "inputs_digest"]

_MOST_ADOPTED_BYTES = 64_000_000


def adopted_bytes(spec: Spec, repo: Repo) -> bytes | None:
    """The content of the lock that ``spec`` takes over, None when there is none.

    Raises:
        RepoError: it cannot be read.
    """
    return None if spec.adopted is None else repo.read(spec.adopted.path, _MOST_ADOPTED_BYTES)


def inputs_digest(spec: Spec, adopted: bytes | None = None) -> str:
    """``sha256:<hex>`` of everything in ``spec`` that locking depends on.

    Where a requirement is written does not count, nor does the order. Nor does what notebooks say about the
    Python they ran on: Jupyter writes that whenever one is saved, which must not make a lock stale.

    Parameters:
        adopted: the content of the lock that ``spec.adopted`` names.
    """
    content = {
        "name": spec.name,
        "display_name": spec.display_name,
        "python": sorted({request.specifier for request in spec.python if not request.hint}),
        "requirements": sorted([item.text, sorted(item.hashes)] for item in spec.requirements),
        "constraints": sorted([item.text, sorted(item.hashes)] for item in spec.constraints),
        "sources": sorted(_without_place(asdict(source)) for source in spec.sources),
        "conda": None
        if spec.conda is None
        else [
            list(spec.conda.channels),
            sorted(item.text for item in spec.conda.packages),
            *([spec.conda.variables] if spec.conda.variables else []),
        ],
        "apt": sorted([package.name, package.version or ""] for package in spec.apt),
        "kernels": sorted(spec.kernels),
        "other_kernels": sorted({(kernel.name, kernel.language) for kernel in spec.other_kernels}),
        "kernel_packages": sorted(spec.kernel_packages),
        **({"base": spec.base.reference} if spec.base else {}),
        "adopted": None
        if spec.adopted is None
        else [
            spec.adopted.kind,
            sorted(spec.adopted.extras),
            sorted(spec.adopted.groups),
            hashlib.sha256(adopted or b"").hexdigest(),
        ],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _without_place(values: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((key, repr(value)) for key, value in values.items() if key not in ("file", "line"))


def check(
    lock: Lock, spec: Spec, *, adopted: bytes | None = None, platforms: Sequence[str] = ()
) -> list[str]:
    """Why ``lock`` is stale: sentences for people, empty when it is fresh.

    Parameters:
        adopted: as for :func:`inputs_digest`.
        platforms: those the lock must have.
    """
    locked = {target.platform for target in lock.targets}
    reasons = [f"{platform} is not locked" for platform in sorted(set(platforms) - locked)]
    if lock.inputs == inputs_digest(spec, adopted):
        return reasons
    changes = list(dict.fromkeys(_changes(lock, spec)))
    if not changes:
        what = spec.adopted.path if spec.adopted else "what the repository asks for"
        changes = [f"{what} has changed since the lock was made"]
    return reasons + changes


def _changes(lock: Lock, spec: Spec) -> Iterator[str]:
    """The differences that can be told: a lock holds the answer, not the question."""
    wanted = spec.base.reference if spec.base else None
    locked = lock.base.image.reference if lock.base.image else None
    if wanted != locked:
        yield f"the base was {locked or lock.base.name} and is {wanted or 'one that fits'}"
    if lock.name != spec.name:
        yield f"the project's name was {lock.name!r} and is {spec.name!r}"
    for kernel in sorted(set(spec.kernels) ^ set(lock.kernels)):
        yield (
            f"a notebook uses the kernel {kernel!r}"
            if kernel in spec.kernels
            else f"no notebook uses {kernel!r}"
        )
    if spec.conda is not None and spec.conda.variables != lock.variables:
        yield f"the variables in {spec.conda.file} have changed"
    for target in lock.targets:
        wheels = {wheel.name: wheel for wheel in target.wheels}
        asked = set()
        for requirement in spec.requirements:
            parsed = _parse(requirement)
            if parsed is None:
                continue
            name = canonicalize_name(parsed.name)
            asked.add(name)
            environment = marker_environment(target.conda_python or lock.base.python, target.platform)
            if parsed.marker is None or parsed.marker.evaluate(environment):
                wheel = wheels.get(name)
                if wheel is not None and not wheel.direct and spec.adopted is None:
                    wheel = None  # it came with another package
                yield from _missing(requirement, parsed, wheel)
        if spec.conda is not None and spec.adopted is None:
            yield from _conda_changes(spec.conda, target)
        for wheel in target.wheels:
            if wheel.direct and wheel.name not in asked:
                yield f"{wheel.name} is locked but no longer asked for"


def _conda_changes(request: CondaRequest, target: Target) -> Iterator[str]:
    locked = {package.name: package for package in target.conda}
    asked = {name_of(package.text): package for package in request.packages}
    for name, package in asked.items():
        if name not in locked or not locked[name].direct:
            place = f"{package.file}:{package.line}" if package.line else package.file
            yield f"{package.text} ({place}) was added"
    for name in sorted(name for name, package in locked.items() if package.direct and name not in asked):
        yield f"{name} is locked but no longer asked for"


def _missing(requirement: Requirement, parsed: Parsed, wheel: Wheel | None) -> Iterator[str]:
    place = f"{requirement.file}:{requirement.line}" if requirement.line else requirement.file
    if wheel is None:
        yield f"{requirement.text} ({place}) was added"
    elif not parsed.specifier.contains(wheel.version, prereleases=True):
        yield f"{requirement.text} ({place}) does not allow the locked {wheel.version}"
    elif requirement.hashes and f"sha256:{wheel.artifact.sha256}" not in requirement.hashes:
        yield f"the hashes of {requirement.text} ({place}) are not that of the locked file"


def _parse(requirement: Requirement) -> Parsed | None:
    try:
        return Parsed(requirement.text)
    except InvalidRequirement:
        return None
