"""Proof that nothing is asked of other machines: while it is in force, this process cannot reach any.

Programs that we start are told to stay offline by their own options; this is for everything in here.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from envbuild.errors import RemoteError

__all__ = ["no_network"]

_in_force = 0
_installed = False


@contextmanager
def no_network() -> Iterator[None]:
    """Refuse every connection and look-up that would leave this machine.

    Raises (from whoever tries):
        RemoteError: names the host.
    """
    global _in_force, _installed
    if not _installed:
        sys.addaudithook(_refuse)  # there is no way to take one back, so it asks _in_force
        _installed = True
    _in_force += 1
    try:
        yield
    finally:
        _in_force -= 1


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _in_force or not event.startswith("socket."):
        return
    match event:
        case "socket.connect" | "socket.sendto" | "socket.sendmsg":
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else None  # else a path: a Unix socket
            allowed = host is None or _is_local(host)
        case "socket.getaddrinfo" | "socket.gethostbyname":
            host = arguments[0]
            allowed = host is None or _is_local(host) or _is_number(host)
        case _:
            return
    if not allowed:
        raise RemoteError(
            f"this is an offline run, and it needs something from {_text(host or b'')}",
            code="offline",
            remedy="run once without --offline",
        )


def _text(host: str | bytes) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else host


def _is_local(host: str | bytes) -> bool:
    name = _text(host)
    if name in ("", "localhost", "0.0.0.0", "::"):
        return True
    return _is_number(name) and ipaddress.ip_address(name.partition("%")[0]).is_loopback


def _is_number(host: str | bytes) -> bool:
    """Whether it is an address already, so that no server is asked for it."""
    try:
        ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return False
    return True
