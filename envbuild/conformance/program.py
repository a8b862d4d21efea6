"""What looks around in a container that is tested, and stands in for a hub there.

The text of this file is given to the image's own ``python3 -c``; it needs Python 3.7 or newer and can
import nothing of envbuild. All of it happens on the container's own loopback: it has no other network.
The one argument is a request (:func:`main`), the answer one JSON document on standard output; no file is
written.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import os
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # older Pythons have no dict[...]
    Document = dict[str, Any]

_SECONDS = 60  # for one answer
_KERNEL_SECONDS = 90
_REAPED_SECONDS = 10
_MOST_BYTES = 8_000_000
_MOST_KERNELS = 40
_LONGEST = 300

# How to add in languages that say it in another way than ``1+1``; and those that certainly give 2 for that.
_SUMS = {"bash": "echo $((1+1))", "sh": "echo $((1+1))", "zsh": "echo $((1+1))"}
_ADDING = frozenset(("python", "r", "julia", "octave", "matlab", "javascript", "typescript", "ruby", "scala"))


def main(request: Document) -> Document:
    """Answer ``request``.

    ``seconds`` (until the server answers), ``ports`` (one of which is the server's), ``prefix`` (of its
    URLs), ``token`` (None: any answer is good), ``kernels`` (``none``, ``default``, ``all``) and
    ``kernel_seconds`` (for all of them), ``orphan`` (whether to leave one), ``hub``: None, or ``port``,
    ``token`` (the server's own), ``user``.
    """
    answer: Document = {}
    if request["orphan"]:
        answer["orphan"] = orphan()
    deadline = time.monotonic() + request["seconds"]
    hub = Hub(request["hub"], request["token"]) if request["hub"] else None
    server = Server(request["ports"], request["prefix"], request["token"])
    answer["server"] = server.wait(deadline)
    answer["listening"] = listening()
    if answer["server"]["status"] is not None and request["token"] is not None:
        answer["anonymous"] = server.status("api/status", anonymous=True)
        if request["kernels"] != "none":
            deadline = time.monotonic() + request["kernel_seconds"]
            answer["kernels"] = server.kernels(request["kernels"], deadline)
    if hub is not None:
        answer["hub"] = hub.asked
    return answer


class Server:
    """The Jupyter server of this container."""

    def __init__(self, ports: list[int], prefix: str, token: str | None) -> None:
        self._ports, self._prefix, self._token = ports, prefix, token
        self._port = ports[0]

    def wait(self, deadline: float) -> Document:
        """Wait until it answers; ``status`` is None when it does not, and ``said`` the last that was seen."""
        began = time.monotonic()
        path = "" if self._token is None else "api/status"
        said = f"nothing listens on port {self._port}"
        while True:
            for port in self._ports:
                self._port = port
                try:
                    status, _ = self.ask("GET", path)
                    if self._token is None or status == 200:
                        return {"status": status, "seconds": time.monotonic() - began, "said": ""}
                    said = f"GET {self._prefix}{path} gives {status}"
                except ConnectionRefusedError:
                    pass
                except (OSError, http.client.HTTPException, ValueError) as error:
                    said = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                return {"status": None, "seconds": time.monotonic() - began, "said": said[:_LONGEST]}
            time.sleep(0.2)

    def ask(self, method: str, path: str, body: Any = None, anonymous: bool = False) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)
        try:
            headers = {"Content-Type": "application/json"}
            if self._token is not None and not anonymous:
                headers["Authorization"] = f"token {self._token}"
            text = None if body is None else json.dumps(body)
            connection.request(method, self._prefix + path, text, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_MOST_BYTES)
        finally:
            connection.close()

    def status(self, path: str, anonymous: bool = False) -> int | None:
        """The status of an answer, None without one."""
        try:
            return self.ask("GET", path, anonymous=anonymous)[0]
        except (OSError, http.client.HTTPException):
            return None

    def kernels(self, which: str, deadline: float) -> list[Document]:
        """Start the default kernel or all, and have each add."""
        try:
            listed = json.loads(self.ask("GET", "api/kernelspecs")[1])
            specs = {name: spec["spec"] for name, spec in listed["kernelspecs"].items()}
            names = sorted(specs) if which == "all" else [listed["default"]]
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
            return [{"name": "", "language": "", "error": f"no list of kernels: {error}"[:_LONGEST]}]
        found = []
        for name in names[:_MOST_KERNELS]:
            language = str((specs.get(name) or {}).get("language", "")).lower()
            kernel: Document = {"name": name[:_LONGEST], "language": language[:_LONGEST], "error": None}
            try:
                _require_program((specs.get(name) or {}).get("argv") or [""])
                kernel["said"] = self._add(name, language, min(deadline, time.monotonic() + _KERNEL_SECONDS))
                if (language in _ADDING or language in _SUMS) and "2" not in kernel["said"]:
                    kernel["error"] = "it says that 1+1 is {!r}".format(kernel["said"])
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
                kernel["error"] = (str(error) or type(error).__name__)[:_LONGEST]
            found.append(kernel)
        return found

    def _add(self, name: str, language: str, deadline: float) -> str:
        status, text = self.ask("POST", "api/kernels", {"name": name})
        if status != 201:
            said = text[:_LONGEST].decode("utf-8", "replace")
            raise ValueError(f"the server does not start it ({status}): {said}")
        number = json.loads(text)["id"]
        try:
            path = f"{self._prefix}api/kernels/{number}/channels"
            with contextlib.closing(WebSocket(self._port, path, self._token or "", deadline)) as channel:
                return added(channel, _SUMS.get(language, "1+1"))
        finally:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.ask("DELETE", f"api/kernels/{number}")


def _require_program(argv: list[str]) -> None:
    # The server would say it in its log only.
    if argv[0].startswith("/") and not os.path.exists(argv[0]):  # noqa: PTH110  # one module less to load
        raise ValueError(f"its program {argv[0]} is not there")


def added(channel: WebSocket, code: str) -> str:
    """What the kernel behind ``channel`` gives for ``code`` (messaging protocol 5)."""
    number = "envbuild-contract"
    header = {
        "msg_id": number,
        "msg_type": "execute_request",
        "username": "",
        "session": "s",
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    channel.send(json.dumps(dict(request, buffers=[])))
    said, replied, idle = "", False, False
    while not (replied and idle):
        message = json.loads(channel.receive())
        if message["parent_header"].get("msg_id") != number:
            continue
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "execute_reply":
            replied = True
            if content["status"] != "ok" and content.get("ename"):
                said += "{}: {}".format(content["ename"], content.get("evalue"))
        elif kind == "status":
            idle = idle or content["execution_state"] == "idle"
        elif kind == "stream":
            said += content["text"]
        elif kind in ("execute_result", "display_data"):
            said += str(content["data"].get("text/plain", ""))
        said = said[:_LONGEST]
    return said.strip()


class WebSocket:
    """A client of RFC 6455, as much of it as a kernel's channels need."""

    def __init__(self, port: int, path: str, token: str, deadline: float) -> None:
        self._deadline = deadline
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
        self._read = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            (
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                f"Authorization: token {token}\r\n\r\n"
            ).encode()
        )
        status = self._read.readline(_MOST_BYTES).split()
        while self._read.readline(_MOST_BYTES).strip():
            pass
        if status[1:2] != [b"101"]:
            raise ValueError("the server refuses the kernel's websocket")

    def send(self, text: str, kind: int = 1) -> None:
        """Send a message."""
        data = text.encode()
        head = bytes([0x80 | kind])
        head += bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack("!BH", 0x80 | 126, len(data))
        self._socket.sendall(head + bytes(4) + data)  # masked with zeros

    def receive(self) -> str:
        """The next message."""
        parts = b""
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise ValueError("the kernel does not answer in time")
            self._socket.settimeout(left)
            try:
                first, second = self._exactly(2)
                size = second & 0x7F
                if size >= 126:
                    (size,) = struct.unpack(
                        "!H" if size == 126 else "!Q", self._exactly(2 if size == 126 else 8)
                    )
                if size + len(parts) > _MOST_BYTES:
                    raise ValueError("the kernel's message is too large")
                data = self._exactly(size)
            except socket.timeout as error:  # noqa: UP041  # an alias since Python 3.10 only
                raise ValueError("the kernel does not answer in time") from error
            if first & 0x0F == 9:
                with contextlib.suppress(OSError):  # it may have closed already, having said all
                    self.send("", 10)
            elif first & 0x0F == 8:
                raise ValueError("the server closes the kernel's websocket")
            elif first & 0x0F in (0, 1, 2):
                parts += data
                if first & 0x80:
                    return parts.decode("utf-8", "replace")

    def _exactly(self, size: int) -> bytes:
        data = self._read.read(size)
        if len(data) < size:
            raise ValueError("the server closes the kernel's websocket")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._read.close()
        self._socket.close()


