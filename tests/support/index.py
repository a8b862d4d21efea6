"""A package index of tiny wheels on 127.0.0.1, friendly or hostile, for tests that must not need a network.

::

    with Index() as index:
        index.add(make_wheel("six", "1.0"))
        subprocess.run([..., "uv", "pip", "compile", ...], env={"UV_DEFAULT_INDEX": index.url})

By default the index is a PEP 503 HTML one without sizes and without PEP 658 metadata, like many mirrors;
with ``json=True`` it answers in JSON (PEP 691, with PEP 700's sizes and dates). Files are at
``/packages/<2>/<2>/<60>/<filename>`` by their sha256.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import re
import ssl
import threading
import urllib.parse
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

__all__ = ["Index", "IndexedFile", "WheelFile", "make_wheel"]


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A wheel in memory: its file name and its bytes."""

    filename: str
    data: bytes

    @property
    def sha256(self) -> str:
        """Lower-case hex of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


def make_wheel(
    name: str,
    version: str = "1.0",
    *,
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    extras: Iterable[str] = (),
    tag: str = "py3-none-any",
    files: Mapping[str, bytes] | None = None,
    entry_points: str | None = None,
    executable: Iterable[str] = (),
    hostile_members: Mapping[str, bytes] | None = None,
    bad_record: bool = False,
    padding: int = 0,
) -> WheelFile:
    """Build a wheel.

    Parameters:
        name: distribution name (any spelling).
        requires: ``Requires-Dist`` values.
        tag: ``python-abi-platform`` of the file name and of ``WHEEL``.
        files: member name -> content; by default one module named after the distribution.
        entry_points: content of ``entry_points.txt``.
        executable: members that get mode 0755.
        hostile_members: written as they are (``../../evil``) and listed in RECORD.
        bad_record: give every member the hash of something else in RECORD.
        padding: size in bytes of an extra incompressible member, to make a large wheel.
    """
    escaped = re.sub(r"[-_.]+", "_", name).lower()
    info = f"{escaped}-{version}.dist-info"
    members: dict[str, bytes] = dict(
        {f"{escaped}.py": f"NAME = {name!r}\n".encode()} if files is None else files
    )
    if padding:
        members[f"{escaped}_padding.bin"] = hashlib.shake_128(name.encode()).digest(padding)
    members.update(hostile_members or {})
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    if requires_python is not None:
        metadata.append(f"Requires-Python: {requires_python}\n")
    metadata.extend(f"Provides-Extra: {extra}\n" for extra in extras)
    metadata.extend(f"Requires-Dist: {requirement}\n" for requirement in requires)
    members[f"{info}/METADATA"] = "".join(metadata).encode()
    pure = "true" if tag.endswith("-any") else "false"
    tags = "".join(f"Tag: {python}-{tag.split('-', 1)[1]}\n" for python in tag.split("-", 1)[0].split("."))
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\n{tags}".encode()
    )
    if entry_points is not None:
        members[f"{info}/entry_points.txt"] = entry_points.encode()

    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    for member, content in members.items():
        hashed = hashlib.sha256(b"something else" if bad_record else content).digest()
        digest = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
        writer.writerow([member, f"sha256={digest}", len(content)])
    writer.writerow([f"{info}/RECORD", "", ""])
    members[f"{info}/RECORD"] = record.getvalue().encode()

    programs = frozenset(executable)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            entry = zipfile.ZipInfo(member, (2024, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if member in programs else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return WheelFile(f"{escaped}-{version}-{tag}.whl", stream.getvalue())


@dataclass(slots=True)
class IndexedFile:
    """One file of the index and what the index says about it."""

    filename: str
    data: bytes
    path: str
    sha256: str
    attributes: dict[str, str] = field(default_factory=dict)


class Index:
    """A simple index (PEP 503) as a context manager.

    Parameters:
        credentials: user and password that every request must bring.
        tls: files with the certificate and the key of ``localhost``, to speak HTTPS.
        json: whether pages are JSON.
        content_length: whether HEAD tells sizes.
        ranges: whether ``Range`` is understood.

    Attributes:
        requests: ``(method, path)`` of every request so far, in order.
        failures: path -> statuses to answer before serving the file properly (``[503, 503]``).
        failure_headers: headers of those answers.
        gone: paths that answer 404 though the index lists them.
        cuts: path -> number of bytes after which the connection is closed, once.
        ranges: the ``Range`` headers that were sent.
        redirects: path -> URL that it redirects to; asked before credentials are.
    """

    def __init__(
        self,
        *,
        credentials: tuple[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
        json: bool = False,
        content_length: bool = True,
        ranges: bool = True,
    ) -> None:
        self.files: dict[str, IndexedFile] = {}
        self.requests: list[tuple[str, str]] = []
        self.failures: dict[str, list[int]] = {}
        self.failure_headers: dict[str, str] = {}
        self.gone: set[str] = set()
        self.cuts: dict[str, int] = {}
        self.ranges: list[str] = []
        self.redirects: dict[str, str] = {}
        self.credentials = credentials
        self.serves_json = json
        self.content_length = content_length
        self.serves_ranges = ranges
        index = self

        class Handler(_Handler):
            pass

        Handler.index = index
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._origin = f"http://127.0.0.1:{self._server.server_port}/"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._origin = f"https://localhost:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def base(self) -> str:
        """``http://127.0.0.1:PORT/``, or ``https://localhost:PORT/``."""
        return self._origin

    @property
    def url(self) -> str:
        """The simple index's address, for ``UV_DEFAULT_INDEX``."""
        return self.base + "simple"

    @property
    def url_with_credentials(self) -> str:
        """The simple index's address with ``user:password@`` in it."""
        user, password = self.credentials or ("user", "password")
        return self.url.replace("://", f"://{user}:{password}@")

    def add(
        self,
        wheel: WheelFile,
        *,
        sha256: str | None = None,
        yanked: str | None = None,
        requires_python: str | None = None,
        uploaded: str | None = None,
        path: str | None = None,
    ) -> IndexedFile:
        """List a file; returns what was listed.

        Parameters:
            sha256: what the index claims, by default the truth.
            yanked: reason, when the file is yanked.
            uploaded: ``YYYY-MM-DDTHH:MM:SSZ``.
            path: where the file is served, by default by its sha256.
        """
        claimed = sha256 or wheel.sha256
        hexadecimal = wheel.sha256
        quoted = urllib.parse.quote(wheel.filename)
        default = f"packages/{hexadecimal[:2]}/{hexadecimal[2:4]}/{hexadecimal[4:]}/{quoted}"
        attributes = {
            "data-yanked": yanked,
            "data-requires-python": requires_python,
            "data-upload-time": uploaded,
        }
        entry = IndexedFile(
            wheel.filename,
            wheel.data,
            path or default,
            claimed,
            {key: value for key, value in attributes.items() if value is not None},
        )
        self.files["/" + entry.path] = entry
        return entry

    def add_source(self, name: str, version: str) -> IndexedFile:
        """List a source distribution (which is nothing but its name)."""
        return self.add(WheelFile(f"{re.sub(r'[-_.]+', '_', name)}-{version}.tar.gz", name.encode()))

    def __enter__(self) -> Index:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def project_json(self, name: str) -> str | None:
        """The JSON page of one project, None when the index does not know it."""
        files = [
            {
                "filename": entry.filename,
                "url": f"../../{entry.path}",
                "hashes": {"sha256": entry.sha256},
                "size": len(entry.data),
                **{key.removeprefix("data-"): value for key, value in entry.attributes.items()},
            }
            for entry in self.files.values()
            if _is_of(entry, name)
        ]
        return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}) if files else None

    def project_page(self, name: str) -> str | None:
        """The HTML page of one project, None when the index does not know it."""
        rows = [
            f'<a href="../../{entry.path}#sha256={entry.sha256}"'
            + "".join(f' {key}="{html.escape(value)}"' for key, value in entry.attributes.items())
            + f">{html.escape(entry.filename)}</a><br>"
            for entry in self.files.values()
            if _is_of(entry, name)
        ]
        return "<!DOCTYPE html><html><body>" + "".join(rows) + "</body></html>" if rows else None


