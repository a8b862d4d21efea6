"""HTTP for the tests' registry: requests with their bodies, and answers that may break off."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Dropped", "Exchange", "Listener", "Reply", "Request"]

_IDLE_SECONDS = 600
_PIECE = 1 << 14


class Dropped(Exception):
    """The connection ends here, without an answer.

    Parameters:
        reset: by a reset (RST) rather than an orderly end.
    """

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("dropped")
        self.reset = reset


@dataclass(slots=True)
class Request:
    """One request that came, for assertions.

    ``number`` counts all requests from 0; ``kind``, ``repository`` and ``reference`` are what it is about
    (:mod:`tests.support.registry.routes`); ``received`` and ``sent`` are bytes of bodies; ``status`` is 0 as
    long as there is no answer.
    """

    method: str
    path: str
    query: str
    headers: HTTPMessage
    at: str
    number: int = -1
    kind: str = "?"
    repository: str = ""
    reference: str = ""
    received: int = 0
    sent: int = 0
    status: int = 0

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def authorization(self) -> str | None:
        """The ``Authorization`` header."""
        return self.headers.get("Authorization")

    def __str__(self) -> str:
        return f"#{self.number} {self.kind}: {self.method} {self.target} -> {self.status}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, possibly a broken one.

    Parameters:
        body: pieces of unknown total are sent in HTTP's chunks.
        length: a ``Content-Length`` other than the truth.
        cut: the connection ends after so many bytes of the body.
        pause: seconds between two pieces of the body.
        pieces: bytes of such a piece.
        chunked: send HTTP's chunks instead of a ``Content-Length``.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    length: int | None = None
    cut: int | None = None
    pause: float = 0.0
    pieces: int = _PIECE
    chunked: bool = False


class Exchange:
    """One request on its way to its answer."""

    def __init__(self, handler: _Handler, request: Request) -> None:
        self.request = request
        self.handle: Callable[[], Reply] = lambda: Reply(501)
        self._handler = handler
        self._body: bytes | None = None
        self.unread = "Content-Length" in request.headers or "Transfer-Encoding" in request.headers

    def body(self) -> bytes:
        """The whole body of the request."""
        if self._body is None:
            self._body = b"".join(self._pieces())
            self.unread = False
        return self._body

    def half(self) -> bytes:
        """The first half of the body; the rest stays unread, and the connection cannot be used any more."""
        length = self._length()
        self._body = b""
        for piece in self._pieces(length // 2 if length is not None else None):
            self._body += piece
            if length is None:
                break
        return self._body

    def _length(self) -> int | None:
        told = self.request.headers.get("Content-Length")
        return int(told) if told is not None else None

    def _pieces(self, most: int | None = None) -> Iterator[bytes]:
        stream = self._handler.rfile
        if self.request.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(stream.readline().split(b";")[0], 16):
                yield self._counted(stream.read(size), size)
                stream.readline()
            stream.readline()
            return
        left = (self._length() or 0) if most is None else most
        while left:
            size = min(left, _PIECE)
            yield self._counted(stream.read(size), size)
            left -= size

    def _counted(self, data: bytes, expected: int) -> bytes:
        self.request.received += len(data)
        if len(data) != expected:
            raise Dropped  # the client went away
        return data


class Listener:
    """A server on a port of its own.

    Parameters:
        answer: called with every exchange, from any thread; may raise :class:`Dropped`.
        tls: to speak HTTPS.
        host: the name in its address.
    """

    def __init__(
        self, answer: Callable[[Exchange], Reply], tls: ssl.SSLContext | None, host: str = "127.0.0.1"
    ) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.answer = answer
        self.address = f"{host}:{self._server.server_port}"
        self._server.named = self.address
        self.url = f"http://{self.address}"
        if tls is not None:
            self._server.tls = tls
            self.url = f"https://{self.address}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Answer while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.hang_up()
            self._server.server_close()
        for mistake in self._server.mistakes:
            raise mistake


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    answer: Callable[[Exchange], Reply]
    named: str
    tls: ssl.SSLContext | None = None

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.connections: set[socket.socket] = set()
        self.mistakes: list[BaseException] = []

    def hang_up(self) -> None:
        """End what clients keep open: a registry that is stopped answers nobody."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is nothing to speak of; anything else is a mistake of ours."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.mistakes.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        if self.server.tls is not None:  # here and not in the listening socket: handshakes take their time
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()
        if self.server.tls is not None:  # the server closes only what it has accepted, which is another one
            with contextlib.suppress(OSError):
                self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        exchange = Exchange(self, Request(self.command, path, query, self.headers, self.server.named))
        try:
            self._send(exchange, self.server.answer(exchange))
        except Dropped as dropped:
            self.close_connection = True
            if dropped.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            self.close_connection = True

    do_DELETE = do_GET = do_HEAD = do_PATCH = do_POST = do_PUT = _serve

    def _send(self, exchange: Exchange, reply: Reply) -> None:
        request = exchange.request
        request.status = reply.status
        whole = reply.body if isinstance(reply.body, bytes) else None
        chunked = reply.chunked or whole is None
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if not chunked:
            length = len(whole or b"") if reply.length is None else reply.length
            if reply.status != 204:
                self.send_header("Content-Length", str(length))
        elif self.command != "HEAD":
            self.send_header("Transfer-Encoding", "chunked")
        lying = reply.cut is not None or (reply.length is not None and reply.length != len(whole or b""))
        if exchange.unread or (lying and self.command != "HEAD"):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        pieces = _cut(whole, reply.pieces) if whole is not None else reply.body
        left = reply.cut
        for number, piece in enumerate(pieces):
            assert isinstance(piece, bytes)
            sent = piece if left is None else piece[:left]
            if number and reply.pause:
                time.sleep(reply.pause)
            request.sent += len(sent)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent) if chunked and sent else sent)
            if left is not None:
                left -= len(sent)
                if not left:
                    raise Dropped
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
