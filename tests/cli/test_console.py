"""What reaches the user, and on which stream."""

from __future__ import annotations

import io
import json
import os
import re
from typing import Any

import pytest

from envbuild.cli.console import Console
from envbuild.errors import MachineError, RepoError


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def _console(stream: io.StringIO | None = None, **options: Any) -> tuple[Console, io.StringIO, io.StringIO]:
    stdout, stderr = io.StringIO(), stream or io.StringIO()
    environment = options.pop("environment", {"TERM": "xterm"})
    return Console(environment=environment, stdout=stdout, stderr=stderr, **options), stdout, stderr


def test_results_go_to_stdout_and_notes_to_stderr() -> None:
    console, stdout, stderr = _console()

    console.result("one", "two")
    console.note("by the way")
    console.warn("look out")

    assert ("one\ntwo\n", "by the way\nwarning: look out\n") == (stdout.getvalue(), stderr.getvalue())


def test_json_is_the_only_thing_on_stdout() -> None:
    console, stdout, _ = _console(machine=True)

    console.result("for people")
    console.document({"answer": 42})

    assert {"answer": 42} == json.loads(stdout.getvalue())


def test_without_json_no_document_is_printed() -> None:
    console, stdout, _ = _console()

    console.document({"answer": 42})

    assert "" == stdout.getvalue()


def test_error_names_place_reason_and_remedy() -> None:
    console, stdout, stderr = _console()

    console.error(
        RepoError(
            "there is no package 'nmpy'",
            code="no-such-package",
            file="requirements.txt",
            line=3,
            remedy="correct the name",
            detail="because nmpy was not found\nin the index",
        )
    )

    assert "" == stdout.getvalue()
    assert (
        "error: requirements.txt:3: there is no package 'nmpy'\n"
        "    because nmpy was not found\n"
        "    in the index\n"
        "  help: correct the name\n"
    ) == stderr.getvalue()


def test_error_under_json_is_one_document() -> None:
    console, stdout, stderr = _console(machine=True)

    console.error(MachineError("no space left", code="disk-full", remedy="make some"))

    assert {
        "error": "disk-full",
        "message": "no space left",
        "file": None,
        "line": None,
        "remedy": "make some",
        "detail": None,
        "exit_code": 3,
    } == json.loads(stdout.getvalue())
    assert stderr.getvalue().startswith("error: no space left")


def test_text_of_strangers_cannot_steer_the_terminal() -> None:
    console, stdout, stderr = _console()

    console.result("a\x1b]0;title\x07b")
    console.note("c\u202ed\r")
    console.error(RepoError("\x1b[2J", code="x", file="e\n\udcff", detail="\x1b[31mred\x1b[0m\x07"))

    assert "a\\x1b]0;title\\x07b\n" == stdout.getvalue()
    assert "c\\u202ed\\r\nerror: e\\n\\xff: \\x1b[2J\n    red\\x07\n" == stderr.getvalue()


def test_credentials_never_reach_the_screen() -> None:
    console, _, stderr = _console(debug=True)

    console.error(RepoError("no answer from https://me:secret@example.org/simple", code="x"))

    assert "secret" not in stderr.getvalue()


def test_markup_is_not_interpreted() -> None:
    console, _, stderr = _console(_Terminal())

    console.note("[bold]x[/bold] :smile:")

    assert "[bold]x[/bold] :smile:\n" == stderr.getvalue()


def test_traceback_only_with_debug() -> None:
    error = RepoError("wrong", code="x")
    quiet, _, without = _console()
    loud, _, with_debug = _console(debug=True)

    quiet.error(error)
    loud.error(error)

    assert ("Traceback" in without.getvalue(), "RepoError" in with_debug.getvalue()) == (False, True)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_only_where_it_is_wanted(environment: dict[str, str], coloured: bool) -> None:
    console, _, stderr = _console(_Terminal(), environment=environment)

    console.warn("look")

    assert coloured == ("\x1b[" in stderr.getvalue())


def test_plain_stage_is_one_line_with_what_was_cached() -> None:
    console, _, stderr = _console(verbose=True)

    with console.stage("fetch") as stage:
        stage.add_total(3_000_000)
        stage.advance(1_000_000, cached=True)
        stage.detail("numpy")
        stage.advance(2_000_000)

    assert re.fullmatch(r"  fetch    3\.0 MB \(1\.0 MB cached\) in 0\.\d\d s\n", stderr.getvalue())


def test_stage_that_had_nothing_to_do_says_nothing() -> None:
    console, _, stderr = _console()

    with console.stage("pack", unit="layers") as stage:
        stage.add_total(3)
        stage.advance(3, cached=True)

    assert "" == stderr.getvalue()
    assert ["pack"] == list(console.observation.stage_seconds)


def test_verbose_shows_such_a_stage_too() -> None:
    console, _, stderr = _console(verbose=True)

    with console.stage("pack", unit="layers") as stage:
        stage.advance(3, cached=True)

    assert stderr.getvalue().startswith("  pack     3 layers, all cached, in ")


def test_failed_stage_leaves_the_word_to_the_error() -> None:
    console, _, stderr = _console(verbose=True)

    with pytest.raises(RepoError), console.stage("fetch") as stage:
        stage.advance(10)
        raise RepoError("no", code="x")

    assert "" == stderr.getvalue()


def test_quiet_keeps_warnings_and_errors() -> None:
    console, _, stderr = _console(quiet=True)

    with console.stage("fetch") as stage:
        stage.advance(10)
    console.note("note")
    console.warn("warning")

    assert "warning: warning\n" == stderr.getvalue()


def test_seconds_of_a_stage_that_ran_twice_are_added() -> None:
    console, _, _ = _console(quiet=True)

    for _ in range(2):
        with console.stage("fetch"):
            pass

    assert ["fetch"] == list(console.observation.stage_seconds)
    assert console.observation.stage_seconds["fetch"] >= 0


def test_live_display_ends_as_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a stage runs there is a moving line; when it is over, a line that stays."""
    monkeypatch.setattr("envbuild.cli.stages._LIVE_AFTER_SECONDS", 0.0)
    console, _, stderr = _console(_Terminal(), verbose=True)

    with console.stage("fetch") as stage:
        console._display._start()  # type: ignore[union-attr]  # what the timer does
        stage.add_total(2_000_000)
        stage.advance(2_000_000)
        stage.detail("evil\x1b]0;x\x07 [bold]")
        console.note("a note [bold]")
        console._display._live.refresh()  # type: ignore[union-attr]

    shown = stderr.getvalue()
    assert "a note [bold]" in shown
    assert "evil\\x1b]0;x\\x07 [bold]" in shown
    assert re.search(r"✓ fetch    2\.0 MB in [\d.]+ s\n$", shown)
    assert "\x1b[?25h" in shown, "the cursor must come back"


@pytest.mark.parametrize("environment", [{"TERM": "xterm", "CI": "true"}, {"TERM": "dumb"}, {}])
def test_no_moving_lines_in_logs(environment: dict[str, str]) -> None:
    console, _, stderr = _console(_Terminal(), environment=environment, verbose=True)

    with console.stage("fetch") as stage:
        stage.advance(10)

    assert stderr.getvalue().startswith("  fetch    10 B in ")


def test_result_on_a_stream_that_cannot_show_it() -> None:
    """LC_ALL=C: an escape instead of a failure."""
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(environment=os.environ, stdout=stdout, stderr=io.StringIO())

    console.result("Größe")

    assert b"Gr\\xf6\\xdfe\n" == raw.getvalue()
