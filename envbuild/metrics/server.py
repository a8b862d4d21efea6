"""Metrics over HTTP: ``/metrics`` for Prometheus, ``/healthz`` for whoever keeps this running."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from envbuild.errors import MachineError
from envbuild.metrics.exposition import text
from envbuild.metrics.totals import Totals

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["MetricsServer"]

# Who asks and then says nothing, or does not read the answer, is not waited for.
_IDLE_SECONDS: Final = 10.0
_PLAIN: Final = "text/plain; charset=utf-8"


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a scrape every few seconds is no news."""


class MetricsServer:
    """Serves what ``collect`` returns, asked anew for each scrape.

    Parameters:
        host, port: where to listen; port 0 is one the kernel chooses.

    Raises:
        MachineError: there is no listening there.
    """

    def __init__(self, host: str, port: int, collect: Callable[[], Totals]) -> None:
        self._collect = collect

        class Server(ThreadingMixIn, WSGIServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Nothing: a client that went away is its own affair."""

        try:
            self._server = Server((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise MachineError(
                f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}",
                code="cannot-listen",
                remedy="choose another address with --listen",
            ) from error
        self._server.set_app(self._answer)

    @property
    def url(self) -> str:
        """Where metrics are."""
        host, port = self._server.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}/metrics"

    def serve(self) -> None:
        """Answer until :meth:`close` is called in another thread, or an exception interrupts."""
        try:
            self._server.serve_forever(poll_interval=0.1)
        finally:
            self._server.server_close()

    def close(self) -> None:
        """End :meth:`serve`."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, kind, body = self._page(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/"))
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _page(self, method: str, path: str) -> tuple[str, str, bytes]:
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _PLAIN, b"only GET\n"
        if path == "/healthz":
            return "200 OK", _PLAIN, b"ok\n"
        if path == "/metrics":
            with suppress(ValueError, OSError):
                return "200 OK", CONTENT_TYPE_PLAIN_0_0_4, text(self._collect())
            return "500 Internal Server Error", _PLAIN, b"metrics cannot be read\n"
        return "404 Not Found", _PLAIN, b"there are /metrics and /healthz\n"
