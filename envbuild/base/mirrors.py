"""Where the Debian archive is: configuration, the host's own apt sources, or Debian's snapshot archive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from envbuild.errors import UsageError

__all__ = ["Mirrors", "find_mirrors", "snapshot_mirrors"]

SNAPSHOT_ARCHIVE = "https://snapshot.debian.org/archive"

_CODENAMES = "bullseye|bookworm|trixie|forky|sid|stable|oldstable|testing|unstable"
_DEBIAN_SUITE = re.compile(rf"(?:{_CODENAMES})(?:-updates)?")
_SECURITY_SUITE = re.compile(rf"(?:{_CODENAMES})(?:-security|/updates)")
_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)")


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Addresses of the sources ``debian`` and ``debian-security``, without a trailing slash, best first.

    ``at`` is the moment an archive of the past shows; its indexes are judged as of then.
    """

    debian: tuple[str, ...]
    security: tuple[str, ...]
    at: datetime | None = None

    def addresses(self, source: str) -> tuple[str, ...]:
        """The addresses of ``debian`` or ``debian-security``; raises :class:`KeyError` for any other."""
        return {"debian": self.debian, "debian-security": self.security}[source]


def snapshot_mirrors(at: datetime) -> Mirrors:
    """Debian's archive as it was at ``at`` (which must be aware of its time zone)."""
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Mirrors(
        debian=(f"{SNAPSHOT_ARCHIVE}/debian/{stamp}",),
        security=(f"{SNAPSHOT_ARCHIVE}/debian-security/{stamp}",),
        at=at,
    )


def find_mirrors(
    configured: Mapping[str, str] | None = None, *, at: datetime, apt: Path = Path("/etc/apt")
) -> Mirrors:
    """Where to fetch Debian packages from, on this machine.

    A mirror carries every suite, so the host's own works for bases of another release. A source that
    neither ``configured`` nor the host knows is read from the snapshot archive.

    Parameters:
        configured: addresses by source name (``debian``, ``debian-security``) from configuration.
        at: the moment whose state of the snapshot archive is used, when that is used.
        apt: the directory with the host's apt sources.

    Raises:
        UsageError: a configured address is not an http(s) URL.
    """
    given = configured or {}
    for name, address in given.items():
        if name in ("debian", "debian-security") and not _is_http(address):
            raise UsageError(
                f"the address configured for the source `{name}` is not an http or https URL",
                code="bad-mirror-address",
            )
    host_debian, host_security = _host_mirrors(apt)
    debian = (given["debian"],) if "debian" in given else host_debian
    security = (given["debian-security"],) if "debian-security" in given else host_security
    past = snapshot_mirrors(at)
    return Mirrors(
        debian=_tidy(debian) or past.debian,
        security=_tidy(security) or past.security,
        at=None if debian and security else at,
    )


def _is_http(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _tidy(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address.rstrip("/") for address in addresses))


def _host_mirrors(apt: Path) -> tuple[list[str], list[str]]:
    """The host's mirrors of Debian's ``main``, in apt's own order: ``(debian, security)``."""
    debian: list[str] = []
    security: list[str] = []
    for address, suite in _apt_entries(apt):
        if not _is_http(address):
            continue
        if _DEBIAN_SUITE.fullmatch(suite):
            debian.append(address)
        elif _SECURITY_SUITE.fullmatch(suite):
            security.append(address)
    return debian, security


def _apt_entries(apt: Path) -> Iterator[tuple[str, str]]:
    """``(address, suite)`` of every enabled binary entry with the component ``main`` (sources.list(5))."""
    parts = apt / "sources.list.d"
    files = [apt / "sources.list"]
    files += sorted(path for path in parts.glob("*") if path.suffix in (".list", ".sources"))
    for path in files:
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue  # not there, or not for us to read
        entries = _deb822_entries(text) if path.suffix == ".sources" else _one_line_entries(text)
        for address, suite in entries:
            for real in _mirror_list(address):
                yield real, suite


def _one_line_entries(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match and "main" in match[3].split():
            yield match[1], match[2].rstrip("/")


def _deb822_entries(text: str) -> Iterator[tuple[str, str]]:
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            else:
                key, _, value = line.partition(":")
                name = key.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or "main" not in fields.get("components", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without", "disable"):
            continue
        for address in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield address, suite.rstrip("/")


def _mirror_list(address: str) -> list[str]:
    """The addresses in the list a ``mirror+file:`` address names (apt-transport-mirror(1)), or itself."""
    prefix = "mirror+file:"
    if not address.startswith(prefix):
        return [address]
    try:
        text = Path("/" + address.removeprefix(prefix).lstrip("/")).read_text("utf-8", "replace")
    except OSError:
        return []
    return [line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("#")]
