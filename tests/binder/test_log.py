"""The journal of a build, as lines that BinderHub reads."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envbuild.binder.log import JournalReader, Lines, Phase
from envbuild.cli.console import Console
from envbuild.errors import RemoteError
from envbuild.observation import Observation, new_build_id
from tests.support.strangers import TEXTS, documents

_NAMES: dict[Phase, str] = {"fetching": "URL", "building": "NAME", "pushing": "NAME"}


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(stream: io.StringIO) -> Console:
    """The console of a build whose journal is read."""
    reader: Any = JournalReader(Lines(stream, as_json=True), _NAMES)
    return Console(log_format="json", observation=Observation(new_build_id()), environment={}, stderr=reader)


def _told(stream: io.StringIO) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [{"message", "phase"}] * len(lines) == [set(line) for line in lines]
    return [(line["phase"], line["message"]) for line in lines]


def test_phases_follow_each_other_and_never_go_back(console: Console, stream: io.StringIO) -> None:
    for name in ("source", "lock", "source", "pack", "push", "publish", "pack"):
        with console.stage(name) as stage:
            stage.advance(1000)

    phases = [phase for phase, _ in _told(stream)]

    assert (
        ["fetching", "building", "pushing"]
        == list(dict.fromkeys(phases))
        == sorted(set(phases), key=phases.index)
    )
    begun = [message for _, message in _told(stream) if message.endswith(("URL\n", "NAME\n"))]
    assert ["Fetching URL\n", "Building NAME\n", "Pushing NAME\n"] == begun


def test_stages_notes_and_warnings(console: Console, stream: io.StringIO) -> None:
    with console.stage("pack", unit="layers") as stage:
        stage.add_total(3)
        stage.advance(1, cached=True)
        stage.advance(2)
        console.note("note that")
        console.warn("mind that")
    with console.stage("look up") as stage:
        stage.advance(10, cached=True)

    told = [message for _, message in _told(stream)]

    assert ["Building NAME\n", "note that\n", "warning: mind that\n"] == told[:3]
    assert told[3].startswith("  pack     3 layers (1 layer cached) in ")
    assert 4 == len(told)


def test_an_error_is_one_line_with_its_remedy_and_no_password(console: Console, stream: io.StringIO) -> None:
    error = RemoteError(
        "https://me:secret@example.org/x is gone",
        code="gone",
        file="a.txt",
        line=3,
        remedy="look",
        detail="one\ntwo",
    )

    console.error(error)

    message = "error: a.txt:3: https://***@example.org/x is gone\n    one\n    two\n  help: look\n"
    assert [("failed", message)] == _told(stream)


def test_a_failed_stage_says_nothing_of_its_own(console: Console, stream: io.StringIO) -> None:
    with pytest.raises(RemoteError), console.stage("push"):
        raise RemoteError("no", code="no")

    assert [("pushing", "Pushing NAME\n")] == _told(stream)


def test_what_is_written_past_the_journal_is_told_too(stream: io.StringIO) -> None:
    reader = JournalReader(Lines(stream, as_json=True), _NAMES)

    reader.write("half a ")
    reader.write("line at https://me:secret@example.org\n\n[1]\nrest")

    assert [("building", "half a line at https://***@example.org\n"), ("building", "[1]\n")] == _told(stream)


def test_an_interrupted_build_has_failed(console: Console, stream: io.StringIO) -> None:
    console.interrupted("error: interrupted")

    assert [("failed", "error: interrupted\n")] == _told(stream)


def test_lines_for_people(stream: io.StringIO) -> None:
    Lines(stream, as_json=False).say("running", "http://127.0.0.1:8888/lab")

    assert "http://127.0.0.1:8888/lab\n" == stream.getvalue()


_FIELDS = ("message", "event", "phase", "level", "seconds", "done", "cached", "total", "unit", "file", "line")
_EVENTS = st.sampled_from(["stage-begin", "stage-end", "stage-progress", "note", "error", "interrupted", "x"])


@settings(max_examples=15)
@given(
    st.lists(
        TEXTS
        | st.fixed_dictionaries(
            {"event": _EVENTS, "message": documents(*_FIELDS)},
            optional={name: documents(*_FIELDS) for name in _FIELDS[2:]},
        ).map(json.dumps),
        max_size=3,
    )
)
@example(["[" * 20_000])
@example(['{"event": "error"}', '{"event": "stage-end", "seconds": 1e999, "done": "x"}'])
def test_whatever_is_written_becomes_lines(lines: list[str]) -> None:
    """Libraries write past the journal, and what they quote may look like one of its lines."""
    stream = io.StringIO()
    reader = JournalReader(Lines(stream, as_json=True), _NAMES)

    reader.write("".join(f"{line}\n" for line in lines))

    assert all("me:s3cr3t" not in message for phase, message in _told(stream) if phase != "failed")
