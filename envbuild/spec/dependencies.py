"""What a project depends on, as its files write it (PEP 508): packages of an index, and others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.direct import is_direct, read_direct
from envbuild.spec.findings import Findings
from envbuild.spec.model import Requirement, SourceRequirement
from envbuild.spec.pep508 import parse_requirement

__all__ = ["Dependencies", "read_dependencies"]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a project depends on: packages of an index, and others (PEP 508 direct references)."""

    requirements: tuple[Requirement, ...] = ()
    sources: tuple[SourceRequirement, ...] = ()


def read_dependencies(
    texts: Iterable[tuple[str, int | None]], repo: Repo, path: str, findings: Findings
) -> Dependencies:
    """The requirements that ``texts`` are; mistakes go to ``findings``.

    Parameters:
        texts: each with the line of ``path`` it is on.
    """
    requirements: dict[Requirement, None] = {}
    sources: dict[SourceRequirement, None] = {}
    for text, line in texts:
        parsed = parse_requirement(text)
        if parsed is not None:
            requirements[Requirement(parsed.text, path, line)] = None
        elif "@" in text and is_direct(text):
            try:
                sources[read_direct(text, repo, path, line)] = None
            except RepoError as error:
                findings.failed(error)
        else:
            findings.error(
                "bad-requirement",
                f"{quote(text)} is not a requirement",
                path,
                line,
                "write `name`, or `name>=version`, as PEP 508 says",
            )
    return Dependencies(tuple(requirements), tuple(sources))
