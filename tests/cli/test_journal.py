"""Lines for machines: what `--log-format json` writes to stderr."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.console import Console
from envbuild.cli.main import run
from envbuild.errors import RemoteError, RepoError
from envbuild.observation import FinishedStage, Observation

_BUILD = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    before = list(logging.getLogger().handlers)
    yield
    logging.captureWarnings(False)
    logging.getLogger().handlers[:] = before


def _console(**options: Any) -> tuple[Console, io.StringIO]:
    stderr = io.StringIO()
    observation = Observation(_BUILD, "build")
    console = Console(
        log_format="json",
        observation=observation,
        environment={},
        stdout=io.StringIO(),
        stderr=stderr,
        **options,
    )
    return console, stderr


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_says_when_who_and_what() -> None:
    console, stderr = _console()

    console.warn("look out")

    (line,) = _lines(stderr.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert {
        "level": "warning",
        "build": _BUILD,
        "phase": "build",
        "event": "warning",
        "message": "look out",
    } == line


def test_stages_tell_seconds_and_amounts() -> None:
    console, stderr = _console()

    with console.stage("fetch") as stage:
        stage.add_total(300)
        stage.advance(100, cached=True)
        stage.advance(200)
        console.note("a thought")

    begin, note, end = _lines(stderr.getvalue())
    assert ("stage-begin", "fetch") == (begin["event"], begin["phase"])
    assert ("note", "fetch") == (note["event"], note["phase"])
    assert {"unit": "B", "done": 300, "cached": 100, "total": 300} == {
        key: end[key] for key in ("unit", "done", "cached", "total")
    }
    assert end["seconds"] >= 0
    assert "error" not in end


def test_a_stage_that_fails_names_the_error() -> None:
    console, stderr = _console()

    with pytest.raises(RemoteError), console.stage("push"):
        raise RemoteError("no", code="registry-refused")

    assert "registry-refused" == _lines(stderr.getvalue())[-1]["error"]
    (stage,) = console.observation.stages
    assert ("push", "registry-refused") == (stage.name, stage.failure)
    assert isinstance(stage, FinishedStage)


def test_an_error_has_its_code_and_remedy() -> None:
    console, stderr = _console(debug=True)

    console.error(
        RepoError("no such", code="no-such-package", file="requirements.txt", line=3, remedy="correct it")
    )

    (line,) = _lines(stderr.getvalue())
    assert line.pop("traceback").startswith("envbuild.errors.RepoError: ")
    assert ("error", "no such", "no-such-package", "requirements.txt", 3, "correct it", 1) == tuple(
        line[key] for key in ("level", "message", "error", "file", "line", "remedy", "exit_code")
    )


def test_what_is_known_is_on_every_line_that_follows() -> None:
    console, stderr = _console()

    console.note("before")
    console.identify(environment="env-0123", digest=None)
    console.note("after")

    before, after = _lines(stderr.getvalue())
    assert "environment" not in before
    assert "env-0123" == after["environment"]
    assert "digest" not in after


def test_credentials_are_in_no_field() -> None:
    console, stderr = _console(debug=True)
    secret = "https://me:hunter2@example.org/x?token=hunter2"

    console.note(secret)
    console.identify(source=secret)
    console.event("x", event="x", nested={"list": [secret]})
    console.error(RepoError(secret, code="x", detail=secret, remedy=secret, file=secret))
    with console.stage(secret):
        pass

    assert 5 == len(_lines(stderr.getvalue()))
    assert "hunter2" not in stderr.getvalue()


@pytest.mark.parametrize("text", ["a\nb", "a\u2028b", "\udcff", '"', "\x1b[2J"])
def test_a_line_stays_one_line(text: str) -> None:
    console, stderr = _console()

    console.note(text)

    assert 1 == len(stderr.getvalue().splitlines())
    assert text == json.loads(stderr.getvalue())["message"]


def test_lines_of_threads_do_not_mix() -> None:
    class Slow(io.StringIO):
        """As a pipe may be: each write is one, and others run in between."""

        def __init__(self) -> None:
            super().__init__()
            self.writes: list[str] = []

        def write(self, text: str) -> int:
            self.writes.append(text)
            return len(text)

    slow = Slow()
    console = Console(log_format="json", environment={}, stdout=io.StringIO(), stderr=slow)

    def work(number: int) -> None:
        with console.stage(f"stage{number}") as stage:
            for _ in range(20):
                stage.advance(1)
                console.note("x" * 2000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 8 * 22 == len(slow.writes)
    assert all(text.endswith("\n") and json.loads(text) for text in slow.writes)


def test_what_libraries_say_is_lines_too() -> None:
    console, stderr = _console()

    logging.getLogger("urllib3").warning("retrying https://me:hunter2@example.org")
    logging.getLogger("urllib3").info("of no interest")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    said, warned = _lines(stderr.getvalue())
    assert ("library", "urllib3", "warning") == (said["event"], said["logger"], said["level"])
    assert "retrying https://***@example.org" == said["message"]
    assert "py.warnings" == warned["logger"]
    assert console.observation.stages == []


def test_quiet_leaves_warnings_and_errors() -> None:
    console, stderr = _console(quiet=True)

    with console.stage("fetch"):
        console.note("a thought")
        console.warn("look out")
    console.event("ended", event="end")

    assert ["look out"] == [line["message"] for line in _lines(stderr.getvalue())]


@pytest.mark.parametrize("way", ["option", "joined", "variable"])
def test_a_run_is_lines_from_begin_to_end(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENVBUILD_BUILD_ID", _BUILD)
    arguments = {"option": ["--log-format", "json"], "joined": ["--log-format=json"], "variable": []}[way]
    if way == "variable":
        monkeypatch.setenv("ENVBUILD_LOG_FORMAT", "json")

    code = run(["plan", str(tmp_path / "none"), *arguments])

    lines = _lines(capsys.readouterr().err)
    assert ["begin", "error", "end"] == [line["event"] for line in lines]
    assert {_BUILD} == {line["build"] for line in lines}
    assert ("plan", code) == (lines[-1]["verb"], lines[-1]["exit_code"])


def test_wrong_usage_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    run(["plan", "--bogus", "--log-format", "json"])

    assert ["error", "end"] == [line["event"] for line in _lines(capsys.readouterr().err)]


@pytest.mark.parametrize("given", ["x", _BUILD.upper(), _BUILD + "0", "../" + _BUILD[3:], _BUILD + "\n"])
def test_a_build_id_is_checked(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENVBUILD_BUILD_ID", given)

    assert 2 == run(["plan", "--log-format", "json"])

    error, end = _lines(capsys.readouterr().err)
    assert "bad-build-id" == error["error"]
    assert given not in (error["build"], end["build"])


def test_every_run_has_an_id_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        run(["plan", str(tmp_path / "none"), "--log-format", "json"])

    assert 2 == len({line["build"] for line in _lines(capsys.readouterr().err)})
