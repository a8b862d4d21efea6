"""How the command line ends: exit codes, and what is said about it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.main import run
from envbuild.errors import DamagedError, MachineError, RemoteError, RepoError, UsageError


def _failing_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException) -> None:
    """Make ``envbuild cache list`` raise ``error``."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("envbuild.cli.cache_documents.cache_document", fail)
    monkeypatch.setenv("ENVBUILD_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RepoError("x", code="x"), 1),
        (UsageError("x", code="x"), 2),
        (MachineError("x", code="x"), 3),
        (RemoteError("x", code="x"), 4),
        (ZeroDivisionError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
) -> None:
    _failing_with(monkeypatch, tmp_path, error)

    exit_code = run(["cache", "list", "--json"])

    shown = capsys.readouterr()
    assert code == exit_code
    assert code == json.loads(shown.out)["exit_code"]
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err


def test_what_was_damaged_in_the_cache_is_made_anew_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same once more, with a word about why."""
    results = [DamagedError("the blob x was damaged and has been removed", code="damaged-cache"), None]

    def list_once_more(*_: object) -> dict[str, Any]:
        error = results.pop(0)
        if error is not None:
            raise error
        return {"images": [], "parts": {}, "size": 0}

    monkeypatch.setattr("envbuild.cli.cache_documents.cache_document", list_once_more)
    monkeypatch.setenv("ENVBUILD_CACHE_DIR", str(tmp_path))

    assert 0 == run(["cache", "list"])
    assert "warning: the blob x was damaged and has been removed: making it anew\n" == capsys.readouterr().err


def test_what_stays_damaged_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _failing_with(monkeypatch, tmp_path, DamagedError("the blob x is missing", code="missing-blob"))

    assert (3, 1) == (run(["cache", "list"]), capsys.readouterr().err.count("error: the blob x is missing"))


def test_unexpected_error_shows_its_traceback_with_debug(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _failing_with(monkeypatch, tmp_path, ZeroDivisionError("by nought"))

    run(["cache", "list", "--debug"])

    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "error: internal error: ZeroDivisionError: by nought\n" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cache"], "error: missing command\n"),
        (["hub"], "error: missing command\n"),
        (["warm"], "error: missing command\n"),
        (["cahce"], "error: no such command 'cahce'; did you mean 'cache'?"),
        (["cache", "list", "--jsno"], "error: no such option"),
        (["cache", "prune", "--older-than", "soon"], "'soon' is not an age like 30d, 12h or 2w"),
        (["hub", "config", "fleet.toml"], "'--format'. Choose from: dockerspawner, kubespawner, z2jh\n"),
        (["cache", "prune", "--max-size", "much"], "'much' is not a size like 500M, 10G or 10GiB"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(arguments)

    shown = capsys.readouterr()
    assert (2, "") == (code, shown.out)
    assert message in shown.err


def test_wrong_usage_is_a_document_under_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["build", "--json", "--no-such-option"])

    document = json.loads(capsys.readouterr().out)
    assert (2, "usage", 2) == (code, document["error"], document["exit_code"])


@pytest.mark.parametrize("said", ["json", "yaml"])
def test_without_arguments_there_is_help(
    said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENVBUILD_LOG_FORMAT", said)

    assert 0 == run([])
    assert capsys.readouterr().out.startswith("Usage: ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["--version"])

    assert capsys.readouterr().out.startswith("envbuild ")


_WAITING = (
    "import sys, time, os\n"
    "import envbuild.cli.cache_documents as cache_documents\n"
    "from envbuild.__main__ import main\n"
    "def wait(*_):\n"
    "    try:\n"
    "        os.write(1, b'ready')\n"
    "        time.sleep(60)\n"
    "    finally:\n"
    "        os.write(1, b' cleaned')\n"
    "cache_documents.cache_document = wait\n"
    "sys.argv[1:] = ['cache', 'list']\n"
    "main()\n"
)


def _start_waiting(tmp_path: Path, *ignored: signal.Signals) -> subprocess.Popen[bytes]:
    """``envbuild cache list`` that does not end by itself and has just begun, with these signals ignored."""

    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", _WAITING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "ENVBUILD_CACHE_DIR": str(tmp_path)},
        preexec_fn=prepare,
    )
    assert process.stdout is not None
    assert b"ready" == process.stdout.read(5)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """One line, exit code 130, and `finally` blocks run."""
    process = _start_waiting(tmp_path)

    process.send_signal(number)
    out, err = process.communicate(timeout=300)

    assert (b" cleaned", b"error: interrupted\n", 130) == (out, err, process.returncode)


# Whatever is imported while the command line is: with an exception that is lost, as in a weak reference's
# callback, and without.
_INTERRUPTED_IMPORT = """\
import importlib.abc, os, signal, sys

class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass
            except {ignored}:
                sys.stderr.write("Exception ignored")

sys.meta_path.insert(0, Interrupting())
sys.argv[1:] = ["cache", "path"]
from envbuild.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["envbuild.cli.main", "click"])
@pytest.mark.parametrize("ignored", ["()", "KeyboardInterrupt"])
def test_an_interrupt_while_python_imports_is_as_quiet(module: str, ignored: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_IMPORT.format(module=module, ignored=ignored)],
        capture_output=True,
        check=False,
    )

    assert (130, b"", b"") == (done.returncode, done.stdout, done.stderr)


def test_who_ignores_interrupts_is_not_interrupted(tmp_path: Path) -> None:
    """As a shell has it for what runs in the background."""
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_IMPORT.format(module="click", ignored="()")],
        capture_output=True,
        env={**os.environ, "ENVBUILD_CACHE_DIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        check=False,
    )

    assert (0, f"{tmp_path}\n") == (done.returncode, done.stdout.decode())


def test_nohup_is_respected(tmp_path: Path) -> None:
    process = _start_waiting(tmp_path, signal.SIGHUP)

    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "envbuild", "cache", "path"],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "ENVBUILD_CACHE_DIR": str(tmp_path)},
            timeout=300,
        )
    finally:
        os.close(writer)

    assert (141, b"") == (result.returncode, result.stderr)
