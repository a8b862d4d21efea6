"""The program that kernelspecs start, with an engine of the test's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from envbuild.errors import EnvbuildError
from envbuild.launch import program
from envbuild.launch.prepared import Prepared, lock_digest, write_prepared
from envbuild.store import Store
from tests.launch.conftest import PYTHON
from tests.launch.test_attend import handlers  # noqa: F401
from tests.support.engines import EMPTY_IMAGE, FakeEngine


class Kernel:
    """Runs the program in a repository for which a kernel is prepared."""

    def __init__(self, store: Store, repository: Path, connection_file: Path, engine: FakeEngine) -> None:
        self.store, self.repository, self.engine = store, repository, engine
        self._connection_file = connection_file

    def prepare(self, **changes: object) -> None:
        prepared = Prepared(
            "project",
            self.repository,
            lock_digest(self.repository),
            "fake",
            asdict(EMPTY_IMAGE),
            None,
            (PYTHON,),
        )
        write_prepared(self.store, "key", replace(prepared, **changes))  # type: ignore[arg-type]

    def __call__(self, name: str = "project") -> tuple[int, str]:
        """The exit code, and what was told to the provisioner."""
        reader, writer = os.pipe()
        arguments = (str(self._connection_file), name, "key", str(self.store.root), str(self.repository))
        code = program.run(["--status", str(writer), *arguments])
        with os.fdopen(reader) as told:
            return code, told.read()


@pytest.fixture
def kernel(
    store: Store, tmp_path: Path, connection_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kernel]:
    repository = tmp_path / "repository"
    (repository / "sub").mkdir(parents=True)
    (repository / "envbuild.lock").write_text("one")
    engine = FakeEngine(lambda command: "raise SystemExit(3)")
    monkeypatch.setattr(
        program,
        "_launcher",
        lambda prepared, store: (lambda command: engine.start(EMPTY_IMAGE, command), engine.listen_address),
    )
    monkeypatch.chdir(repository / "sub")
    yield Kernel(store, repository, connection_file(), engine)


def test_the_kernel_runs_in_the_notebooks_directory_with_nothing_of_ours(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", "/home/me/startup.py")
    kernel.prepare()

    assert (3, "started") == kernel()

    (command,) = kernel.engine.commands
    inside = f"{program.EXCHANGE}/connection.json"
    assert ("python3", "-m", "ipykernel_launcher", "-f", inside) == command.argv
    assert ("/srv/repo/sub", True, (4000, 4001, 4002, 4003, 4004)) == (
        command.workdir,
        command.tied,
        command.ports,
    )
    assert "image" == command.env["MODE"]
    assert not {"HOME", "PATH", "PYTHONSTARTUP", "JUPYTER_DATA_DIR"} & command.env.keys()
    assert "envbuild: the kernel died: exit code 3\n" == capfd.readouterr().err
    assert [] == list(kernel.store.tmp.iterdir())


def test_the_kernel_reads_its_connection_file_in_a_directory_of_its_own(kernel: Kernel) -> None:
    """Some kernels replace the file, and none is to see those of others beside it."""
    kernel.prepare()
    seen: list[dict[str, object]] = []

    def look(command: object) -> str:
        (mount,) = (one for one in kernel.engine.commands[0].mounts if one.target == program.EXCHANGE)
        seen.append(json.loads((mount.source / "connection.json").read_text()))
        seen.append({"names": [path.name for path in mount.source.iterdir()], "writable": mount.writable})
        return ""

    kernel.engine._program = look
    kernel()

    assert "k" == seen[0]["key"]
    assert {"names": ["connection.json"], "writable": True} == seen[1]


def test_it_follows_the_lock(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kernel.prepare()
    (kernel.repository / "envbuild.lock").write_text("two")
    called: list[Sequence[str]] = []

    def prepare(arguments: Sequence[str]) -> None:
        called.append(arguments)
        kernel.prepare()

    monkeypatch.setattr(program, "_prepare", prepare)

    assert (3, "started") == kernel()

    assert [
        ["kernel", "prepare", "--key", "key", "--cache-dir", str(kernel.store.root), str(kernel.repository)]
    ] == called
    assert "has changed" in capfd.readouterr().err
    kernel()
    assert 1 == len(called)


def test_what_goes_wrong_is_said_in_one_sentence_with_a_remedy(
    kernel: Kernel, capfd: pytest.CaptureFixture[str]
) -> None:
    kernel.prepare()

    code, told = kernel("project-ir")

    assert (1, f"envbuild: {told}\n") == (code, capfd.readouterr().err)
    remedy = f"run `envbuild kernel install {kernel.repository}` again"
    assert f"the image has no kernel 'project-ir' any more; {remedy}" == told


def test_errors_of_preparing_come_through(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `envbuild kernel prepare --json` prints, with its exit code."""
    document = {
        "error": "x",
        "message": "out of date",
        "file": "envbuild.lock",
        "remedy": "run `envbuild lock`",
    }
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps(document)}'; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    assert (1, "envbuild.lock: out of date; run `envbuild lock`") == kernel()


def test_an_error_keeps_its_exit_code(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: Sequence[str]) -> None:
        error = EnvbuildError("no", code="no")
        error.exit_code = 4
        raise error

    monkeypatch.setattr(program, "_prepare", fail)
    assert (4, "no") == kernel()


def test_it_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == program.run([])
    assert "started by Jupyter" in capsys.readouterr().err
