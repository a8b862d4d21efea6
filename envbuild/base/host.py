"""Which platform this machine is."""

from __future__ import annotations

import platform
import sys

from envbuild.errors import MachineError

__all__ = ["host_platform", "platform_of"]

_HOSTS = {"x86_64": "linux/amd64", "amd64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}


def platform_of(machine: str) -> str | None:
    """The platform (``linux/amd64``) of what kernels and engines call ``machine`` (``x86_64``), or None."""
    return _HOSTS.get(machine.lower())


def host_platform() -> str:
    """This machine as a platform (``linux/amd64``).

    Raises:
        MachineError: Linux programs for none of our architectures run here.
    """
    machine = platform.machine()
    found = platform_of(machine)
    if not sys.platform.startswith("linux") or found is None:
        raise MachineError(
            f"bases cannot be run on this machine ({platform.system()} {machine}) to compile bytecode",
            code="unsupported-machine",
            remedy="run envbuild on Linux on x86-64 or aarch64, for example in a container",
        )
    return found
