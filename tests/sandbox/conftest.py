from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.base.mirrors import find_mirrors
from envbuild.engine.machine import machine_engines
from envbuild.image.model import Image
from envbuild.pack.tar import directory, file, symlink
from envbuild.progress import Silent
from envbuild.sandbox.bubblewrap import BubblewrapSandbox
from envbuild.store import Store
from tests.support.images import host_image

PROGRAMS = (
    *("bash", "cat", "chgrp", "chmod", "chown", "cp", "date", "env", "head", "hostname", "id", "ln", "ls"),
    *("mkdir", "mkfifo", "mknod", "mv", "nproc", "readlink", "rm", "sleep", "stat", "touch", "tr", "sh"),
)
SYSTEM = (
    *(directory(name) for name in ("dev", "proc", "run", "tmp", "var/tmp", "root")),
    directory("home/jovyan"),
    directory("srv/repo"),
    file("srv/repo/notebook", b"cells\n", mode=0o666, uid=1000, gid=100),
    file("srv/env/lib/module.py", b"old = 1\n"),
    file("srv/env/lib/__pycache__/module.cpython-311.pyc", b"\xa7\r\r\n\x01\0\0\0compiled"),
    file("srv/env/lib/kept.py", b"kept = 1\n"),
    file("etc/passwd", b"root:x:0:0::/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n"),
    file("etc/group", b"root:x:0:\nusers:x:100:\n"),
    file("etc/first", b"1"),
    file("etc/second", b"2"),
    file("opt/many/one", b"1"),
    file("opt/many/two", b"2"),
    symlink("opt/link", "/etc"),
)


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("shared") / "cache")
    made.prepare()
    return made


@pytest.fixture(scope="session")
def image(shared_store: Store) -> Image:
    """An image of this machine's programs, with some files to change."""
    return host_image(shared_store, *PROGRAMS, added=SYSTEM)


@pytest.fixture(scope="session")
def bubblewrap(shared_store: Store) -> BubblewrapSandbox:
    """The sandbox as ``envbuild build`` has it."""
    mirrors = find_mirrors({}, at=datetime.now(UTC))
    engine = machine_engines(
        shared_store, mirrors=mirrors, environment={}, offline=False, reporter=Silent()
    ).bubblewrap
    reason = engine.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return BubblewrapSandbox(engine, shared_store, {})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a step's output goes."""
    return tmp_path / "log"
