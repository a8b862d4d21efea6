"""The seam to what builds wheels from source, and what locking has to know about such a wheel."""

from __future__ import annotations

import email.parser
import email.policy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envbuild.errors import RepoError
from envbuild.lock.model import Artifact, Built, Lock, Target
from envbuild.lock.resolver import Resolver
from envbuild.lock.select import Pin
from envbuild.source.text import clean, quote
from envbuild.spec.model import SourceRequirement

__all__ = ["BuilderFactory", "BuiltWheel", "Metadata", "WheelBuilder", "read_metadata"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_MOST_REQUIRES = 5000


@dataclass(frozen=True, slots=True)
class Metadata:
    """Core metadata of a package: ``name`` is canonical, ``requires`` are PEP 508 texts."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuiltWheel:
    """A wheel in the store, what it says about itself and what it was built from."""

    artifact: Artifact
    metadata: Metadata
    built: Built


class WheelBuilder(Protocol):
    """Builds wheels in the sandbox; whatever was built before is only looked up."""

    def from_index(self, sdist: Pin, platform: str) -> BuiltWheel:
        """The wheel of a source distribution that the index has.

        Raises:
            RepoError: it cannot be built.
            MachineError: there is no sandbox here.
        """

    def from_source(self, source: SourceRequirement, platform: str) -> BuiltWheel:
        """The wheel of what ``source`` names, which is not a project of the repository.

        Raises:
            RepoError, MachineError: as for :meth:`from_index`.
            RemoteError: it cannot be fetched.
        """

    def project(self, source: SourceRequirement, platform: str) -> tuple[Built, Metadata | None]:
        """What building a project of the repository takes; what it depends on, when only its build knows.

        Raises:
            RepoError, MachineError: as for :meth:`from_index`.
        """


class BuilderFactory(Protocol):
    """Makes the builder for one lock."""

    def __call__(
        self,
        system: Callable[[], Lock],
        *,
        resolver: Resolver,
        exclude_newer: str | None,
        previous: Sequence[Target],
        forget: Callable[[str], bool],
    ) -> WheelBuilder:
        """A builder.

        Parameters:
            system: gives the base that is being locked, with what ``apt.txt`` adds.
            resolver: finds what builds need; ``exclude_newer`` as for it.
            previous: what was locked before, whose commits are kept but for packages to ``forget``.
        """


def read_metadata(data: bytes, filename: str) -> Metadata:
    """Read core metadata (``METADATA``, ``PKG-INFO``).

    Parameters:
        filename: what it is of, for messages.

    Raises:
        RepoError: a field that is needed is missing or not valid.
    """
    message = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(data, headersonly=True)
    try:
        name, version = str(message["Name"] or ""), str(Version(str(message["Version"])))
        if not _NAME.fullmatch(name):
            raise ValueError(f"the name {name!r} is not valid")
        requires_python = message["Requires-Python"]
        if requires_python is not None:
            requires_python = str(SpecifierSet(str(requires_python)))
        texts = message.get_all("Requires-Dist", ())
        if len(texts) > _MOST_REQUIRES:
            raise ValueError("it depends on too much")
        requires = [Requirement(str(text)) for text in texts]
        for requirement in requires:
            if requirement.url is not None:
                raise ValueError(
                    f"it depends on a URL ({requirement.name}), which is followed for no package"
                )
    except (InvalidRequirement, InvalidSpecifier, InvalidVersion, ValueError, RecursionError) as error:
        raise RepoError(
            f"the metadata of {quote(filename)} cannot be used: {clean(str(error))}",
            code="bad-metadata",
            remedy="report it to the project's maintainers",
        ) from error
    extras = {canonicalize_name(str(extra)) for extra in message.get_all("Provides-Extra", ())}
    return Metadata(
        canonicalize_name(name),
        version,
        tuple(map(str, requires)),
        requires_python,
        tuple(sorted(extras)),
    )
