"""Builds that do not get to their end: killed, interrupted, out of space."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Built
from tests.support.programs import Envbuild, require
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.network, pytest.mark.slow]

_BUILD = ("--locked", "--platform", "linux/amd64")
_KILLS = 4


def _processes_of(cache: Path) -> list[str]:
    """Command lines of running processes that were told to use this cache."""
    marker = f"ENVBUILD_CACHE_DIR={cache}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if line]


def _wait_for_no_process_of(cache: Path) -> None:
    wait_until(lambda: not _processes_of(cache), otherwise=lambda: _processes_of(cache))


def _blobs(cache: Path) -> list[Path]:
    """What a build has finished: when there are some, it is in the middle of its work."""
    return list(cache.glob("store-v1/blobs/sha256/*"))


def _leftovers(cache: Path) -> list[Path]:
    return sorted((cache / "tmp").iterdir())


def test_killed_builds_leave_a_usable_cache(built: Built, downloads_only: Callable[[str], Envbuild]) -> None:
    """SIGKILL at random moments: no process stays behind, and the next build is right."""
    program = downloads_only("killed")
    for _ in range(_KILLS):
        process = program.start("build", built.repository, *_BUILD)
        time.sleep(random.uniform(0.3, 4))
        process.kill()
        process.communicate()
        _wait_for_no_process_of(program.cache)
    document = program.document("build", built.repository, *_BUILD)
    assert built.document["digest"] == document["digest"]


def test_interrupted_build_cleans_up(built: Built, downloads_only: Callable[[str], Envbuild]) -> None:
    """Ctrl-C: exit code 130, one line, no process, no unfinished file; the next build is right."""
    program = downloads_only("interrupted")
    process = program.start("build", built.repository, *_BUILD)
    wait_until(lambda: process.poll() is not None or len(_blobs(program.cache)) > 2)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=600)
    assert 130 == process.returncode, messages
    assert "Traceback" not in messages
    _wait_for_no_process_of(program.cache)
    assert [] == _leftovers(program.cache)
    document = program.document("build", built.repository, *_BUILD)
    assert built.document["digest"] == document["digest"]


@pytest.fixture(params=[10, 60, 100])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system with too little space, in megabytes: for indexes, the interpreter, the layers."""
    require("mount", "umount", root=True)
    options = f"size={request.param}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)], check=True)
    yield tmp_path
    # What still ends at this moment cannot keep it busy.
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_full_disk_is_this_machines_lack(built: Built, small_disk: Path) -> None:
    """Exit code 3, and the remedy names the cache."""
    done = Envbuild(small_disk / "cache").run("build", built.repository, *_BUILD, "--json")
    document = json.loads(done.stdout)
    assert (3, 3) == (done.returncode, document["exit_code"]), document
    assert "space" in document["message"]
    assert document["remedy"]
    assert "Traceback" not in done.stderr
    assert [] == _leftovers(small_disk / "cache")
