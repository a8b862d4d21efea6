"""One conda requirement, a MatchSpec: ``[channel::]name [version [build]]``, in any of its spellings.

https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/pkg-specs.html#package-match-specifications
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from envbuild.spec.channel import read_channel
from envbuild.spec.python_version import is_specifier

__all__ = ["MatchSpec", "name_of", "parse_match_spec", "python_specifier"]

_LONGEST = 500
_SPEC = re.compile(
    r"(?:(?P<channel>[^\s\[\]'\"]+?)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(?P<rest>.*)", re.ASCII
)
_OPTION = re.compile(r"\s*([a-z_]+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^'\",\s]+))\s*(?:,|$)")
_ONE_VERSION = r"\(?[<>=!~]{0,2}[A-Za-z0-9*][A-Za-z0-9.*+!_-]*\)?"
_VERSION = re.compile(rf"{_ONE_VERSION}(?:[,|]{_ONE_VERSION})*")
_BUILD = re.compile(r"[A-Za-z0-9_.*+]+")
_PIECE = re.compile(r"(>=|<=|==|!=|~=|>|<|=)?(\d[0-9A-Za-z.]*?)(\.?\*)?")


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """``name`` is lower case; ``version`` and ``build`` are "" for any; ``channel`` is None for any."""

    name: str
    version: str = ""
    build: str = ""
    channel: str | None = None

    @property
    def text(self) -> str:
        """The one form that conda-lock and rattler read alike."""
        words = [self.name, self.version or ("*" if self.build else ""), self.build]
        return (f"{self.channel}::" if self.channel else "") + " ".join(word for word in words if word)


def parse_match_spec(text: str) -> MatchSpec | None:
    """``text`` as a MatchSpec; None when it is not one, or selects by more than version, build and channel.

    >>> [parse_match_spec(text).text for text in ("Python=3.12", "lab::numpy >=1, <2", "r-base==4.3=h1_0")]
    ['python 3.12.*', 'lab::numpy >=1,<2', 'r-base ==4.3 h1_0']
    """
    match = _SPEC.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        return None
    channel, rest = match["channel"], match["rest"]
    if rest.startswith("["):
        found = _options(rest)
        if found is None:
            return None
        channel = channel or found.get("channel")
        version, build = found.get("version", ""), found.get("build", "")
        version = _tight(version)
    else:
        split = _version_and_build(rest)
        if split is None:
            return None
        version, build = split
    version = _canonical(version)
    if (version and not _VERSION.fullmatch(version)) or (build and not _BUILD.fullmatch(build)):
        return None
    if channel is not None and (channel := read_channel(channel)) is None:
        return None
    return MatchSpec(
        match["name"].lower(), "" if version == "*" else version, build.strip("*") and build, channel
    )


def name_of(text: str) -> str:
    """The package's name in a MatchSpec as :attr:`MatchSpec.text` writes it.

    >>> name_of("https://repo.example.org/lab::numpy >=1")
    'numpy'
    """
    return text.split(" ")[0].rpartition("::")[2]


def _options(rest: str) -> dict[str, str] | None:
    """The values of ``[version='>=1', build='*_0']``."""
    if not rest.endswith("]"):
        return None
    values: dict[str, str] = {}
    position, inside = 0, rest[1:-1]
    while position < len(inside):
        match = _OPTION.match(inside, position)
        if match is None or match[1] not in ("version", "build", "channel") or match[1] in values:
            return None
        values[match[1]] = next(group for group in match.groups()[1:] if group is not None)
        position = match.end()
    return values


def _tight(version: str) -> str:
    return re.sub(r"\s*([,|])\s*", r"\1", re.sub(r"([<>=!~])\s+", r"\1", version.strip()))


def _version_and_build(rest: str) -> tuple[str, str] | None:
    words = _tight(rest).split()
    if len(words) > 2:
        return None
    version, build = (*words, "", "")[:2]
    # name=version=build: then the version is meant exactly.
    old = re.fullmatch(r"={1,2}([^=<>!~|,]+)=([^=|,]+)", version)
    if old and not build:
        return old[1] if old[1] == "*" else f"=={old[1]}", old[2]
    return version, build


def _canonical(version: str) -> str:
    """``=1.2`` as ``1.2.*``; a version alone, which means exactly that one, as ``==1.2``."""
    if re.fullmatch(r"=[^=<>!~,|]+", version):
        return version[1:] if version.endswith("*") else f"{version[1:]}.*"
    if re.fullmatch(r"[^=<>!~,|*]+", version):
        return f"=={version}"
    return version


def python_specifier(version: str) -> str | None:
    """A conda version as a PEP 440 specifier; None when it means any, or cannot be said that way.

    >>> python_specifier("3.12.*"), python_specifier(">=3.10,<3.13"), python_specifier("3.10|3.11")
    ('==3.12.*', '>=3.10,<3.13', None)
    """
    pieces = []
    for piece in version.split(","):
        match = _PIECE.fullmatch(piece)
        if match is None:
            return None
        operator, number, star = match[1] or "==", match[2], match[3]
        if operator == "=":
            operator, star = "==", ".*"
        pieces.append(f"{operator}{number}{'.*' if star and operator in ('==', '!=') else ''}")
    specifier = ",".join(pieces)
    return specifier if is_specifier(specifier) else None
