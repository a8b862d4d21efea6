"""A read-only registry that serves one image over loopback, so that a daemon can pull it.

Follows the OCI distribution specification 1.1 (pull). The daemon asks for what it lacks and nothing else.
Layers of the store are served uncompressed, which is what their diff IDs are digests of: any daemon takes
them, and nothing is compressed only to be decompressed again.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from envbuild.errors import EnvbuildError
from envbuild.image.blobs import blob_chunks, layer_chunks, uncompressed
from envbuild.image.config import MANIFEST_TYPE
from envbuild.image.finding import Bring, LayersLost, all_here
from envbuild.image.model import Image, Layer
from envbuild.progress import Silent
from envbuild.store import Store

__all__ = ["Content", "Served", "serve", "serving"]

_TAG = "image"
_IDLE_SECONDS = 60
_TLS_HANDSHAKE = b"\x16"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")

# Below the name nobody can guess there may be another: who takes this for the mirror of a registry asks with
# the names that repositories have there, and says which registry it is.
_PATH = re.compile(r"/v2/([0-9a-f]+)(?:/[a-z0-9._/-]+)?/(manifests|blobs)/([A-Za-z0-9:._-]+)(?:\?ns=[^?&]*)?")

Content = tuple[int, Callable[[], Iterator[bytes]]]
"""A blob: its size in bytes, and what yields them."""


class Served:
    """An image while it is served.

    ``registry`` is ``127.0.0.1:<port>``; ``repository`` a name nobody can guess (other users of this
    machine can connect, too); ``tag`` the only tag; ``requests`` counts what was asked of this image;
    ``error`` is what went wrong while a blob was read or brought, if anything.

    Parameters:
        manifests: the media types of the manifests, by digest; the first has the tag.
        blobs: all that may be asked for, manifests included, by digest.
        sent: called with the number of bytes of every piece that was sent, from any thread.
    """

    def __init__(
        self, manifests: Mapping[str, str], blobs: Mapping[str, Content], sent: Callable[[int], None]
    ) -> None:
        self.repository = secrets.token_hex(16)
        self.tag = _TAG
        self.manifests = manifests
        self.blobs = blobs
        self.requests = 0
        self.error: EnvbuildError | LayersLost | None = None
        self.sent = sent
        self.registry = ""

    @property
    def reference(self) -> str:
        """What a daemon is told to pull."""
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def address(self) -> str:
        """Where what is asked of a registry can be asked of this one, for whatever repository."""
        return f"http://{self.registry}/v2/{self.repository}"


def serve(
    image: Image,
    store: Store,
    *,
    sent: Callable[[int], None] = lambda size: None,
    bring: Bring = all_here,
) -> AbstractContextManager[Served]:
    """Serve ``image``, which is in ``store``, on a free port of 127.0.0.1 while the block runs.

    Parameters:
        sent: called with the number of bytes of every piece that was sent, from any thread.
        bring: gets a layer that is asked for into the store.
    """
    plain = uncompressed(image, store)
    blobs: dict[str, Content] = {
        layer.diff_id: (layer.raw_size, partial(_layer_content, store, layer, bring))
        for layer in image.layers
    }
    for blob in (plain.config, plain.manifest):
        blobs[blob.digest] = (blob.size, partial(blob_chunks, store, blob.digest))
    return serving(Served({plain.manifest.digest: MANIFEST_TYPE}, blobs, sent))


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve on a free port of 127.0.0.1 while the block runs."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.served = served
        served.registry = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    served: Served

    def handle_error(self, request: object, client_address: object) -> None:
        """Daemons drop connections as they like; that is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: _Server
    raw_requestline: bytes

    def parse_request(self) -> bool:
        if self.raw_requestline[:1] == _TLS_HANDSHAKE:
            # Daemons try HTTPS first; containerd's goes on with HTTP only when the answer to its handshake
            # reads like HTTP.
            self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            self.close_connection = True
            return False
        return super().parse_request()

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def version_string(self) -> str:
        return "envbuild"

    def _answer(self, *, with_body: bool) -> None:
        served = self.server.served
        if self.path.rstrip("/") == "/v2":
            self._send(HTTPStatus.OK, {"Content-Type": "application/json"}, [b"{}"] if with_body else [], 2)
            return
        match = _PATH.fullmatch(self.path)
        if match is None or not hmac.compare_digest(match[1], served.repository):
            self._not_found()
            return
        served.requests += 1
        kind, digest = match[2], match[3]
        media_type: str | None = "application/octet-stream"
        if kind == "manifests":
            digest = next(iter(served.manifests)) if digest == served.tag else digest
            media_type = served.manifests.get(digest)
        if digest not in served.blobs or media_type is None:
            self._not_found()
            return
        self._blob(digest, media_type, with_body)

    def _blob(self, digest: str, media_type: str, with_body: bool) -> None:
        size, content = self.server.served.blobs[digest]
        first, last, status = 0, size - 1, HTTPStatus.OK
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest, "Accept-Ranges": "bytes"}
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is not None:
            first = int(wanted[1])
            last = min(int(wanted[2]), last) if wanted[2] else last
            if first > last:
                headers["Content-Range"] = f"bytes */{size}"
                self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers, [], 0)
                return
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        body = _part(content(), first, last + 1) if with_body else []
        self._send(status, headers, body, last + 1 - first)

    def _send(self, status: HTTPStatus, headers: dict[str, str], body: Iterable[bytes], size: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        try:
            for piece in body:
                self.wfile.write(piece)
                self.server.served.sent(len(piece))
        except (EnvbuildError, LayersLost) as error:
            self.server.served.error = error
            self.close_connection = True  # too short for its Content-Length: nobody will take it for whole
        except OSError:
            self.close_connection = True

    def _not_found(self) -> None:
        body = b'{"errors":[{"code":"NAME_UNKNOWN"}]}'
        self._send(
            HTTPStatus.NOT_FOUND,
            {"Content-Type": "application/json"},
            [] if self.command == "HEAD" else [body],
            len(body),
        )


def _layer_content(store: Store, layer: Layer, bring: Bring) -> Iterator[bytes]:
    bring([layer], Silent())  # whoever asked sees how far it is
    yield from layer_chunks(store, layer)


def _part(chunks: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    """The bytes from ``start`` (included) to ``end`` (excluded) of a stream; its end, too, when wanted.

    >>> b"".join(_part(iter([b"abc", b"def", b"gh"]), 2, 7))
    b'cdefg'
    """
    position = 0
    for chunk in chunks:
        piece = chunk[max(start - position, 0) : max(end - position, 0)]
        position += len(chunk)
        if piece:
            yield piece
        # Not stopping early at the very end lets the stream check its digest.
        if position > end:
            with suppress(AttributeError):
                chunks.close()  # type: ignore[attr-defined]
            return