class Hub:
    """A stand-in for JupyterHub's API, for one server of one user; knows what it was asked.

    It answers what a single-user server of JupyterHub 1 to 6 asks: the version, whose a token is, activity.
    """

    def __init__(self, settings: Document, visitor: str) -> None:
        self.asked: list[str] = []
        hub, user, own = self, settings["user"], settings["token"]
        model = {
            "kind": "user",
            "name": user,
            "admin": False,
            "groups": [],
            "scopes": [f"access:servers!server={user}/", f"access:servers!user={user}", "read:users:name"],
            "server": f"/user/{user}/",
            "pending": None,
            "session_id": None,
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                path = self.path.partition("?")[0].rstrip("/")
                self._note(path)
                token = (self.headers.get("Authorization") or "").rpartition(" ")[2]
                if path == "/hub/api":
                    self._answer(200, {"version": "5.4.0"})
                elif path == "/hub/api/user" and token in (own, visitor):
                    self._answer(200, model)
                elif path.startswith("/hub/api/authorizations/token/"):  # before JupyterHub 2
                    self._answer(200 if path.rpartition("/")[2] in (own, visitor) else 404, model)
                else:
                    self._answer(403 if path == "/hub/api/user" else 404, {"message": "no"})

            def do_POST(self) -> None:
                self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _MOST_BYTES))
                self._note(self.path.partition("?")[0])
                self._answer(200, {})

            def _note(self, path: str) -> None:
                if len(hub.asked) < 100:
                    shown = "/hub/api/authorizations/token" if "/token/" in path else path[:_LONGEST]
                    hub.asked.append(f"{self.command} {shown}")

            def _answer(self, status: int, document: Any) -> None:
                text = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-JupyterHub-Version", "5.4.0")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self._server = http.server.HTTPServer(("127.0.0.1", settings["port"]), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


