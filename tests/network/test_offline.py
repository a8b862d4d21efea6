"""While it is in force, nothing in this process reaches another machine."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from envbuild.errors import RemoteError
from envbuild.fetch import http_client
from envbuild.network.offline import no_network
from tests.support.index import Index


def test_other_machines_are_refused_by_name() -> None:
    with no_network(), socket.socket() as client, pytest.raises(RemoteError) as caught:
        client.connect(("192.0.2.1", 80))
    assert "offline" == caught.value.code
    with no_network(), pytest.raises(RemoteError, match=r"it needs something from example\.invalid$"):
        socket.getaddrinfo("example.invalid", 80)


def test_datagrams_too() -> None:
    with no_network(), socket.socket(type=socket.SOCK_DGRAM) as sender, pytest.raises(RemoteError):
        sender.sendto(b"x", ("192.0.2.1", 53))


def test_clients_do_not_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with no_network(), http_client() as client, pytest.raises(RemoteError):
        client.get("http://example.invalid/")


def test_this_machine_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.chdir(tmp_path)  # the name of a socket must not be long
    with Index() as index, no_network(), http_client() as client:
        assert 404 == client.get(index.base).status_code
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as peer:
            server.bind("s")
            server.listen()
            peer.connect("s")


def test_threads_are_not_left_out() -> None:
    caught: list[Exception] = []

    def reach() -> None:
        try:
            socket.getaddrinfo("example.invalid", 80)
        except Exception as error:
            caught.append(error)

    with no_network():
        thread = threading.Thread(target=reach)
        thread.start()
        thread.join()
    assert [RemoteError] == [type(error) for error in caught]


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with no_network():
        pass
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", 9))
    with pytest.raises(OSError):
        socket.getaddrinfo("example.invalid", 80)
