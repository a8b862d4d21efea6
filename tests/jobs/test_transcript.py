"""What is made of a pod's log."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envbuild.errors import RemoteError, RepoError
from envbuild.jobs.transcript import Transcript, error_left
from envbuild.progress import Silent
from tests.support.reporters import Messages
from tests.support.strangers import TEXTS, documents


def _line(event: str, **more: Any) -> str:
    return json.dumps(
        {"time": "t", "level": "info", "phase": "fetch", "event": event, "message": "said", **more}
    )


def _read(transcript: Transcript, *lines: str) -> None:
    with ExitStack() as stack:
        stage = stack.enter_context(Silent().stage("build"))
        for line in lines:
            transcript.line(line.encode("utf-8", "surrogateescape"), stage)


def test_people_see_what_they_would_see_at_home() -> None:
    messages = Messages()

    _read(
        Transcript(messages),
        _line("stage-begin"),
        _line("stage-end", seconds=3.2, unit="B", done=120_300_000, cached=80_000_000),
        _line("stage-end", seconds=0.01, unit="B", done=0, cached=0),
        _line("note"),
        _line("warning"),
    )

    assert ["  fetch    120.3 MB (80.0 MB cached) in 3.2 s", "said"] == messages.notes
    assert ["said"] == messages.warnings


def test_document_is_found_among_lines_of_other_threads() -> None:
    transcript = Transcript(Silent())

    _read(transcript, "{", '  "digest": "sha256:1",', _line("note"), '  "layers": []', "}")

    assert {"digest": "sha256:1", "layers": []} == transcript.document


@pytest.mark.parametrize("lines", [[], ["{"], ["{", "}}"], ["[1]"], ["\udcff{"], ["{" * 3000]])
def test_half_a_document_is_none(lines: list[str]) -> None:
    transcript = Transcript(Silent())

    _read(transcript, *lines)

    assert transcript.document is None


def test_error_is_the_builders_own() -> None:
    transcript = Transcript(Silent())

    _read(
        transcript,
        _line(
            "error",
            error="no-such-package",
            exit_code=1,
            file="requirements.txt",
            line=4,
            remedy="correct it",
        ),
    )

    error = transcript.error
    assert isinstance(error, RepoError)
    assert ("no-such-package", "requirements.txt:4", "correct it", 1) == (
        error.code,
        error.place,
        error.remedy,
        error.exit_code,
    )


@pytest.mark.parametrize("code", [70, 130, "x", None, [1]])
def test_exit_codes_that_none_of_our_errors_has(code: Any) -> None:
    transcript = Transcript(Silent())

    _read(transcript, _line("error", error=["?"], exit_code=code, file=3, line="x"))

    assert transcript.error is not None
    assert (code if isinstance(code, int) else 70) == transcript.error.exit_code
    assert "internal" == transcript.error.code


def test_lines_go_through_as_they_are() -> None:
    seen: list[str] = []
    messages = Messages()

    _read(Transcript(messages, seen.append), _line("note"), "no line of a log")

    assert ([_line("note")], []) == (seen, messages.notes)


def test_error_in_the_termination_message() -> None:
    left = {
        "error": "registry-denied",
        "error_exit_code": "4",
        "error_place": "a.txt:3",
        "error_message": "it said no",
        "error_remedy": "",
    }

    error = error_left(left)

    assert isinstance(error, RemoteError)
    assert ("registry-denied", "a.txt", 3, "it said no", None) == (
        error.code,
        error.file,
        error.line,
        error.message,
        error.remedy,
    )
    assert error_left({"digest": "sha256:1"}) is None


_FIELDS = ("error", "exit_code", "file", "line", "seconds", "done", "cached", "unit", "phase", "remedy")
_EVENTS = st.sampled_from(["error", "note", "warning", "stage-begin", "stage-end"])
_ENTRIES = st.fixed_dictionaries(
    {"time": TEXTS, "level": TEXTS, "message": documents(*_FIELDS), "event": _EVENTS},
    optional={name: documents(*_FIELDS) for name in _FIELDS},
)


@settings(max_examples=15)
@given(st.lists(_ENTRIES.map(json.dumps) | TEXTS, max_size=3))
@example([_line("stage-end", seconds=float("inf"), done=10**400)])
@example([_line("error", exit_code=0)])
@example([_line("error", exit_code=256)])
@example(["[" * 20_000])
def test_any_log_is_read(lines: list[str]) -> None:
    """And none makes a failure look like something else."""
    transcript = Transcript(Messages())

    _read(transcript, *(line.encode("utf-8", "replace").decode() for line in lines))

    assert transcript.document is None or isinstance(transcript.document, dict)
    assert transcript.error is None or 0 < transcript.error.exit_code < 256


@pytest.mark.parametrize("code", ["0", "256", "-1", "x", "1" * 5000])
def test_a_failure_that_is_left_is_one(code: str) -> None:
    error = error_left({"error": "x", "error_exit_code": code})

    assert error is not None
    assert 0 < error.exit_code < 256
