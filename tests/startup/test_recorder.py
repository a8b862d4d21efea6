"""The part of every Python in a container that is traced, in this Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envbuild.startup import recorder

SOURCE = Path(recorder.__file__).read_text("utf-8")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record"
    path.touch()
    return path


def run(record: Path, code: str) -> tuple[str, list[str]]:
    """What a Python prints that is recorded, and the paths that it noted."""
    place = record.parent / "on the path"
    place.mkdir()
    (place / "sitecustomize.py").write_text(SOURCE)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(place), "ENVBUILD_TRACE": str(record)},
        cwd=record.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "" == done.stderr
    lines = record.read_text().splitlines() if record.exists() else []
    return done.stdout, [line.partition(" ")[2] for line in lines]


def test_what_is_opened_is_noted_once_and_in_order(record: Path) -> None:
    """What is written, empty, missing or no file is not."""
    for name in ("one", "two", "written"):
        (record.parent / name).write_text(name)
    (record.parent / "empty").touch()
    (record.parent / "link").symlink_to("one")
    code = """
import os
for name in (b"two", "link", "one", "empty", "two"):
    open(name).close()
open("written", "a").close()
os.close(os.open(".", os.O_RDONLY))
try:
    open("missing")
except FileNotFoundError as error:
    print(error.strerror)
"""

    printed, noted = run(record, code)

    assert "No such file or directory\n" == printed
    here = os.path.realpath(record.parent)
    assert [f"{here}/two", f"{here}/one"] == [path for path in noted if Path(path).parent == Path(here)]


def test_modules_are_noted_and_on_request_what_is_mapped(record: Path) -> None:
    code = "import _ctypes, colorsys, sitecustomize as s; s.note_mapped(s.note); print(_ctypes.__file__)"

    printed, noted = run(record, code)

    assert os.path.realpath(printed.strip()) in noted
    assert [path for path in noted if "colorsys" in path]
    assert [path for path in noted if "encodings" in path], "what came before the recorder"
    assert os.path.realpath(sys.executable) in noted


def test_a_program_goes_on_when_nothing_can_be_noted(record: Path) -> None:
    record.unlink()

    printed, noted = run(record, "import colorsys; print('on')")

    assert ("on\n", []) == (printed, noted)
    assert not record.exists()
