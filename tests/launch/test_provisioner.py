"""The provisioner in jupyter_client, with a program of the test's in the place of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

# As the real one: `--status DESCRIPTOR` comes first, and is closed by the end at the latest.
PROGRAM = """\
#!{python}
import os, sys, time
assert sys.argv[1] == "--status"
os.write(int(sys.argv[2]), {said!r}.encode())
os.close(int(sys.argv[2]))
time.sleep({seconds})
"""


def _manager(tmp_path: Path, said: str, seconds: float) -> KernelManager:
    program = tmp_path / "program"
    program.write_text(PROGRAM.format(python=sys.executable, said=said, seconds=seconds))
    program.chmod(0o755)
    spec = {
        "argv": [str(program), "{connection_file}"],
        "display_name": "Python (project)",
        "language": "python",
        "metadata": {"kernel_provisioner": {"provisioner_name": "envbuild"}},
    }
    (tmp_path / "kernels" / "project").mkdir(parents=True)
    (tmp_path / "kernels" / "project" / "kernel.json").write_text(json.dumps(spec))
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    return KernelManager(
        kernel_name="project", kernel_spec_manager=specs, connection_file=str(tmp_path / "connection.json")
    )


def test_jupyter_finds_it_and_starts_the_kernel(tmp_path: Path) -> None:
    manager = _manager(tmp_path, "started", 60)
    manager.start_kernel()
    try:
        assert "Provisioner" == type(manager.provisioner).__name__
        assert manager.is_alive()
    finally:
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no lock; make one", "envbuild: no lock; make one"),
        ("", "envbuild: the kernel did not start; the log says why"),
    ],
)
def test_an_error_reaches_the_user_of_the_application(tmp_path: Path, said: str, shown: str) -> None:
    manager = _manager(tmp_path, said, 0)

    with pytest.raises(RuntimeError) as error:
        manager.start_kernel()

    assert shown == str(error.value)
    manager.cleanup_resources()
