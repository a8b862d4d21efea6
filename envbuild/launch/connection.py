"""Connection files: which ports a kernel listens on, and the key that messages are signed with.

Format: "Connection files" of https://jupyter-client.readthedocs.io/en/stable/kernels.html.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import MachineError

__all__ = ["Connection", "read_connection"]

_PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
_LARGEST = 1 << 20
_LOOPBACK = frozenset({"", "127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Connection:
    """What a connection file says; ``ports`` are TCP ports of the address ``ip``."""

    values: dict[str, Any]
    ip: str
    ports: tuple[int, ...]

    def inside(self, listen_address: str) -> bytes:
        """The file for the kernel in an image.

        Parameters:
            listen_address: :attr:`envbuild.engine.model.Engine.listen_address`. Where that is this machine's
                own loopback, the kernel shares the network, and listens where the application says.

        Raises:
            MachineError: the application wants the kernel to listen on an address that the engine cannot
                publish.
        """
        if listen_address == "127.0.0.1":
            return json.dumps(self.values).encode()
        if self.ip not in _LOOPBACK:
            raise MachineError(
                f"the kernel is to listen on {self.ip}, and this engine publishes ports on 127.0.0.1 only",
                code="kernel-address",
                remedy="install the kernel with --engine bubblewrap, or set `KernelManager.ip` to 127.0.0.1",
            )
        return json.dumps({**self.values, "ip": listen_address}).encode()


def read_connection(path: Path) -> Connection:
    """Read the connection file that an application has written for a kernel.

    Raises:
        MachineError: it cannot be read, or the connection is not over TCP.
    """
    try:
        with path.open("rb") as stream:
            values = json.loads(stream.read(_LARGEST))
        transport = values.get("transport", "tcp")
        ip = str(values.get("ip", ""))
        ports = tuple(int(values[name]) for name in _PORTS)
    except OSError as error:
        raise _bad(path, error.strerror or "it cannot be read") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _bad(path, "it is not one") from error
    if transport != "tcp" or not all(0 < port < 65536 for port in ports):
        raise MachineError(
            f"the application wants to talk to the kernel over {str(transport)[:20]!r} on fixed places"
            if transport != "tcp"
            else "the application has not chosen the kernel's ports",
            code="kernel-transport",
            remedy="set `KernelManager.transport` to tcp, which is Jupyter's default",
        )
    return Connection(values, ip, ports)


def _bad(path: Path, why: str) -> MachineError:
    return MachineError(
        f"the connection file cannot be used: {why}",
        code="bad-connection-file",
        file=str(path),
        remedy="start the kernel from Jupyter, which writes the file",
    )
