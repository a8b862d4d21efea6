"""Git repositories made by tests, and a server for them."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["GIT_ENVIRONMENT", "Upstream", "serve_git"]

# Nothing of the configuration of whoever runs the tests, and commits that have the same hash every time.
GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"), ("DATE", "2026-01-01T00:00:00Z"))
}


@dataclass(frozen=True, slots=True)
class Upstream:
    """A repository somebody has published: a bare one at ``path``, changed through a work tree."""

    path: Path

    @classmethod
    def create(cls, path: Path, files: Mapping[str, str] | None = None) -> Upstream:
        """A new one whose branch ``main`` has one commit."""
        upstream = cls(path)
        upstream.work.mkdir(parents=True)
        upstream.git("init", "-q", "-b", "main")
        upstream.commit(files or {"notebook.ipynb": "{}\n"})
        return upstream

    @property
    def work(self) -> Path:
        """The work tree."""
        return self.path.with_name(self.path.name + ".work")

    @property
    def url(self) -> str:
        """Its address on this machine."""
        return self.path.as_uri()

    def git(self, *arguments: str, text: str = "") -> str:
        """What git prints, in the work tree; ``text`` is its input."""
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments],
            cwd=self.work,
            env=GIT_ENVIRONMENT | _AUTHOR,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"git {arguments}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str | bytes] | None = None) -> str:
        """Write ``files`` (and keep what is staged), commit, publish; the new commit's hash."""
        for name, content in (files or {}).items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all", "--force")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        self.publish()
        return self.git("rev-parse", "HEAD")

    def publish(self) -> None:
        """Bring the bare repository up to date, tags and branches included."""
        if not self.path.exists():
            self.git("init", "-q", "--bare", "-b", "main", str(self.path))
        self.git("push", "-q", "--force", "--mirror", str(self.path))
        subprocess.run(
            ["git", "update-server-info"], cwd=self.path, env=GIT_ENVIRONMENT, check=True, capture_output=True
        )


class _Handler(BaseHTTPRequestHandler):
    """Runs ``git http-backend`` (git's own CGI program), or gives files for the dumb protocol."""

    server: _Server

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        # Before any answer: with something unread the connection would be reset, and the answer lost.
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        expected = self.server.login
        if expected is not None and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="tests"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        if self.server.dumb:
            self._give_file(path)
            return
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", "http-backend"],
            env=GIT_ENVIRONMENT
            | {
                "GIT_PROJECT_ROOT": str(self.server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "REMOTE_ADDR": "127.0.0.1",
            },
            input=body,
            capture_output=True,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.decode().split(": ", 1) for line in head.split(b"\r\n") if line]
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _give_file(self, path: str) -> None:
        file = self.server.root / path.lstrip("/")
        found = file.is_file()
        content = file.read_bytes() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    root: Path
    login: str | None
    dumb: bool
    requests: list[tuple[str, str | None]]


@contextlib.contextmanager
def serve_git(
    root: Path, *, login: str | None = None, dumb: bool = False, host: str = "127.0.0.1"
) -> Iterator[_Server]:
    """Serve the repositories below ``root`` over http, on loopback unless another address is given.

    Parameters:
        login: ``user:password`` that is asked for.
        dumb: give files only, without git on the server.
    """
    server = _Server((host, 0), _Handler)
    server.root = root
    server.login = "Basic " + base64.b64encode(login.encode()).decode() if login else None
    server.dumb = dumb
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
