"""Debian's package indexes: fetched, checked against Debian's signing keys, and read.

The chain of trust is apt's: a signed ``InRelease`` names each index by sha256, an index names each package
by sha256 (https://wiki.debian.org/DebianRepository/Format).
"""

from __future__ import annotations

import hashlib
import lzma
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

import httpx
import pysequoia

from envbuild.base.mirrors import Mirrors
from envbuild.base.recipe import debian_keyring
from envbuild.errors import RemoteError
from envbuild.fetch import http_client
from envbuild.progress import Reporter
from envbuild.source import redact
from envbuild.store import Store
from envbuild.store.store import file_digest

__all__ = ["Archive", "Index", "Release", "Source", "open_archive", "paragraphs", "read_release", "suites"]

Source = Literal["debian", "debian-security"]

_RELEASE_LIMIT = 4_000_000
_INDEX_LIMIT = 400_000_000  # unpacked; Debian's largest is an eighth of this
_BLOCK = 1 << 20
_PAUSES = (0.5, 2.0)  # seconds before trying again


@dataclass(frozen=True, slots=True)
class Release:
    """A verified ``Release`` file: its fields, and size and sha256 of each index by path."""

    source: Source
    suite: str
    date: datetime
    valid_until: datetime | None
    by_hash: bool
    files: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Index:
    """A verified ``Packages.xz`` on disk. ``size`` is what it unpacks to, in bytes."""

    source: Source
    suite: str
    path: Path
    sha256: str
    size: int


def suites(codename: str) -> tuple[tuple[Source, str], ...]:
    """The suites a release is made of, and the source each one is fetched from.

    >>> suites("trixie")
    (('debian', 'trixie'), ('debian', 'trixie-updates'), ('debian-security', 'trixie-security'))
    """
    return (
        ("debian", codename),
        ("debian", f"{codename}-updates"),
        ("debian-security", f"{codename}-security"),
    )


class Archive:
    """Debian's archive, through mirrors that need not be trusted.

    Parameters:
        client: whose proxies and certificates are used.
        keyring: file with the OpenPGP certificates that may sign.
        now: the current time, in UTC.
    """

    def __init__(
        self,
        *,
        client: httpx.Client,
        mirrors: Mirrors,
        keyring: Path,
        store: Store,
        reporter: Reporter,
        now: datetime,
    ) -> None:
        self._client = client
        self._mirrors = mirrors
        self._keyring = keyring
        self._store = store
        self._reporter = reporter
        self._now = now

    def release(self, source: Source, suite: str) -> Release:
        """The newest verified ``InRelease`` of ``suite``.

        A mirror that shows an older state than one seen before is either behind or being used to hold back
        security updates. As in apt, the newer one keeps being used, and it says until when it may be.

        Raises:
            RemoteError: not reachable, not signed by Debian, for another suite, or past its ``Valid-Until``.
        """
        signed = self._first([f"dists/{suite}/InRelease"], source, _RELEASE_LIMIT)
        release = read_release(signed, source, suite, keyring=self._keyring)
        if self._mirrors.at is None:
            release = self._newer(release, signed)
        if release.valid_until is not None and release.valid_until < (self._mirrors.at or self._now):
            raise RemoteError(
                f"the index of Debian `{suite}` expired on {release.valid_until:%Y-%m-%d %H:%M} UTC",
                code="mirror-expired",
                remedy="check this machine's clock, or use another mirror"
                f" (configuration key `{source}-mirror`)",
            )
        return release

    def _newer(self, release: Release, signed: bytes) -> Release:
        """``release`` (kept for next time), or a newer one that an earlier answer had."""
        kept = self._store.debian / f"{release.suite}.InRelease"
        try:
            seen = read_release(kept.read_bytes(), release.source, release.suite, keyring=self._keyring)
        except (FileNotFoundError, RemoteError):
            seen = None
        if seen is not None and seen.date > release.date:
            self._reporter.warn(
                f"the Debian mirror is behind: its `{release.suite}` is of {release.date:%Y-%m-%d %H:%M}; "
                f"an earlier answer, of {seen.date:%Y-%m-%d %H:%M}, is used instead"
            )
            return seen
        self._store.write(kept, signed)
        return release

    def index(self, release: Release, architecture: str) -> Index:
        """The verified index of ``main`` for ``architecture``, from the cache when it is the same as before.

        Raises:
            RemoteError: the release has none, or no mirror has the one the release names.
        """
        plain = f"main/binary-{architecture}/Packages"
        packed = f"{plain}.xz"
        if packed not in release.files or plain not in release.files:
            raise RemoteError(
                f"Debian `{release.suite}` has no packages for {architecture}", code="mirror-no-architecture"
            )
        sha256, size = release.files[packed]
        unpacked = release.files[plain][1]
        if not re.fullmatch("[0-9a-f]{64}", sha256) or max(size, unpacked) > _INDEX_LIMIT:
            raise RemoteError(
                f"the index of Debian `{release.suite}` cannot be used", code="mirror-bad-index"
            )
        path = self._store.debian / f"{sha256}.xz"
        if not path.exists() or file_digest(path) != sha256:
            paths = [f"dists/{release.suite}/{packed}"]
            if release.by_hash:
                # First, because the plain name may already be the next state of the archive.
                paths.insert(0, f"dists/{release.suite}/main/binary-{architecture}/by-hash/SHA256/{sha256}")
            self._store.write(path, self._first(paths, release.source, size, sha256))
        return Index(release.source, release.suite, path, sha256, unpacked)

    def _first(self, paths: Sequence[str], source: Source, limit: int, sha256: str | None = None) -> bytes:
        """The first of ``paths`` that a mirror has (and that has the right hash); else the first failure."""
        failures = []
        for address in self._mirrors.addresses(source):
            for path in paths:
                try:
                    return self._get(f"{address}/{path}", limit, sha256)
                except RemoteError as error:
                    failures.append(error)
        raise failures[0]

    def _get(self, url: str, limit: int, sha256: str | None) -> bytes:
        """The body of ``url``, at most ``limit`` bytes; a connection that breaks is tried again."""
        for pause in (*_PAUSES, None):
            try:
                body = self._body(url, limit)
                break
            except httpx.TransportError as error:
                if pause is None:
                    raise _unreachable(url, str(error) or type(error).__name__) from error
                time.sleep(pause)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _unreachable(url, str(error) or type(error).__name__) from error
        if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
            raise RemoteError(
                f"{redact(url)} is not the file that Debian's signed index names",
                code="mirror-hash-mismatch",
                remedy="try again in some minutes, the mirror may be changing; or use another mirror",
            )
        return body

    def _body(self, url: str, limit: int) -> bytes:
        body = bytearray()
        with self._client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise _unreachable(url, f"HTTP {response.status_code} {response.reason_phrase}")
            for block in response.iter_raw():
                body += block
                if len(body) > limit:
                    raise _unreachable(url, f"more than {limit} bytes")
        return bytes(body)


