"""Reading what an observer tells, whoever wrote it."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from envbuild.drift import watching as module
from envbuild.drift.changes import Change
from envbuild.drift.watching import watched
from envbuild.engine.model import Command, Mount
from envbuild.errors import MachineError
from envbuild.store import Store
from tests.support.engines import EMPTY_IMAGE, FakeEngine

SIX = {"name": "six", "before": None, "after": "1.17.0", "place": "environment", "requested": True}
LINE = json.dumps({"changes": [SIX]}) + "\n"
EXPECTED = (Change("six", None, "1.17.0"),)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def writing(content: str) -> FakeEngine:
    """An engine whose every command writes ``content`` (Python) into its report."""

    def program(command: Command) -> str:
        return f"open({str(command.mounts[-1].source)!r}, 'a').write({content})"

    return FakeEngine(program)


def test_the_command_is_started_by_the_observer_and_sees_nothing_more(store: Store, tmp_path: Path) -> None:
    engine = writing("''")
    own = Mount(tmp_path, "/srv/repo", writable=True)
    with watched(engine, store) as watching:
        watching.start(EMPTY_IMAGE, Command(("jupyter-lab", "--x"), mounts=(own,), ports=(80,))).wait()
        (command,) = engine.commands
        assert command.argv[:4] == ("/srv/jupyter/bin/python3", "-I", "-S", "/run/envbuild/observer.py")
        assert command.argv[-3:] == ("--", "jupyter-lab", "--x")
        assert (command.mounts[0], len(command.mounts), command.ports) == (own, 3, (80,))
        assert [mount.writable for mount in command.mounts] == [True, False, True]
    assert list(store.tmp.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        repr(LINE),
        repr('{"changes": []}\n' + LINE + "half a li"),
        repr(LINE + "no json\n"),
        f"{LINE!r} + '[' * 100_000 + chr(10)",
        f"chr(0) * 100_000 + chr(10) + {LINE!r}",
    ],
)
def test_the_last_line_that_can_be_read_counts(store: Store, content: str) -> None:
    with watched(writing(content), store) as watching:
        watching.start(EMPTY_IMAGE, Command(("x",))).wait()
        assert watching.changes() == EXPECTED


def test_a_line_and_a_report_without_end_are_not_read_to_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_LINE", 500)
    monkeypatch.setattr(module, "_LARGEST_REPORT", 5000)
    content = "x" * 3000 + "\n" + LINE + "x" * 10_000 + "\n" + '{"changes": []}\n'
    with watched(writing(repr(content)), store) as watching:
        watching.start(EMPTY_IMAGE, Command(("x",))).wait()
        assert watching.changes() == EXPECTED


def test_several_commands_are_one_session(store: Store) -> None:
    other = json.dumps({"changes": [{**SIX, "name": "attrs"}]}) + "\n"
    lines = iter((LINE, other))
    engine = FakeEngine(
        lambda command: f"open({str(command.mounts[-1].source)!r}, 'a').write({next(lines)!r})"
    )
    with watched(engine, store) as watching:
        for _ in range(2):
            watching.start(EMPTY_IMAGE, Command(("x",))).wait()
        assert [change.name for change in watching.changes()] == ["attrs", "six"]


def test_what_changed_is_told_once_at_the_latest_at_the_end(store: Store) -> None:
    told: list[tuple[Change, ...]] = []
    with watched(writing(repr(LINE)), store) as watching, watching.telling(told.append):
        watching.start(EMPTY_IMAGE, Command(("x",))).wait()
    assert told == [EXPECTED]


def test_what_changes_is_told_while_it_runs(store: Store) -> None:
    told = threading.Event()
    with watched(writing(repr(LINE)), store) as watching, watching.telling(lambda changes: told.set()):
        watching.start(EMPTY_IMAGE, Command(("x",))).wait()
        assert told.wait(300)


def test_an_error_while_telling_is_raised_at_the_end(store: Store) -> None:
    def tell(changes: tuple[Change, ...]) -> None:
        raise MachineError("full", code="disk-full")

    with watched(writing(repr(LINE)), store) as watching, pytest.raises(MachineError), watching.telling(tell):
        watching.start(EMPTY_IMAGE, Command(("x",))).wait()


@pytest.mark.parametrize("gone", ["trees-v2", "tmp"])
def test_what_seems_to_change_when_the_cache_is_deleted_is_not_told(tmp_path: Path, gone: str) -> None:
    """What images are unpacked to goes with it: packages that nobody has uninstalled are missing."""
    warned: list[str] = []
    over = threading.Event()

    def warn(message: str) -> None:
        warned.append(message)
        over.set()

    store = Store(tmp_path / "cache", warn)
    store.prepare()
    told: list[tuple[Change, ...]] = []
    with (
        watched(writing("''"), store) as watching,
        pytest.raises(MachineError) as caught,
        watching.telling(told.append),
    ):
        watching.start(EMPTY_IMAGE, Command(("x",))).wait()
        (path,) = store.tmp.glob("*/0")
        with path.open("a") as report:
            shutil.rmtree(store.root / gone)
            report.write(LINE)
        assert over.wait(300)

    assert ("cache-deleted", [caught.value.message], []) == (caught.value.code, warned, told)


def test_that_the_cache_was_deleted_is_told_after_what_was_told_because_of_it(store: Store) -> None:
    """It takes seconds, in any order."""
    told = threading.Event()
    with (
        watched(writing(repr(LINE)), store) as watching,
        pytest.raises(MachineError) as caught,
        watching.telling(lambda changes: told.set()),
    ):
        watching.start(EMPTY_IMAGE, Command(("x",))).wait()
        assert told.wait(300)
        shutil.rmtree(store.root)

    assert "cache-deleted" == caught.value.code
