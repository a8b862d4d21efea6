"""The failing line of scripts that really fail, in the sandbox; and notes that a script forged."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.engine.model import Mount
from envbuild.image.model import Image
from envbuild.progress import Silent
from envbuild.sandbox.bubblewrap import BubblewrapSandbox
from envbuild.sandbox.model import Step
from envbuild.sandbox.script import WATCH, failed_line, watched
from envbuild.source import open_repo
from envbuild.source.log import last_lines
from envbuild.store import Store


@pytest.mark.network
@pytest.mark.parametrize(
    ("script", "code", "line"),
    [
        ("set -e\necho\nfalse || true\n\nls /nowhere\necho\n", 2, 5),
        ("set -e\nf() {\n  ls /nowhere\n}\nf\n", 2, 3),
        ("ls /nowhere\nif true; then\n  exit 2\nfi\n", 2, 3),
        ("trap 'echo bye' EXIT\nset -e\n\nfalse\n", 1, 4),
        ("trap 'echo oops' ERR\ntrap 'echo bye' EXIT\nset -e\nfalse\n", 1, None),
        ("set -o pipefail\nls /nowhere | cat\n", 2, 2),
        ("echo\nif\n", 2, 3),
        ("ls /nowhere\nexec bash -c 'exit 2'\n", 2, 1),
        ("set -e\n(\n  exit 7\n)\n", 7, 4),
        ("set -u\n\necho $missing\n", 1, 3),
    ],
)
def test_failing_line_of_bash(
    bubblewrap: BubblewrapSandbox,
    image: Image,
    shared_store: Store,
    tmp_path: Path,
    script: str,
    code: int,
    line: int | None,
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "postBuild").write_text(script)
    log = tmp_path / "log"
    with watched(shared_store) as watch:
        step = Step(
            "script",
            ("bash", "/srv/repo/postBuild"),
            log,
            env={"BASH_ENV": f"{WATCH}/trap"},
            mounts=(Mount(watch, WATCH, writable=True), Mount(repository, "/srv/repo")),
        )
        with bubblewrap.execute(image, step, Silent()) as outcome:
            assert outcome.code == code
        assert failed_line(open_repo(str(repository)), "postBuild", code, last_lines(log), watch) == line


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ('  File "/srv/repo/binder/postBuild", line 12, in <module>\n  File "other.py", line 3', 12),
        ("/srv/repo/binder/postBuild: 4: Syntax error", 4),
        ("died at /srv/repo/binder/postBuild line 5.", 5),
        ("nothing", None),
    ],
)
def test_other_interpreters_tell_the_line(tmp_path: Path, said: str, line: int | None) -> None:
    assert failed_line(open_repo(str(tmp_path)), "binder/postBuild", 1, said, tmp_path) == line


@pytest.mark.parametrize(
    "note",
    [b"", b"\xff" * 9000, b"1 99999999999 /postBuild\n", b"1 2\n", b"3 2 /postBuild\nx", b"1 2 /etc/x\n"],
)
def test_a_forged_note_is_no_line(tmp_path: Path, note: bytes) -> None:
    (tmp_path / "failed").write_bytes(note)
    (tmp_path / "ended").symlink_to("/etc/passwd")
    assert failed_line(open_repo(str(tmp_path)), "postBuild", 1, "", tmp_path) is None