@contextmanager
def open_archive(*, mirrors: Mirrors, store: Store, reporter: Reporter) -> Iterator[Archive]:
    """The archive behind ``mirrors``, checked against the keys that envbuild ships."""
    with http_client() as client:
        yield Archive(
            client=client,
            mirrors=mirrors,
            keyring=debian_keyring(),
            store=store,
            reporter=reporter,
            now=datetime.now(UTC),
        )


def _unreachable(url: str, reason: str) -> RemoteError:
    return RemoteError(
        f"the Debian mirror does not give {redact(url)}: {redact(reason)}",
        code="mirror-unreachable",
        remedy="check the network, or name another mirror"
        " (configuration keys `debian-mirror`, `debian-security-mirror`)",
    )


def read_release(signed: bytes, source: Source, suite: str, *, keyring: Path) -> Release:
    """Verify a clear-signed ``InRelease`` and read it.

    Only the text the signature covers is looked at. One good signature by a key of ``keyring`` is enough:
    a release is signed with the keys of several years.

    Raises:
        RemoteError: no good signature by a key of ``keyring``, or not a release file of ``suite``.
    """
    certificates = pysequoia.Cert.split_file(str(keyring))
    try:
        text = (pysequoia.verify(bytes=signed, store=lambda _: certificates).bytes or b"").decode()
    except Exception as error:  # the library has no exception type of its own
        raise RemoteError(
            f"the index of Debian `{suite}` has no good signature by a Debian archive key",
            code="mirror-bad-signature",
            remedy="a proxy may have changed it; or use another mirror (configuration key `debian-mirror`)",
            detail=str(error),
        ) from error
    fields, files = _release_fields(text)
    if suite not in (fields.get("Codename"), fields.get("Suite")):
        raise RemoteError(
            f"the mirror answered with the index of `{fields.get('Codename')}` when asked for `{suite}`",
            code="mirror-wrong-suite",
        )
    try:
        return Release(
            source=source,
            suite=suite,
            date=_date(fields["Date"]),
            valid_until=_date(fields["Valid-Until"]) if "Valid-Until" in fields else None,
            by_hash=fields.get("Acquire-By-Hash") == "yes",
            files=files,
        )
    except (KeyError, ValueError) as error:
        raise RemoteError(
            f"the index of Debian `{suite}` has no readable date", code="mirror-bad-index"
        ) from error


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text.replace("UTC", "+0000"))
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _release_fields(text: str) -> tuple[dict[str, str], dict[str, tuple[str, int]]]:
    """The one-line fields, and ``path -> (sha256, size)`` from the ``SHA256`` field."""
    fields: dict[str, str] = {}
    files: dict[str, tuple[str, int]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith(" "):
            words = line.split()
            if name == "SHA256" and len(words) == 3 and words[1].isdecimal():
                files[words[2]] = words[0], int(words[1])
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields, files


def paragraphs(index: Index) -> Iterator[bytes]:
    """The paragraphs of a packages index, one per package, without holding the index in memory.

    Raises:
        RemoteError: it unpacks to more than the signed release says.
    """
    left, total = b"", 0
    with lzma.open(index.path) as stream:
        while block := stream.read(_BLOCK):
            total += len(block)
            if total > index.size:
                raise RemoteError(
                    f"the packages index of Debian `{index.suite}` is larger than announced",
                    code="mirror-bad-index",
                )
            *whole, left = (left + block).split(b"\n\n")
            yield from whole
    if left.strip():
        yield left.rstrip(b"\n")
