"""A Jupyter server in one file: as much of its API as the contract's program asks, and nothing to install.

Run as ``jupyter-lab``, ``jupyter-notebook`` or ``jupyterhub-singleuser``, with their options and variables;
used in images in the place of the real ones where a test is about something else. Kernels are no processes:
they know 1+1.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import os
import signal
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Settings:
    """What the command line and the variables say."""

    def __init__(self, program: str, arguments: list[str], variables: dict[str, str]) -> None:
        options = dict(argument.lstrip("-").partition("=")[::2] for argument in arguments)
        self.hub = variables.get("JUPYTERHUB_API_URL") if "singleuser" in program else None
        url = urllib.parse.urlsplit(variables.get("JUPYTERHUB_SERVICE_URL", "") if self.hub else "")
        self.address = options.get("ip", url.hostname or "127.0.0.1")
        self.port = int(options.get("port", url.port or 8888))
        self.prefix = url.path or options.get("ServerApp.base_url", "/")
        self.token = options.get("ServerApp.token", variables.get("JUPYTER_TOKEN", "secret"))
        self.kernels = variables.get("SMALL_KERNELS", "python3").split(",")


def serve(settings: Settings) -> http.server.ThreadingHTTPServer:
    """The server, which listens."""
    started: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = self._path()
            if path is None:
                self._answer(404, {})
            elif path == "":
                self._answer(302, {})
            elif not self._is_allowed():
                self._answer(403, {"message": "Forbidden"})
            elif path == "api/status":
                self._answer(200, {"kernels": 0})
            elif path == "api/kernelspecs":
                specs = {
                    name: {"spec": {"language": "python", "argv": ["/opt/ghost"] if name == "ghost" else []}}
                    for name in settings.kernels
                }
                self._answer(200, {"default": settings.kernels[0], "kernelspecs": specs})
            elif path == "api/kernels":
                self._answer(200, [{"id": name, "name": name} for name in started])
            elif path.endswith("/channels"):
                self._converse(path.split("/")[2])
            else:
                self._answer(404, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self._is_allowed():
                self._answer(403, {})
            elif body["name"] == "broken":
                self._answer(500, {"message": "No such file: /opt/ghost"})
            else:
                started.append(body["name"])
                self._answer(201, {"id": body["name"]})

        def do_DELETE(self) -> None:
            self._answer(204, None)

        def _path(self) -> str | None:
            path = self.path.partition("?")[0]
            return path[len(settings.prefix) :] if path.startswith(settings.prefix) else None

        def _is_allowed(self) -> bool:
            token = (self.headers.get("Authorization") or "").rpartition(" ")[2]
            if settings.hub is None:
                return token == settings.token
            if not token:
                return False
            request = urllib.request.Request(
                f"{settings.hub}/user", headers={"Authorization": f"token {token}"}
            )
            try:
                with urllib.request.urlopen(request, timeout=300) as answer:
                    return bool(json.loads(answer.read())["name"] == os.environ["JUPYTERHUB_USER"])
            except urllib.error.HTTPError as error:
                error.close()
                return False

        def _answer(self, status: int, document: Any) -> None:
            text = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _converse(self, kernel: str) -> None:
            key = self.headers["Sec-WebSocket-Key"].encode()
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest()).decode()
            self.send_header("Sec-WebSocket-Accept", accept)
            self.end_headers()
            asked = self._receive()
            self._say(asked, "stream", {"text": "x" * 70_000 if kernel == "long" else ""})
            if kernel == "silent":
                self.rfile.read(1)
                return
            sums = {"three": "3", "wrong": ""}
            self._say(asked, "execute_result", {"data": {"text/plain": sums.get(kernel, "2")}})
            self._say(asked, "execute_reply", {"status": "ok"})
            self._say(asked, "status", {"execution_state": "idle"})
            self.close_connection = True
            # Closing with a pong unread would reset the connection, and the client lose what it has not read.
            with contextlib.suppress(OSError):
                while self.rfile.read(1):
                    pass

        def _receive(self) -> Any:
            first, second = self.rfile.read(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(self.rfile.read(2), "big")
            mask, data = self.rfile.read(4), self.rfile.read(size)
            assert first == 0x81
            assert second & 0x80, "what clients send is masked"
            return json.loads(bytes(byte ^ mask[number % 4] for number, byte in enumerate(data)))

        def _say(self, asked: Any, kind: str, content: Any) -> None:
            message = {"parent_header": asked["header"], "header": {"msg_type": kind}, "content": content}
            data = json.dumps(message).encode()
            if len(data) < 126:
                size = bytes([len(data)])
            elif len(data) < 1 << 16:
                size = bytes([126]) + len(data).to_bytes(2, "big")
            else:
                size = bytes([127]) + len(data).to_bytes(8, "big")
            self.wfile.write(b"\x89\x00")  # a ping, to be answered
            self.wfile.write(b"\x81" + size + data)

    return http.server.ThreadingHTTPServer((settings.address, settings.port), Handler)


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    serve(Settings(sys.argv[0], sys.argv[1:], dict(os.environ))).serve_forever()


if __name__ == "__main__":
    main()
