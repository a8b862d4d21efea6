"""Files that users name on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.cli.files import write_named
from envbuild.errors import MachineError


def test_the_directory_is_made_and_what_was_there_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out" / "report.xml"

    for data in (b"first", b"second"):
        write_named(path, data, "--junit")

    assert [(path, b"second")] == [(one, one.read_bytes()) for one in path.parent.iterdir()]


@pytest.mark.parametrize(
    ("name", "reason"), [(".", "Is a directory"), ("file/report.xml", "Not a directory")]
)
def test_what_cannot_be_written(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(MachineError, match=f"cannot be written: {reason}") as caught:
        write_named(tmp_path / name, b"x", "--junit")

    assert ("not-writable", str(tmp_path / name)) == (caught.value.code, caught.value.file)
    assert "--junit" in str(caught.value.remedy)
    assert ["file"] == [path.name for path in tmp_path.iterdir()]
    assert "mine" == (tmp_path / "file").read_text()
