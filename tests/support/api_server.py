"""An API server that keeps objects in memory, writes down what it is asked, and fails on request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Answer", "ApiServer", "Asked", "api_server", "status"]

_KINDS = {
    "/api/v1": {
        "Namespace": "namespaces",
        "ConfigMap": "configmaps",
        "Secret": "secrets",
        "Pod": "pods",
        "Event": "events",
    },
    "/apis/apps/v1": {"DaemonSet": "daemonsets"},
    "/apis/batch/v1": {"Job": "jobs"},
}
_CLUSTER_WIDE = ("Namespace",)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    @property
    def changes(self) -> bool:
        """Whether it is to change something."""
        dry = self.query.get("dryRun") or (isinstance(self.body, dict) and self.body.get("dryRun"))
        return self.method != "GET" and not dry


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered instead of the truth; ``cut`` ends the connection after that many bytes."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


def status(code: int, reason: str, message: str, **details: Any) -> Answer:
    """A failure as Kubernetes says it."""
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return Answer(code, body)


@dataclass(slots=True)
class ApiServer:
    """``objects`` by path. ``answers`` are given first, in turn; those of ``always`` (or what its functions
    give) by (method, path).
    """

    url: str = ""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    always: dict[tuple[str, str], Answer | Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    version: int = 0

    def answer(self, request: Asked) -> Answer:
        """The answer to a request."""
        discovery = _KINDS.get(request.path)
        if discovery is not None:
            listed = [
                {"name": plural, "kind": kind, "namespaced": kind not in _CLUSTER_WIDE}
                for kind, plural in discovery.items()
            ]
            return Answer(200, {"kind": "APIResourceList", "resources": listed})
        self.asked.append(request)
        if self.answers:
            return self.answers.pop(0)
        fixed = self.always.get((request.method, request.path))
        if callable(fixed):
            return fixed(request)
        return fixed or self._truth(request)

    def _truth(self, request: Asked) -> Answer:
        there = self.objects.get(request.path)
        if request.method == "PATCH":
            after = self._merged(there, request.body)
            if request.changes:
                self.objects[request.path] = after
            return Answer(200, after)
        if request.method == "POST":
            return Answer(201, request.body)
        if request.path.rsplit("/", 1)[-1] in {name for kinds in _KINDS.values() for name in kinds.values()}:
            below = [
                each for path, each in sorted(self.objects.items()) if path.startswith(request.path + "/")
            ]
            return Answer(200, {"metadata": {"resourceVersion": str(self.version)}, "items": below})
        if there is None:
            return status(404, "NotFound", f"{request.path} not found")
        if request.method == "DELETE" and request.changes:
            del self.objects[request.path]
        return Answer(200, there)

    def _merged(self, there: dict[str, Any] | None, wanted: dict[str, Any]) -> dict[str, Any]:
        """What server-side apply gives, nearly: a default is filled in, the books are kept."""
        self.version += 1
        metadata = {
            **wanted["metadata"],
            "resourceVersion": str(self.version),
            "uid": wanted["metadata"]["name"],
        }
        return {"defaulted": True, **wanted, "metadata": metadata, "status": {"version": self.version}}


@contextmanager
def api_server(directory: Path) -> Iterator[ApiServer]:
    """Start one; ``directory/kubeconfig`` leads to it."""
    state = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            text = self.rfile.read(length)
            address = urlsplit(self.path)
            body = json.loads(text) if text else None
            query = dict(parse_qsl(address.query))
            given = state.answer(Asked(self.command, address.path, query, dict(self.headers), body))
            content = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
            self.send_response(given.status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: given.cut])
            if given.cut is not None:
                self.close_connection = True

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    (directory / "kubeconfig").write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
        f"clusters: [{{name: c, cluster: {{server: '{state.url}'}}}}]\n"
        "users: [{name: u, user: {token: s3cr3t-token}}]\n"
        "contexts: [{name: here, context: {cluster: c, user: u, namespace: envs}}]\n"
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
