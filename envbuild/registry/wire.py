"""Connections to registries and to where they lead, with an eye on which machine is at the other end."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from envbuild.errors import RemoteError
from envbuild.network.client import open_client
from envbuild.registry.refusals import unreachable
from envbuild.registry.retry import Transient

if TYPE_CHECKING:
    import httpx

__all__ = ["Wire", "is_internal", "is_loopback"]

_WRITE_SECONDS = 60.0  # between two pieces that are taken off our hands
_COMMIT_SECONDS = 300.0  # a registry may move gigabytes to its storage before it answers


def is_internal(address: str) -> bool:
    """Whether an IP address is of this machine, of a private network, or otherwise not on the internet.

    >>> is_internal("10.0.0.1"), is_internal("::ffff:127.0.0.1"), is_internal("9.9.9.9")
    (True, True, False)
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0].strip("[]"))
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    found = mapped or found
    return found.is_multicast or not found.is_global


def is_loopback(host: str) -> bool:
    """Whether a host is certainly this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("localhost.example.org")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Wire:
    """The HTTP client of one command; made with the first request. A context manager.

    Parameters:
        connections: how many may be open at once.
        offline: refuse every request.
        connect: makes the client.
    """

    def __init__(
        self,
        *,
        connections: int,
        offline: bool = False,
        connect: Callable[..., AbstractContextManager[httpx.Client]] = open_client,
    ) -> None:
        self._connections = connections
        self._offline = offline
        self._connect = connect
        self._client: httpx.Client | None = None
        self._resources = ExitStack()
        self._guard = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._peers: dict[str, str] = {}
        self.stop = threading.Event()

    def close(self) -> None:
        """End what is still under way, and all connections."""
        self.stop.set()
        with self._guard:
            for open_socket in list(self._sockets):
                # Whoever waits for bytes on it in another thread wakes up. (Closing alone would not do that.)
                with suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)
        self._resources.close()

    def is_public(self, host: str) -> bool:
        """Whether ``host`` is on the internet, as far as is known from the connections to it."""
        return not is_internal(self._peers.get(host, host))

    @contextmanager
    def stream(
        self,
        registry: str,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes] | None = None,
        *,
        only_public: bool = False,
    ) -> Iterator[httpx.Response]:
        """Send one request; the value is the answer, its body still to be read.

        Parameters:
            registry: for messages.
            only_public: refuse to talk to a machine that is not on the internet.

        Raises:
            Transient: the connection failed.
            RemoteError: it cannot be made, or must not.
            CancelledError: :meth:`close` was called.
        """
        import httpx

        if self.stop.is_set():
            raise CancelledError
        if self._offline:
            raise RemoteError(
                f"{registry} has to be asked, and this is an offline run",
                code="offline",
                remedy="run without --offline",
            )
        if only_public and is_internal(url.host):
            raise _leads_inside(registry, url.host)
        client = self._opened()
        extensions: dict[str, Any] = {"trace": self._watch(registry, url.host, only_public)}
        if content is not None:
            connect = client.timeout.connect
            timeout = httpx.Timeout(_WRITE_SECONDS, connect=connect, read=_COMMIT_SECONDS, pool=None)
            extensions["timeout"] = timeout.as_dict()
        try:
            with client.stream(
                method, url, headers=dict(headers), content=content, extensions=extensions
            ) as response:
                yield response
        except httpx.TransportError as error:
            if self.stop.is_set():
                raise CancelledError from error
            told = unreachable(registry, error)
            # A wrong name or address does not get better by trying again, nor does a certificate.
            if told.code == "registry-dropped" or (told.code == "registry-unreachable" and self._peers):
                raise Transient(told) from error
            raise told from error
        except httpx.InvalidURL as error:
            raise unreachable(registry, error) from error

    def _opened(self) -> httpx.Client:
        with self._guard:
            if self._client is None:
                # As with other clients of registries: what is on this machine needs no proxy.
                direct = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}
                self._client = self._resources.enter_context(
                    self._connect(connections=self._connections, follow_redirects=False, mounts=direct)
                )
            return self._client

    def _watch(self, registry: str, host: str, only_public: bool) -> Callable[[str, Mapping[str, Any]], None]:
        """What httpcore tells of its progress: here, every connection that is made for one request.

        Looking at the address that was really connected to leaves no room for names that resolve to one
        address when they are checked and to another when they are used.
        """
        direct = False

        def told(event: str, info: Mapping[str, Any]) -> None:
            nonlocal direct
            if event.endswith("connect_tcp.started"):
                direct = info.get("host") == host  # else it is a proxy's
            stream: Any = info.get("return_value")
            if not event.endswith(".complete") or not hasattr(stream, "get_extra_info"):
                return
            opened = stream.get_extra_info("socket")
            if isinstance(opened, socket.socket):
                with self._guard:
                    self._sockets.add(opened)
                if self.stop.is_set():  # it came after all others were closed
                    stream.close()
                    raise CancelledError
            if direct and event.endswith("connect_tcp.complete"):
                peer = str(stream.get_extra_info("server_addr")[0])
                self._peers[host] = peer
                if only_public and is_internal(peer):
                    stream.close()
                    raise _leads_inside(registry, host)

        return told


def _leads_inside(registry: str, host: str) -> RemoteError:
    return RemoteError(
        f"{registry} leads to {host}, which is not on the internet as the registry itself is",
        code="unsafe-redirect",
        remedy="do not use this registry; a public one has no business in your network",
    )
