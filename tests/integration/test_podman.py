"""``--engine podman`` as people without rights use it: rootless, with the service that envbuild starts."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.store import Store
from tests.integration.conftest import Built
from tests.support.podman import ROOTLESS_USER, Podman, podman, podman_missing
from tests.support.programs import Envbuild, output_of, skip_for

pytestmark = [pytest.mark.network, pytest.mark.docker]

_OPTIONS = ("--engine", "podman", "--locked")
_LAST_SECONDS = 300  # processes that were told to end need not be gone at once


@pytest.fixture(scope="module")
def rootless() -> Iterator[Podman]:
    """A podman of a user without rights."""
    skip_for(podman_missing(rootless=True))
    with podman(rootless=True) as started:
        yield started


@pytest.fixture(scope="module")
def home(built: Built, scratch: Path, envbuild: Envbuild) -> Path:
    """The user's files: the repository, and a cache with the layers of the image in it."""
    home = scratch / "podman"
    repository = home / built.repository.name
    shutil.copytree(built.repository, repository)
    shared, own = Store(envbuild.cache), Store(home / "cache")
    shutil.copytree(shared.actions, own.actions)
    shutil.copytree(built.layout / "blobs", own.blobs.parent, copy_function=os.link)
    for path in (home, *home.rglob("*")):
        if path.is_dir() or repository in path.parents:
            shutil.chown(path, ROOTLESS_USER, ROOTLESS_USER)
    return home


@pytest.fixture(scope="module")
def user(rootless: Podman, home: Path, program_for_others: Path) -> Envbuild:
    """The program as the user runs it."""
    return Envbuild(home / "cache", program_for_others, rootless.prefix, rootless.environment)


@pytest.fixture(scope="module")
def repository(home: Path, built: Built) -> Path:
    """The user's repository."""
    return home / built.repository.name


def _left(rootless: Podman) -> tuple[list[str], list[str]]:
    """Containers, and processes of the user's that stay, besides the one that podman itself keeps."""
    containers = rootless.output("ps", "--all", "--quiet").split()
    deadline = time.monotonic() + _LAST_SECONDS
    while (running := _processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return containers, running


def _processes() -> list[str]:
    listed = output_of("ps", "-e", "-o", "user:40=,args=").splitlines()
    theirs = [line.split(None, 1)[1] for line in listed if line.split()[0] == ROOTLESS_USER]
    return [line for line in theirs if not re.fullmatch(r"(\S*/)?podman|catatonit -P|.*<defunct>", line)]


def test_a_notebook_runs(user: Envbuild, rootless: Podman, repository: Path) -> None:
    """What it writes belongs to the user, and nothing is left."""
    done = user.run("run", repository, "analysis.ipynb", *_OPTIONS)
    assert 0 == done.returncode, done.stderr
    assert "engine: podman" in done.stderr
    result = repository / "analysis.executed.ipynb"
    outputs = [
        output for cell in json.loads(result.read_text())["cells"] for output in cell.get("outputs", ())
    ]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert repository.stat().st_uid == result.stat().st_uid
    assert ([], []) == _left(rootless)


def test_files_of_a_command_belong_to_the_user(user: Envbuild, repository: Path) -> None:
    """Both ways: what is there can be changed, what is new is theirs."""
    (repository / "old").write_text("old\n")
    shutil.chown(repository / "old", ROOTLESS_USER, ROOTLESS_USER)
    script = "echo new >> old; mkdir -p made; echo new > made/file; exit 7"
    done = user.run("run", repository, *_OPTIONS, "--", "sh", "-c", script)
    assert 7 == done.returncode, done.stderr
    assert "old\nnew\n" == (repository / "old").read_text()
    owner = (repository.stat().st_uid, repository.stat().st_gid)
    made = [(repository / name).stat() for name in ("old", "made", "made/file")]
    assert [owner] * 3 == [(status.st_uid, status.st_gid) for status in made]


def test_a_shell_gets_a_terminal_and_standard_input(
    user: Envbuild, rootless: Podman, repository: Path
) -> None:
    """``run -- bash`` on a terminal: what is typed arrives, Ctrl-C goes to the shell and not to envbuild."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        user.command("run", repository, *_OPTIONS, "--", "bash", "--norc"),
        env=user.variables(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""

    def wait_for(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([ours], [], [], 600)[0], seen
            seen += os.read(ours, 1 << 16)

    os.write(ours, b"echo $((40 + 2))@; tty\n")
    wait_for(b"42@")
    wait_for(b"/dev/pts/")
    # Who says 44 has the terminal already: an earlier Ctrl-C would be the outer shell's.
    os.write(ours, b"sh -c 'echo $((43 + 1))@; exec sleep 1000'\n")
    wait_for(b"44@")
    os.write(ours, b"\x03")
    wait_for(b"^C")  # which throws away what was typed before
    os.write(ours, b"echo $((50 + 1))@; exit 5\n")
    wait_for(b"51@")
    assert 5 == process.wait(600)
    os.close(ours)
    assert ([], []) == _left(rootless)


def test_the_server_answers_and_ctrl_c_ends_it(user: Envbuild, rootless: Podman, repository: Path) -> None:
    """The port is published on 127.0.0.1; after Ctrl-C nothing is left."""
    process = user.start("up", repository, *_OPTIONS, "--no-browser")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), process.communicate()
    address, _, token = url.partition("/lab?token=")
    with urllib.request.urlopen(f"{address}/api/contents?token={token}", timeout=600) as answer:
        names = {entry["name"] for entry in json.load(answer)["content"]}
    assert "analysis.ipynb" in names
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=600)
    assert 0 == process.returncode, messages
    assert ([], []) == _left(rootless)


def test_a_user_without_subordinate_ids_is_told(nobody: Envbuild, rootless: Podman, built: Built) -> None:
    """``nobody`` has none: the message has the command that gives some."""
    done = nobody.run("run", built.repository, *_OPTIONS, "--", "true")
    assert 3 == done.returncode
    assert "usermod --add-subuids" in done.stderr
