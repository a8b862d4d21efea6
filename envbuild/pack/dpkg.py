"""dpkg's database (``/var/lib/dpkg``) for packages that were unpacked without dpkg.

Scanners read it to know what is in an image, and an ``apt`` that is added later can go on from it: the
scripts and triggers of what is there are kept for when such a package is upgraded or triggered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from envbuild.pack import tar
from envbuild.pack.tar import Entry

__all__ = ["Installed", "dpkg_entries"]

_DATABASE = "var/lib/dpkg"
_SCRIPTS = ("config", "postinst", "postrm", "preinst", "prerm")
_KEPT_AS_THEY_ARE = ("conffiles", "templates", "triggers")
# dpkg-trigger(1): how a package says which triggers it wants.
_INTERESTS = {"interest": "", "interest-await": "", "interest-noawait": "/noawait"}


@dataclass(frozen=True, slots=True)
class Installed:
    """What the database says of a package.

    ``control`` is its control file, ``files`` what else its control tar had, ``paths`` its files and
    directories that are in the image, as the package names them (relative), ``digests`` the MD5 of the
    files among them, in hex.
    """

    name: str
    arch: str
    control: bytes
    files: Mapping[str, bytes]
    paths: Sequence[bytes]
    digests: Mapping[bytes, str]
    multi_arch_same: bool

    @property
    def file_name(self) -> str:
        """What its files in the database are called, without the ending."""
        return f"{self.name}:{self.arch}" if self.multi_arch_same else self.name


def md5(data: bytes) -> str:
    """The digest dpkg uses for its own bookkeeping (not for security), in hex."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def dpkg_entries(packages: Sequence[Installed]) -> Iterator[Entry]:
    """The database's files for ``packages``, which must be sorted by name."""
    yield tar.file(f"{_DATABASE}/status", b"\n".join(map(_stanza, packages)))
    yield tar.file(f"{_DATABASE}/available", b"")
    yield tar.file(f"{_DATABASE}/info/format", b"1\n")
    for package in packages:
        yield from _info(package)
    yield from _triggers(packages)


def _stanza(package: Installed) -> bytes:
    """The package's paragraph in ``status``: its control file, that it is installed, and its conffiles."""
    first, _, rest = package.control.strip(b"\n").partition(b"\n")
    conffiles = [
        b" /%s %s\n" % (path, package.digests[path].encode())
        for path in map(_conffile, package.files.get("conffiles", b"").splitlines())
        if path in package.digests
    ]
    extra = b"Conffiles:\n" + b"".join(conffiles) if conffiles else b""
    return first + b"\nStatus: install ok installed\n" + rest + b"\n" + extra


def _conffile(line: bytes) -> bytes:
    """The path of a line of ``conffiles`` (deb-conffiles(5)), relative; a flag may precede it."""
    return line.split()[-1].removeprefix(b"/") if line.strip() else b""


def _info(package: Installed) -> Iterator[Entry]:
    prefix = f"{_DATABASE}/info/{package.file_name}"
    listed = [b"/.", *(b"/" + path for path in package.paths)]
    yield tar.file(f"{prefix}.list", b"".join(path + b"\n" for path in listed))
    sums = [b"%s  %s\n" % (digest.encode(), path) for path, digest in sorted(package.digests.items())]
    if sums:
        yield tar.file(f"{prefix}.md5sums", b"".join(sums))
    for name in _KEPT_AS_THEY_ARE:
        if name in package.files:
            yield tar.file(f"{prefix}.{name}", package.files[name])
    for name in _SCRIPTS:
        if name in package.files:
            yield tar.file(f"{prefix}.{name}", package.files[name], executable=True)


def _triggers(packages: Sequence[Installed]) -> Iterator[Entry]:
    """Who wants which trigger: one file per named trigger, and one for all triggers on paths."""
    named: dict[str, list[str]] = {}
    paths: list[str] = []
    for package in packages:
        for line in package.files.get("triggers", b"").decode("utf-8", "replace").splitlines():
            words = line.partition("#")[0].split()
            if len(words) != 2 or words[0] not in _INTERESTS:
                continue
            wants = package.file_name + _INTERESTS[words[0]]
            if words[1].startswith("/"):
                paths.append(f"{words[1]} {wants}\n")
            elif "/" not in words[1]:
                named.setdefault(words[1], []).append(f"{wants}\n")
    yield tar.file(f"{_DATABASE}/triggers/File", "".join(paths).encode())
    yield tar.file(f"{_DATABASE}/triggers/Unincorp", b"")
    for name, lines in sorted(named.items()):
        yield tar.file(f"{_DATABASE}/triggers/{name}", "".join(lines).encode())
