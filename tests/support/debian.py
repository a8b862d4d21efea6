"""Debian packages and a signed archive of them on 127.0.0.1, made in memory.

::

    with DebianArchive(tmp_path) as archive:
        archive.add("trixie", make_deb("hello", "1.0", files={"usr/bin/hello": b"#!/bin/sh\\n"}))
        find_mirrors({"debian": archive.url, "debian-security": archive.url}, at=...)
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import pysequoia

__all__ = ["DebianArchive", "PackageFile", "make_ar", "make_deb", "make_tar"]


def make_tar(members: Iterable[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An uncompressed tar with these members, as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            if isinstance(member, tuple):
                info, data = member
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            else:
                archive.addfile(member)
    return buffer.getvalue()


def make_ar(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An ``ar`` archive."""
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts.append(b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 0, 0, 0, b"100644", len(data)))
        parts.append(data + b"\n" * (len(data) % 2))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A package in memory: its control fields and its bytes."""

    control: dict[str, str]
    data: bytes

    @property
    def filename(self) -> str:
        """``name_version_arch.deb``."""
        return "{Package}_{Version}_{Architecture}.deb".format(**self.control)

    @property
    def sha256(self) -> str:
        """Lower-case hex of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


def make_deb(
    name: str,
    version: str = "1.0",
    *,
    arch: str = "amd64",
    files: Mapping[str, bytes] | None = None,
    executable: Iterable[str] = (),
    directories: Iterable[str] = (),
    links: Mapping[str, str] | None = None,
    hardlinks: Mapping[str, str] | None = None,
    extra: Iterable[tarfile.TarInfo] = (),
    control_files: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    compress: tuple[str, Callable[[bytes], bytes]] = (".xz", lzma.compress),
) -> PackageFile:
    """Build a package.

    Parameters:
        files: path (without ``./``) to content.
        executable: those of ``files`` that get mode 04755, so that a lost set-uid bit shows.
        extra: more members, as they are.
        control_files: further files beside ``control`` (``postinst``, ``triggers``).
        fields: further control fields (``Depends``).
        compress: ending and function for both inner archives.
    """
    control = {"Package": name, "Version": version, "Architecture": arch, "Description": "a test package"}
    control |= fields or {}
    ending, squeeze = compress
    text = "".join(f"{key}: {value}\n" for key, value in control.items())
    inner = {"control": text, **(control_files or {})}
    control_tar = make_tar((tarfile.TarInfo(f"./{path}"), data.encode()) for path, data in inner.items())
    members: list[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]] = []
    for path in directories:
        info = tarfile.TarInfo(f"./{path}")
        info.type, info.mode = tarfile.DIRTYPE, 0o2775
        members.append(info)
    for path, data in (files or {}).items():
        info = tarfile.TarInfo(f"./{path}")
        info.mode = 0o4755 if path in executable else 0o640
        members.append((info, data))
    for kind, table in ((tarfile.SYMTYPE, links), (tarfile.LNKTYPE, hardlinks)):
        for path, target in (table or {}).items():
            info = tarfile.TarInfo(f"./{path}")
            info.type, info.linkname = kind, target
            members.append(info)
    data_tar = make_tar([*members, *extra])
    data = make_ar(
        [
            ("debian-binary", b"2.0\n"),
            (f"control.tar{ending}", squeeze(control_tar)),
            (f"data.tar{ending}", squeeze(data_tar)),
        ]
    )
    return PackageFile(control, data)


class DebianArchive:
    """A mirror with its own signing key. Every suite exists, with its ``-updates`` and ``-security``.

    ``requests`` are the paths asked for so far. ``date`` is what releases say; change it and call
    :meth:`publish` to make an older or a newer state.
    """

    def __init__(self, folder: Path, *, suites: Iterable[str] = ("trixie",)) -> None:
        self.folder = folder
        self.date = datetime(2026, 11, 1, tzinfo=UTC)
        self.valid_for = timedelta(days=36500)
        self.by_hash = True
        self.requests: list[str] = []
        self._key = pysequoia.Tsk.generate("archive <archive@example.org>")
        self._packages: dict[str, list[PackageFile]] = {
            f"{suite}{part}": [] for suite in suites for part in ("", "-updates", "-security")
        }
        self.keyring = folder / "keyring.gpg"
        self.keyring.write_bytes(bytes(self._key.extract_certificate()))

    def add(self, suite: str, *packages: PackageFile) -> None:
        """Offer ``packages`` in ``suite`` (after :meth:`publish`)."""
        self._packages[suite].extend(packages)
        for package in packages:
            place = self.folder / "pool" / "main" / package.filename
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(package.data)

    def publish(self, *, architectures: Iterable[str] = ("amd64", "arm64")) -> None:
        """Write and sign the indexes."""
        for suite, packages in self._packages.items():
            place = self.folder / "dists" / suite
            sums = []
            for arch in architectures:
                index = place / "main" / f"binary-{arch}"
                text = "\n".join(
                    self._paragraph(package)
                    for package in packages
                    if package.control["Architecture"] in (arch, "all")
                ).encode()
                packed = lzma.compress(text)
                (index / "by-hash" / "SHA256").mkdir(parents=True, exist_ok=True)
                (index / "Packages.xz").write_bytes(packed)
                if self.by_hash:
                    (index / "by-hash" / "SHA256" / hashlib.sha256(packed).hexdigest()).write_bytes(packed)
                for name, data in (("Packages", text), ("Packages.xz", packed)):
                    digest = hashlib.sha256(data).hexdigest()
                    sums.append(f" {digest} {len(data)} main/binary-{arch}/{name}\n")
            (place / "InRelease").write_bytes(self.sign(self.release_text(suite, sums)))

    def release_text(self, suite: str, sums: Iterable[str] = ()) -> str:
        """A Release file."""
        return (
            f"Origin: Test\nSuite: oldest{suite}\nCodename: {suite}\n"
            f"Date: {self.date:%a, %d %b %Y %H:%M:%S} UTC\n"
            f"Valid-Until: {self.date + self.valid_for:%a, %d %b %Y %H:%M:%S} UTC\n"
            f"Acquire-By-Hash: {'yes' if self.by_hash else 'no'}\nSHA256:\n{''.join(sums)}"
        )

    def sign(self, text: str) -> bytes:
        """``text`` clear-signed with the archive's key."""
        mode = pysequoia.SignatureMode.CLEAR
        return bytes(pysequoia.sign(self._key.signer(), text.encode(), mode=mode))

    def _paragraph(self, package: PackageFile) -> str:
        fields = "".join(f"{key}: {value}\n" for key, value in package.control.items())
        return (
            f"{fields}Filename: pool/main/{package.filename}\n"
            f"Size: {len(package.data)}\nSHA256: {package.sha256}\n"
        )

    def __enter__(self) -> DebianArchive:
        archive = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                archive.requests.append(self.path)

        handler = functools.partial(Handler, directory=str(self.folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
