"""``requirements.txt`` in which every line is pinned, and every one or none is hashed."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.utils import canonicalize_name

from envbuild.errors import RepoError
from envbuild.lock.adopt.index import Taken, Where, ask_index
from envbuild.lock.resolver import choose, parse_requirement
from envbuild.spec.model import Requirement

__all__ = ["adopt_requirements"]


def adopt_requirements(requirements: Sequence[Requirement], where: Where) -> Taken:
    """What ``requirements`` give to the target.

    Raises:
        RepoError: a line has no pin or is not hashed like the others, or no file has a hash given.
    """
    environment = where.environment
    hashed = any(requirement.hashes for requirement in requirements)
    asked: dict[str, Requirement] = {}
    for requirement in requirements:
        parsed = parse_requirement(requirement)
        if parsed.marker is not None and not parsed.marker.evaluate(environment):
            continue
        exact = [one for one in parsed.specifier if one.operator in ("==", "===") and "*" not in one.version]
        if len(exact) != 1 or bool(requirement.hashes) != hashed:
            raise RepoError(
                f"{parsed.name} is not pinned with == and {'a' if hashed else 'no'} hash, as the others are",
                code="not-pinned",
                file=requirement.file,
                line=requirement.line,
                remedy="pin every line, or none",
            )
        name = canonicalize_name(parsed.name)
        pin = Requirement(
            f"{name}=={exact[0].version}", requirement.file, requirement.line, requirement.hashes
        )
        if name in asked and asked[name].text != pin.text:
            raise RepoError(
                f"{name} is pinned twice for {where.platform}: {asked[name].text} and {pin.text}",
                code="pinned-twice",
                file=requirement.file,
                line=requirement.line,
                remedy="remove one of the lines",
            )
        asked[name] = pin
    offered = ask_index(list(asked.values()), where)
    tags = where.tags
    pins = tuple(
        choose(
            offered[name],
            tags,
            platform=where.platform,
            environment=where.uv.environment,
            hashed=(requirement,) if hashed else (),
        )
        for name, requirement in sorted(asked.items())
        if name in offered
    )
    return Taken(
        pins, tuple(requirement for name, requirement in sorted(asked.items()) if name not in offered)
    )