def listening() -> list[list[Any]]:
    """The TCP sockets of this container that are listened on: ``any`` or ``loopback`` or ``other``, port."""
    found = []
    for name, width in (("tcp", 8), ("tcp6", 32)):
        try:
            with open(f"/proc/net/{name}", encoding="ascii") as stream:  # noqa: PTH123
                rows = [line.split() for line in stream.read(_MOST_BYTES).splitlines()[1:]]
        except OSError:
            continue
        for row in rows:
            address, _, port = row[1].partition(":")
            if row[3] == "0A":
                loopback = ("0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F")
                where = "any" if address == "0" * width else "loopback" if address in loopback else "other"
                found.append([where, int(port, 16)])
    return sorted(found)


def orphan() -> str:
    """Leave a process without a parent, which ends: ``reaped`` or ``zombie``, by what becomes of it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        mother = os.getpid()
        if os.fork() == 0:
            while os.getppid() == mother:
                time.sleep(0.01)
            os.write(writer, str(os.getpid()).encode())
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
    number = int(os.read(reader, 20))
    for _ in range(_REAPED_SECONDS * 20):
        try:
            with open(f"/proc/{number}/stat", "rb"):  # noqa: PTH123
                time.sleep(0.05)
        except OSError:
            return "reaped"
    return "zombie"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
    sys.stdout.flush()
    os._exit(0)
