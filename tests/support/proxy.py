"""An HTTP proxy on 127.0.0.1 that wants a password, and stands in for hosts that do not exist.

::

    mirror = Host("http://real.example.org", "you", "other")
    with Proxy("me", "secret", hosts={"mirror.invalid": mirror}) as proxy:
        subprocess.run([...], env={"HTTPS_PROXY": proxy.url, ...})
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

__all__ = ["Host", "Proxy"]

_IDLE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Host:
    """What is behind an invented host name: another server's address, and the password it wants.

    Without a user, all requests go there as they are; with one, only downloads do, and without the password.
    """

    address: str
    user: str = ""
    password: str = ""


class Proxy:
    """The proxy, as a context manager.

    Parameters:
        user, password: what every request must bring.
        hosts: invented hosts, for ``http``.
        tunnels: invented ``host:port``, for ``https``, and the ``host:port`` they really are.

    Attributes:
        asked: the hosts that were asked for, in order; refused requests are not in it.
        refused: how many requests came without the password.
    """

    def __init__(
        self,
        user: str,
        password: str,
        *,
        hosts: Mapping[str, Host] | None = None,
        tunnels: Mapping[str, str] | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.refused = 0
        self.hosts = hosts or {}
        self.tunnels = tunnels or {}
        self.expected = _basic(user, password)
        proxy = self

        class Handler(_Handler):
            pass

        Handler.proxy = proxy
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{user}:{password}@{self.address}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is nothing to print about."""


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        if not self._allowed(self.path.rpartition(":")[0]):
            return
        host, _, port = self.proxy.tunnels.get(self.path, self.path).rpartition(":")
        with contextlib.closing(socket.create_connection((host, int(port)), timeout=30)) as other:
            self.send_response(200, "Connection established")
            self.end_headers()
            self.close_connection = True
            pair = {self.connection: other, other: self.connection}
            speaking = list(pair)
            while speaking:  # both: closing with something unread would take away what the other side has not
                ready, _, _ = select.select(speaking, [], [], _IDLE_SECONDS)
                if not ready:
                    return
                for one in ready:
                    data = one.recv(1 << 16)
                    if data:
                        pair[one].sendall(data)
                    else:
                        speaking.remove(one)
                        pair[one].shutdown(socket.SHUT_WR)

    def do_HEAD(self) -> None:
        self.do_GET()

    do_PATCH = do_POST = do_PUT = do_HEAD

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name = parts.hostname or ""
        if not self._allowed(name):
            return
        host = self.proxy.hosts.get(name)
        address = self.path
        if host is not None and not host.user:
            self._pass_on(urlsplit(host.address).netloc)
            return
        if host is not None:
            if self.headers.get("Authorization") != _basic(host.user, host.password):
                self._refuse(401, {"WWW-Authenticate": 'Basic realm="mirror"'})
                return
            address = host.address + parts.path
        request = urllib.request.Request(address, method=self.command)
        if "Range" in self.headers:
            request.add_header("Range", self.headers["Range"])
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=_IDLE_SECONDS) as answer:
                self.send_response(answer.status)
                for header in ("Content-Length", "Content-Type", "Content-Range"):
                    if header in answer.headers:
                        self.send_header(header, answer.headers[header])
                self.send_header("Connection", "close")
                self.end_headers()
                if self.command == "GET":
                    shutil.copyfileobj(answer, self.wfile)
                self.close_connection = True
        except urllib.error.HTTPError as error:
            error.close()
            self._refuse(error.code, {})

    def _pass_on(self, address: str) -> None:
        parts = urlsplit(self.path)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {name: value for name, value in self.headers.items() if not name.startswith("Proxy-")}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with contextlib.closing(http.client.HTTPConnection(address, timeout=_IDLE_SECONDS)) as connection:
            connection.request(self.command, target, body or None, headers)
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)

    def _allowed(self, name: str) -> bool:
        if self.headers.get("Proxy-Authorization") != self.proxy.expected:
            self.proxy.refused += 1
            self._refuse(407, {"Proxy-Authenticate": 'Basic realm="proxy"'})
            return False
        self.proxy.asked.append(name)
        return True

    def _refuse(self, status: int, headers: Mapping[str, str]) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
