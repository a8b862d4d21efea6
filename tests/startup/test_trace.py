"""Tracing a start through an engine that starts a small server on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.engine.model import Command
from envbuild.errors import RepoError
from envbuild.pack import recipe
from envbuild.progress import Silent
from envbuild.startup.trace import checked, trace_start, write_trace
from envbuild.store import Store
from tests.support import small_jupyter
from tests.support.engines import EMPTY_IMAGE, FakeEngine
from tests.support.servers import free_port

SERVER = """
import runpy, sys
open({record!r}, "a").write({noted!r})
sys.argv = {argv!r}
runpy.run_path({server!r}, run_name="__main__")
"""


@pytest.fixture(autouse=True)
def _kept_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs beside these tests does not get the server's port before the server does."""
    monkeypatch.setattr("envbuild.startup.trace.free_port", free_port)


def trace(tmp_path: Path, noted: str, *, program: str = SERVER) -> tuple[tuple[str, ...], Command]:
    store = Store(tmp_path / "cache")
    store.prepare()

    def start(command: Command) -> str:
        record = next(mount.source for mount in command.mounts if mount.target.endswith(".record"))
        argv = list(command.argv[command.argv.index("jupyter-lab") :])
        return program.format(record=str(record), noted=noted, argv=argv, server=small_jupyter.__file__)

    engine = FakeEngine(start)
    files = trace_start(
        EMPTY_IMAGE, tmp_path, ["json", "json"], engine=engine, store=store, reporter=Silent()
    )
    return files, engine.commands[0]


def test_the_files_of_a_server_and_a_kernel_are_told(tmp_path: Path) -> None:
    """With the repository mounted as for notebooks, and the recorder on the path of all Pythons."""
    files, command = trace(tmp_path, "7 /usr/lib/b\n9 /usr/lib/c\n7 /usr/lib/a\n")

    assert ("/usr/lib/b", "/usr/lib/a", "/usr/lib/c") == files
    assert [("/srv/repo", True), ("/run/envbuild/trace/sitecustomize.py", False)] == [
        (mount.target, mount.writable) for mount in command.mounts[:2]
    ]
    assert '"/run/envbuild/trace${PYTHONPATH:+:$PYTHONPATH}"' in command.argv[2]


@pytest.mark.parametrize(
    ("program", "code"),
    [("raise SystemExit('no such module')", "trace-failed"), (SERVER, "nothing-traced")],
)
def test_a_start_that_fails_or_tells_nothing_is_an_error(program: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(RepoError) as error:
        trace(tmp_path, "7 /etc/passwd\n", program=program)

    assert code == error.value.code
    assert ("no such module" in program) == ("no such module" in (error.value.detail or ""))


@pytest.mark.parametrize(
    "line",
    [
        b"1 /etc/passwd",
        b"1 /srv/repo/data.csv",
        b"1 /usr/../etc/passwd",
        b"1 /usr//lib/x",
        b"1 /usr/lib/",
        b"1 /usr",
        b"1 usr/lib/x",
        b"1 /usr/lib/\x1b[2J",
        b"1 /usr/lib/a\rb",
        b"1 /usr/lib/\xff",
        b"1 /usr/lib/\xe2\x80\xae",
        b"1 /usr/lib/" + b"x" * 1000,
        b"x /usr/lib/x",
        b"/usr/lib/x",
        b"",
    ],
)
def test_lines_that_are_none_of_ours_are_dropped(line: bytes) -> None:
    assert ('/usr/lib/it\'s "one"', "/opt/x") == checked(
        b'1 /usr/lib/it\'s "one"\n' + line + b"\n1 /opt/x\n2 /opt/x\n1 /usr/cut short"
    )


def test_there_is_no_more_than_the_entry_point_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of the file is for people."""
    monkeypatch.setattr(recipe, "TRACE_LINES", 3)

    assert ("/usr/1", "/usr/2") == checked(b"1 /usr/1\n1 /usr/2\n1 /usr/3\n")


def test_the_list_is_one_path_a_line_in_the_repository(tmp_path: Path) -> None:
    """A symbolic link in its place is replaced, not followed."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "envbuild.trace").symlink_to("precious")

    path = write_trace(tmp_path, ["/usr/b", "/usr/a"])

    head, *files = path.read_text().splitlines()
    assert head.startswith("# ")
    assert (tmp_path / "envbuild.trace", ["/usr/b", "/usr/a"]) == (path, files)
    assert "precious" == (tmp_path / "precious").read_text()
    assert {"envbuild.trace", "precious"} == {entry.name for entry in tmp_path.iterdir()}


def test_a_directory_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "envbuild.trace").mkdir()

    with pytest.raises(RepoError) as error:
        write_trace(tmp_path, ["/usr/a"])

    assert ("trace-not-writable", "envbuild.trace") == (error.value.code, error.value.file)


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([b"1 /usr/a", b"2 ", b"/", b"..", b"\n", b"\r", b"\0"]) | st.binary(max_size=4))
)
def test_whatever_is_noted_the_entry_point_gets_lines(pieces: list[bytes]) -> None:
    files = checked(b"".join(pieces))

    assert list(files) == "".join(f"{file}\n" for file in files).splitlines()
    assert all(file.startswith("/") and ".." not in file.split("/") for file in files)
