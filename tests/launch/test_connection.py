"""Connection files, on their way into the image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.launch.connection import read_connection

PORTS = (4000, 4001, 4002, 4003, 4004)


def test_a_kernel_that_shares_our_network_listens_where_it_is_told(
    connection_file: Callable[..., Path],
) -> None:
    path = connection_file(ip="10.1.2.3", curve_publickey="p")

    connection = read_connection(path)

    assert json.loads(path.read_text()) == json.loads(connection.inside("127.0.0.1"))
    assert PORTS == connection.ports


def test_a_kernel_with_a_network_of_its_own_listens_on_all_of_it(
    connection_file: Callable[..., Path],
) -> None:
    path = connection_file()

    inside = json.loads(read_connection(path).inside("0.0.0.0"))

    assert {**json.loads(path.read_text()), "ip": "0.0.0.0"} == inside


def test_only_loopback_can_be_published(connection_file: Callable[..., Path]) -> None:
    connection = read_connection(connection_file(ip="10.1.2.3"))

    with pytest.raises(MachineError) as error:
        connection.inside("0.0.0.0")

    assert "kernel-address" == error.value.code


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"transport": "ipc"}, "kernel-transport"),
        ({"hb_port": 0}, "kernel-transport"),
        ({"shell_port": "x"}, "bad-connection-file"),
    ],
)
def test_what_cannot_be_reached_is_refused(
    connection_file: Callable[..., Path], values: dict[str, object], code: str
) -> None:
    with pytest.raises(MachineError) as error:
        read_connection(connection_file(**values))

    assert code == error.value.code
    assert error.value.remedy


@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff"])
def test_something_else_is_no_connection_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(MachineError) as error:
        read_connection(path)

    assert ("bad-connection-file", str(path)) == (error.value.code, error.value.file)
