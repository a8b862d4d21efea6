"""Environments from conda: a real channel, the real tools."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.conda_channel import install_packages
from tests.support.programs import output_of

pytestmark = [pytest.mark.network, pytest.mark.slow]


def test_the_real_python_runs_and_finds_what_is_installed(conda_channel: Path, tmp_path: Path) -> None:
    specs = ["python=3.11", "ipykernel", "numpy"]
    asyncio.run(install_packages(conda_channel.as_uri(), specs, "linux-64", tmp_path))

    program = "import ctypes, numpy, sqlite3, ssl, zmq; print(open('/proc/self/maps').read())"
    libraries = output_of("env", "-i", tmp_path / "prefix/bin/python", "-c", program)
    assert f"{tmp_path}/prefix/lib/libssl.so.3" in libraries
    assert f"{tmp_path}/prefix/lib/libsqlite3.so.0" in libraries