def _is_of(entry: IndexedFile, name: str) -> bool:
    return re.sub(r"[-_.]+", "-", entry.filename.split("-")[0]).lower() == name


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up (because it does not want more) is nothing to print about."""


class _Handler(BaseHTTPRequestHandler):
    index: Index
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        self.index.requests.append((self.command, path))
        if "Range" in self.headers:
            self.index.ranges.append(self.headers["Range"])
        if path in self.index.redirects:
            self._send(302, b"", {"Location": self.index.redirects[path]})
            return
        if self.index.credentials is not None:
            expected = base64.b64encode(":".join(self.index.credentials).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {expected}":
                self._send(401, b"", {"WWW-Authenticate": 'Basic realm="index"'})
                return
        statuses = self.index.failures.get(path)
        if statuses:
            self._send(statuses.pop(0), b"not now", self.index.failure_headers)
            return
        page = re.fullmatch(r"/simple/([a-z0-9-]+)/", path)
        if page:
            as_json = self.index.serves_json
            content = self.index.project_json(page[1]) if as_json else self.index.project_page(page[1])
            kind = "application/vnd.pypi.simple.v1+json" if as_json else "text/html"
            if content is not None:
                self._send(200, content.encode(), {"Content-Type": kind, "Cache-Control": "no-cache"})
                return
        entry = self.index.files.get(path)
        if entry is None or path in self.index.gone:
            self._send(404, b"not found")
            return
        if self.command == "GET" and path in self.index.cuts:
            self._cut(entry.data, self.index.cuts.pop(path))
            return
        self._send_file(entry.data)

    def _cut(self, data: bytes, after: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:after])
        self.close_connection = True

    def _send_file(self, data: bytes) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        if not self.index.serves_ranges:
            self._send(200, data, headers)
            return
        headers["Accept-Ranges"] = "bytes"
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._send(200, data, headers)
            return
        if wanted[1]:
            start = int(wanted[1])
            end = min(int(wanted[2]) if wanted[2] else len(data) - 1, len(data) - 1)
        else:
            start, end = max(0, len(data) - int(wanted[2])), len(data) - 1
        if start > end:
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        self._send(206, data[start : end + 1], headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if self.index.content_length or self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
