"""Where conda channels are, on this machine, and with which of the user's credentials.

Locks and repositories name channels; the addresses are the user's business. Credentials become part of an
address only in memory, and are in none of the messages.
"""

from __future__ import annotations

import hashlib
import json
import netrc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from envbuild.errors import UsageError
from envbuild.source.text import redact
from envbuild.spec.channel import source_name
from envbuild.store import Store

__all__ = ["Channels", "recall_channels", "remember_channels", "usual_address"]

_DEFAULT = "https://conda.anaconda.org/"
_DEFAULT_PKGS = "https://repo.anaconda.com/"
_EVERY_OTHER = "*"
_SCHEMES = ("http", "https", "file")


@dataclass(frozen=True, slots=True)
class Channels:
    """The user's mirrors (channel -> base URL, ``*`` for all that have a name) and variables."""

    mirrors: Mapping[str, str]
    environment: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Channels({ {name: redact(address) for name, address in self.mirrors.items()} })"

    def address(self, channel: str) -> str:
        """The base URL of ``channel``, with the user's credentials for its host, if any.

        Raises:
            UsageError: the user's configuration or credentials cannot be used.
        """
        if channel in self.mirrors:
            url = self.mirrors[channel]
        elif "://" not in channel and _EVERY_OTHER in self.mirrors:
            url = f"{self.mirrors[_EVERY_OTHER].rstrip('/')}/{channel}"
        else:
            url = usual_address(channel)
        if urlsplit(url).scheme not in _SCHEMES:
            raise UsageError(
                f"the address configured for the channel {channel} is not an http, https or file URL",
                code="bad-mirror-address",
                remedy="write it as `channels = ['conda-forge=https://mirror.example.org/conda-forge']`",
            )
        return self._with_credentials(url.rstrip("/"))

    def sources(self, channels: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The addresses of what locks call these channels."""
        return {source_name(channel): (self.address(channel),) for channel in channels}

    def _with_credentials(self, url: str) -> str:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.path.startswith("/t/") or parts.scheme == "file":
            return url
        entry = self._stored(parts.netloc)
        token, basic = entry.get("CondaToken"), entry.get("BasicHTTP")
        if isinstance(token, str):
            return urlunsplit(parts._replace(path=f"/t/{quote(token, safe='')}{parts.path}"))
        if isinstance(basic, dict):
            return _signed(url, str(basic.get("username", "")), str(basic.get("password", "")))
        login = self._netrc(parts.hostname or "")
        return _signed(url, *login) if login else url

    def _stored(self, host: str) -> Mapping[str, Any]:
        """What the user's own tools keep for ``host`` (rattler's file, by host or ``*.domain``)."""
        path = Path(self.environment.get("RATTLER_AUTH_FILE") or self._home / ".rattler" / "credentials.json")
        try:
            known = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(
                "these credentials cannot be read", code="bad-credentials", file=str(path)
            ) from error
        name = host.partition(":")[0]
        labels = name.split(".")
        wild = ["*." + ".".join(labels[start:]) for start in range(1, len(labels))]
        for key in (host, name, *wild):
            if isinstance(known, dict) and isinstance(known.get(key), dict):
                return known[key]  # type: ignore[no-any-return]
        return {}

    def _netrc(self, host: str) -> tuple[str, str] | None:
        path = Path(self.environment.get("NETRC") or self._home / ".netrc")
        try:
            found = netrc.netrc(str(path)).authenticators(host)
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            return None
        return (found[0], found[2]) if found else None

    @property
    def _home(self) -> Path:
        return Path(self.environment.get("HOME", "/nonexistent"))


def usual_address(channel: str) -> str:
    """Where ``channel`` is unless the user says otherwise; a URL is its own address."""
    if "://" in channel:
        return channel
    return (_DEFAULT_PKGS if channel.startswith("pkgs/") else _DEFAULT) + channel


def _signed(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}")
    )


def remember_channels(store: Store, channels: Iterable[str]) -> None:
    """Keep which channels there are, so that a lock, which has only their names, finds them again."""
    for channel in channels:
        if "://" in channel:
            path = store.sources / _key(source_name(channel))
            if store.record(path) is None:
                store.put_record(path, {"channel": channel})


def recall_channels(store: Store, sources: Iterable[str]) -> dict[str, str]:
    """The channels that locks call ``sources``; without those that nobody has named on this machine."""
    found = {}
    for source in sources:
        known = store.record(store.sources / _key(source))
        if known is not None:
            channel = known["channel"]
        else:
            channel = source.replace("pkgs-", "pkgs/", 1) if source.startswith("pkgs-") else source
        found[source] = channel
    return found


def _key(source: str) -> str:
    return hashlib.sha256(f"channel {source}".encode()).hexdigest()
