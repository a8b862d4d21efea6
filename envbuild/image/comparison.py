"""What differs between two layers that should be the same, file by file.

Layers are read as streams and nothing of them is unpacked, so a layer may come from anywhere.
"""

from __future__ import annotations

import hashlib
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Literal

from envbuild.image.blobs import layer_chunks
from envbuild.image.model import Layer
from envbuild.image.streams import as_file
from envbuild.source import printable
from envbuild.store import Store

__all__ = [
    "Aspect",
    "Content",
    "Difference",
    "differences",
    "file_content",
    "layer_members",
    "layer_paths",
]

# A layer's uncompressed tar, in chunks; called for every reading of it. Raises ValueError when it is damaged.
Content = Callable[[], Iterable[bytes]]
What = Literal["missing", "extra", "kind", "content", "target", "mode", "owner", "time", "attributes"]

_CHUNK = 1 << 20
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "FIFO",
}
# These are in every archive that has a long name in it, and repeat what is compared anyway.
_REPEATED_ATTRIBUTES = frozenset({"path", "linkpath", "size"})
# Entries that only describe the next one; their content is held in memory.
_DESCRIPTIONS = frozenset(
    {
        tarfile.GNUTYPE_LONGLINK,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.XHDTYPE,
    }
)
_LONGEST_DESCRIPTION = 1 << 20


@dataclass(frozen=True, slots=True)
class Aspect:
    """One way in which a file differs, and what it is in each layer (for people, may be empty)."""

    what: What
    first: str = ""
    second: str = ""

    def __str__(self) -> str:
        if self.what in ("content", "missing", "extra"):
            return self.what
        return f"{self.what} {self.second or 'none'} instead of {self.first or 'none'}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that differs: its name as it is in the tar, and how.

    ``missing`` is one that only the first layer has, ``extra`` one that only the second has.
    """

    name: str
    aspects: tuple[Aspect, ...]

    @property
    def path(self) -> str:
        """The name for people."""
        return printable(self.name.encode("utf-8", "surrogateescape"))

    @property
    def whats(self) -> tuple[What, ...]:
        """The kinds of its aspects."""
        return tuple(aspect.what for aspect in self.aspects)


def differences(first: Content, second: Content) -> tuple[Difference, ...]:
    """The files that differ between two layers, by name.

    Of a name that a layer has several times all are compared. Empty for layers whose tars differ only in what
    nobody sees who unpacks them: order, padding, names of users.

    Raises:
        ValueError: a layer is damaged or no tar file; says what is wrong with it.
        MachineError: a blob of the store is damaged.
    """
    one, two = _members(first), _members(second)
    found = []
    for name in sorted(one.keys() | two.keys()):
        aspects = _aspects(one.get(name, ()), two.get(name, ()))
        if aspects:
            found.append(Difference(name, aspects))
    return tuple(found)


def layer_paths(store: Store, layer: Layer) -> list[str]:
    """The paths of a layer of the store, as they are stored; directories without a slash.

    Raises:
        MachineError: its blob is damaged.
    """
    return sorted(_members(lambda: layer_chunks(store, layer)))


def file_content(layer: Content, name: str, limit: int) -> bytes | None:
    """The first ``limit`` bytes of a regular file in a layer, None when it has no such file.

    Raises:
        ValueError: the layer is damaged or no tar file.
    """
    found = None
    for member, content in layer_members(layer):
        if member.name == name and content is not None:
            found = content.read(limit)  # the last of several is the one that counts
    return found


@dataclass(frozen=True, slots=True)
class _Member:
    kind: str
    mode: int
    owner: tuple[int, int]
    time: float
    target: str
    size: int
    digest: str
    attributes: tuple[tuple[str, str], ...]


def _aspects(one: tuple[_Member, ...], two: tuple[_Member, ...]) -> tuple[Aspect, ...]:
    if not two:
        return (Aspect("missing"),)
    if not one:
        return (Aspect("extra"),)
    if len(one) != len(two):
        return (Aspect("kind", _times(one), _times(two)),)
    return tuple(dict.fromkeys(aspect for pair in zip(one, two, strict=True) for aspect in _differing(*pair)))


def _times(members: tuple[_Member, ...]) -> str:
    return members[0].kind if len(members) == 1 else f"{len(members)} entries"


def _differing(one: _Member, two: _Member) -> Iterator[Aspect]:
    if one.kind != two.kind:
        yield Aspect("kind", one.kind, two.kind)
        return
    if one.target != two.target:
        yield Aspect("target", one.target, two.target)
    if one.digest != two.digest:
        yield Aspect("content", f"{one.size} bytes", f"{two.size} bytes")
    if one.mode != two.mode:
        yield Aspect("mode", f"{one.mode:04o}", f"{two.mode:04o}")
    if one.owner != two.owner:
        yield Aspect("owner", *("{}:{}".format(*member.owner) for member in (one, two)))
    if one.time != two.time:
        yield Aspect("time", _time(one.time), _time(two.time))
    if one.attributes != two.attributes:
        yield Aspect("attributes", *(_attributes(member.attributes) for member in (one, two)))


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _attributes(attributes: tuple[tuple[str, str], ...]) -> str:
    return printable(" ".join(f"{name}={value}" for name, value in attributes))


def _members(layer: Content) -> dict[str, tuple[_Member, ...]]:
    found: dict[str, tuple[_Member, ...]] = {}
    for member, content in layer_members(layer):
        digest = hashlib.sha256()
        while content is not None and (chunk := content.read(_CHUNK)):
            digest.update(chunk)
        name = member.name.removesuffix("/")
        attributes = {
            key: text for key, text in member.pax_headers.items() if key not in _REPEATED_ATTRIBUTES
        }
        if member.isdev():
            attributes["device"] = f"{member.devmajor}:{member.devminor}"
        read = _Member(
            kind=_KINDS.get(member.type, f"entry of type {member.type!r}"),
            mode=stat.S_IMODE(member.mode),
            owner=(member.uid, member.gid),
            time=member.mtime,
            target=member.linkname if member.issym() or member.islnk() else "",
            size=member.size,
            digest=digest.hexdigest(),
            attributes=tuple(sorted(attributes.items())),
        )
        found[name] = (*found.get(name, ()), read)
    return found


def layer_members(layer: Content) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """The members, each with its content if it is a regular file. Content must be read before the next.

    Raises:
        ValueError: the layer is damaged or no tar file.
    """
    stream = as_file(layer())
    try:
        with tarfile.open(
            fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape", tarinfo=_TarInfo
        ) as archive:
            for member in archive:
                yield member, archive.extractfile(member) if member.isreg() else None
        while stream.read(_CHUNK):  # to the end, where the digest is checked
            pass
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"not a tar file: {error}") from error


class _TarInfo(tarfile.TarInfo):
    """Refuses headers for which memory would be needed without limit."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _TarInfo:
        made = super().frombuf(buf, encoding, errors)
        if made.type in _DESCRIPTIONS and made.size > _LONGEST_DESCRIPTION:
            raise tarfile.ReadError("the name or the attributes of an entry are too long")
        return made
