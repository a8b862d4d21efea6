"""The HTTP client everything is fetched and sent with: the user's proxies, the authorities they trust."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from envbuild.certificates import trusting_context
from envbuild.errors import MachineError

if TYPE_CHECKING:
    import httpx

__all__ = ["open_client"]

_SECONDS = 20.0  # between two signs of life
_CONNECT_SECONDS = 6.0


@contextmanager
def open_client(*, connections: int = 8, **options: Any) -> Iterator[httpx.Client]:
    """An HTTP client that is closed after the block.

    Parameters:
        connections: how many may be open at once.
        options: further ones of :class:`httpx.Client`.

    Raises:
        MachineError: the proxy that the environment names cannot be used.
    """
    import httpx  # a fifth of a second, which a build that needs no network should not spend

    try:
        made = httpx.Client(
            verify=trusting_context(),
            timeout=httpx.Timeout(_SECONDS, connect=_CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": "envbuild", "Accept-Encoding": "identity"},
            **options,
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # SOCKS; not a URL
        raise MachineError(
            "the proxy that the environment names cannot be used: only http and https proxies can",
            code="bad-proxy",
            remedy="correct HTTP_PROXY, HTTPS_PROXY and ALL_PROXY (also in lower case)",
        ) from error
    with made as client:
        yield client
