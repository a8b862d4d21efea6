"""User names and passwords by host: from the address itself, the user's indexes, ``.netrc``, the keyring.

They are put on requests as they leave, so no URL that is kept or shown has to hold them, and never on a
request to another host: a server that redirects does not learn what its neighbour is told.
"""

from __future__ import annotations

import base64
import netrc
import subprocess
import threading
from collections.abc import Generator, Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from envbuild.network.indexes import Indexes, user_indexes

__all__ = ["Credentials", "HostAuth"]

_KEYRING_SECONDS = 30
_Pair = tuple[str, str]


class Credentials:
    """What the user's settings say for a URL.

    Parameters:
        environment: the user's variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._asked: dict[str, _Pair | None] = {}
        self._asking = threading.Lock()

    def __repr__(self) -> str:
        return "Credentials()"

    def known(self, url: str) -> _Pair | None:
        """User and password for ``url`` without asking anybody, None when there are none."""
        parts = urlsplit(url)
        own = _user_info(parts)
        if own is not None and own[1]:
            return own
        for index in self._index_addresses:
            found = _user_info(index) if _same_host(index, parts) else None
            if found is not None and found[1] and (own is None or own[0] == found[0]):
                return found
        entry = self._netrc.get(parts.hostname or "")
        if entry is not None and (own is None or own[0] == entry[0]):
            return entry
        return own

    def from_keyring(self, url: str) -> _Pair | None:
        """User and password that the ``keyring`` program has for ``url``, if the user wants it asked.

        As with pip and uv, entries are named by the index's address or by its host.
        """
        if not self._indexes.keyring:
            return None
        parts = urlsplit(url)
        services, user = [], (_user_info(parts) or ("", ""))[0]
        for index in self._index_addresses:
            if _same_host(index, parts):
                services.append(index._replace(netloc=index.netloc.rpartition("@")[2]).geturl())
                user = user or (_user_info(index) or ("", ""))[0]
        services.append(parts.netloc.rpartition("@")[2])
        with self._asking:
            key = f"{user}@{services[-1]}"
            if key not in self._asked:
                answers = (self._ask_keyring(service, user) for service in dict.fromkeys(services))
                self._asked[key] = next((answer for answer in answers if answer is not None), None)
            return self._asked[key]

    def _ask_keyring(self, service: str, user: str) -> _Pair | None:
        command = (
            ["keyring", "get", service, user] if user else ["keyring", "--mode", "creds", "get", service]
        )
        try:
            done = subprocess.run(
                command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_KEYRING_SECONDS,
                check=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        lines = done.stdout.splitlines()
        if user:
            return (user, lines[0]) if lines else None
        return (lines[0], lines[1]) if len(lines) > 1 else None

    @cached_property
    def _indexes(self) -> Indexes:
        return user_indexes(self._environment)

    @cached_property
    def _index_addresses(self) -> tuple[SplitResult, ...]:
        return tuple(map(urlsplit, self._indexes.addresses))

    @cached_property
    def _netrc(self) -> dict[str, _Pair]:
        chosen, home = self._environment.get("NETRC"), self._environment.get("HOME")
        places = [Path(chosen)] if chosen else [Path(home, name) for name in (".netrc", "_netrc") if home]
        for path in places:
            try:
                hosts = netrc.netrc(path).hosts
            except (OSError, ValueError, netrc.NetrcParseError):
                continue  # not there, or not to be read
            # A `default` entry would go to every host there is.
            hosts.pop("default", None)
            return {host: (login, password or "") for host, (login, _, password) in hosts.items()}
        return {}


class HostAuth(httpx.Auth):
    """Puts :class:`Credentials` on requests; see :meth:`authorize` for those that follow a redirect."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def authorize(self, request: httpx.Request) -> None:
        """Set the header for the host that ``request`` goes to, unless it has one."""
        if "Authorization" not in request.headers:
            found = self._credentials.known(str(request.url))
            if found is not None:
                request.headers["Authorization"] = _basic(found)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See :class:`httpx.Auth`: the keyring is asked when the host itself (not one it led to) refuses."""
        self.authorize(request)
        response = yield request
        refused = response.status_code == httpx.codes.UNAUTHORIZED
        if refused and response.request.url.netloc == request.url.netloc:
            found = self._credentials.from_keyring(str(request.url))
            if found is not None and request.headers.get("Authorization") != _basic(found):
                request.headers["Authorization"] = _basic(found)
                yield request


def _basic(pair: _Pair) -> str:
    return "Basic " + base64.b64encode(":".join(pair).encode()).decode()


def _user_info(parts: SplitResult) -> _Pair | None:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return (unquote(user), unquote(password)) if user or password else None


def _same_host(one: SplitResult, other: SplitResult) -> bool:
    return (one.scheme, one.netloc.rpartition("@")[2]) == (other.scheme, other.netloc.rpartition("@")[2])
