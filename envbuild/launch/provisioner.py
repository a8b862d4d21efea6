"""The provisioner: applications that use jupyter_client show their users why a kernel does not start.

It is a thin layer over the program (:mod:`envbuild.launch.program`), which works without it. jupyter_client
loads it by the entry point `jupyter_client.kernel_provisioners`, when a kernelspec names it
(https://jupyter-client.readthedocs.io/en/stable/provisioning.html).
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from envbuild.launch.program import STARTED

__all__ = ["Provisioner"]

_LONGEST_MESSAGE = 1 << 16


class Provisioner(LocalProvisioner):
    """Starts ``envbuild-kernel`` and waits until the kernel's process runs."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """See :meth:`jupyter_client.provisioning.KernelProvisionerBase.launch_kernel`.

        Raises:
            RuntimeError: the kernel cannot be started; with the reason and the remedy.
        """
        reader, writer = os.pipe()
        try:
            try:
                program, *arguments = cmd
                info = await super().launch_kernel(
                    [program, "--status", str(writer), *arguments], pass_fds=(writer,), **kwargs
                )
            finally:
                os.close(writer)
            said = await asyncio.get_running_loop().run_in_executor(None, _read, reader)
        finally:
            os.close(reader)
        if said != STARTED:
            await self.wait()
            raise RuntimeError(f"envbuild: {said or 'the kernel did not start; the log says why'}")
        return info


def _read(handle: int) -> str:
    """Everything from a pipe until its other end is closed, by whatever closes it."""
    said = b""
    while len(said) < _LONGEST_MESSAGE and (more := os.read(handle, 4096)):
        said += more
    return said.decode("utf-8", "replace")
