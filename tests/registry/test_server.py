"""The loopback registry, asked by a plain HTTP client."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.image.blobs import layer_chunks
from envbuild.image.finding import LayersLost
from envbuild.image.model import Image, Layer
from envbuild.pack.tar import file
from envbuild.progress import Reporter
from envbuild.registry.server import Served, serve
from envbuild.store import Store
from tests.support.images import make_image
from tests.support.waiting import wait_until

LARGE = os.urandom(3_000_000)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def compression() -> str:
    return "zstd"


@pytest.fixture
def image(store: Store, compression: str) -> Image:
    layers = [[file("large", LARGE)], [file("small", b"x")]]
    return make_image(store, layers, compression=compression)


@pytest.fixture
def served(store: Store, image: Image) -> Iterator[Served]:
    with serve(image, store) as made:
        yield made


def ask(
    served: Served, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of a request for ``path`` below the image's repository."""
    connection = http.client.HTTPConnection(served.registry, timeout=20)
    try:
        connection.request(method, path.replace("REPO", f"/v2/{served.repository}"), headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_it_says_that_it_is_a_registry(served: Served) -> None:
    status, headers, _ = ask(served, "/v2/")
    assert (status, headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_the_image_can_be_pulled_uncompressed_with_its_own_id(served: Served, image: Image) -> None:
    status, headers, body = ask(served, f"REPO/manifests/{served.tag}")
    manifest = json.loads(body)
    assert (status, headers["Content-Type"], headers["Docker-Content-Digest"]) == (
        200,
        manifest["mediaType"],
        digest(body),
    )
    assert manifest["config"]["digest"] == image.image_id
    assert [layer["digest"] for layer in manifest["layers"]] == [layer.diff_id for layer in image.layers]
    for descriptor in (manifest["config"], *manifest["layers"]):
        status, headers, blob = ask(served, f"REPO/blobs/{descriptor['digest']}")
        assert (status, len(blob), digest(blob)) == (200, descriptor["size"], descriptor["digest"])
        assert headers["Content-Length"] == str(descriptor["size"])


def test_only_layers_that_are_asked_for_are_brought(store: Store, image: Image) -> None:
    elsewhere = {layer.digest: store.blob_path(layer.digest).read_bytes() for layer in image.layers}
    for name in elsewhere:
        store.blob_path(name).unlink()

    def bring(layers: Sequence[Layer], reporter: Reporter) -> None:
        for layer in layers:
            store.put_blob(elsewhere[layer.digest])

    with serve(image, store, bring=bring) as served:
        status, _, blob = ask(served, f"REPO/blobs/{image.layers[1].diff_id}")

    assert (200, image.layers[1].diff_id) == (status, digest(blob))
    assert [False, True] == [store.has_blob(layer.digest, layer.size) for layer in image.layers]


def test_a_layer_that_cannot_be_brought_ends_the_answer_and_is_told(store: Store, image: Image) -> None:
    def bring(layers: Sequence[Layer], reporter: Reporter) -> None:
        raise LayersLost

    with serve(image, store, bring=bring) as served:
        with pytest.raises(http.client.IncompleteRead):
            ask(served, f"REPO/blobs/{image.layers[1].diff_id}")

        assert isinstance(served.error, LayersLost)


def test_head_tells_the_size_and_sends_nothing(served: Served, image: Image) -> None:
    layer = image.layers[0]
    status, headers, body = ask(served, f"REPO/blobs/{layer.diff_id}", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(layer.raw_size), b"")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=1500000-", 1_500_000, None), ("bytes=10-99999999", 10, None)],
)
def test_a_broken_download_can_go_on(
    served: Served, store: Store, image: Image, asked: str, first: int, last: int | None
) -> None:
    layer = image.layers[0]
    raw = b"".join(layer_chunks(store, layer))
    end = len(raw) - 1 if last is None else last
    status, headers, body = ask(served, f"REPO/blobs/{layer.diff_id}", Range=asked)
    assert (status, headers["Content-Range"]) == (206, f"bytes {first}-{end}/{len(raw)}")
    assert body == raw[first : end + 1]


def test_a_range_beyond_the_end_is_refused(served: Served, image: Image) -> None:
    layer = image.layers[1]
    status, headers, _ = ask(served, f"REPO/blobs/{layer.diff_id}", Range=f"bytes={layer.raw_size}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{layer.raw_size}")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/_catalog",
        "/v2/guessed/manifests/image",
        "/v2/0123456789abcdef0123456789abcdef/manifests/image",
        "REPO/manifests/latest",
        "REPO/tags/list",
        "REPO/blobs/sha256:" + "0" * 64,
        "REPO/blobs/../../../../etc/passwd",
        "/etc/passwd",
    ],
)
def test_there_is_nothing_else(served: Served, path: str) -> None:
    assert ask(served, path)[0] == 404


def test_other_blobs_of_the_store_are_not_served(served: Served, store: Store) -> None:
    other = store.put_blob(b"another image's")
    assert ask(served, f"REPO/blobs/{other.digest}")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(served: Served, method: str) -> None:
    assert ask(served, "REPO/blobs/uploads/", method)[0] == 501


def test_what_was_sent_is_counted(store: Store, image: Image) -> None:
    sizes: list[int] = []
    with serve(image, store, sent=sizes.append) as served:
        _, _, body = ask(served, f"REPO/blobs/{image.layers[0].diff_id}")
        # The server counts a piece when it is out: the client may be faster.
        wait_until(lambda: sum(sizes) >= len(body), otherwise=lambda: sizes)
    assert sum(sizes) == len(body)


def test_a_damaged_blob_ends_the_answer_early_and_is_told(store: Store, image: Image, served: Served) -> None:
    store.blob_path(image.layers[0].digest).write_bytes(b"damaged")
    with pytest.raises(http.client.IncompleteRead):
        ask(served, f"REPO/blobs/{image.layers[0].diff_id}")
    assert isinstance(served.error, MachineError)


def test_names_cannot_be_guessed_and_ports_are_closed_afterwards(store: Store, image: Image) -> None:
    with serve(image, store) as first, serve(image, store) as second:
        assert (len(first.repository), first.repository != second.repository) == (32, True)
    host, port = first.registry.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_https_is_answered_in_a_way_that_makes_clients_try_http(served: Served) -> None:
    """Go says "server gave HTTP response to HTTPS client" only when the answer begins like this."""
    host, port = served.registry.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x0a" * 100)
        assert connection.recv(5) == b"HTTP/"
