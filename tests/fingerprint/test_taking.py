"""Taking a fingerprint through an engine that starts this Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.engine.model import Command
from envbuild.errors import RepoError
from envbuild.fingerprint.document import Fingerprint
from envbuild.fingerprint.taking import take_fingerprint
from envbuild.progress import Silent
from envbuild.store import Store
from tests.support.engines import EMPTY_IMAGE, FakeEngine

pytestmark = pytest.mark.slow  # real kernels


def _take(tmp_path: Path, engine: FakeEngine, *, files: bool = False) -> Fingerprint:
    store = Store(tmp_path / "cache")
    store.prepare()
    return take_fingerprint(EMPTY_IMAGE, tmp_path, engine=engine, store=store, reporter=Silent(), files=files)


def _program(command: Command) -> str:
    """The program, with the host's paths in the place of the container's."""
    _, program, result = (str(mount.source) for mount in command.mounts)
    arguments = [result if word.endswith(".json") else word for word in command.argv[1:]]
    return f"import runpy, sys; sys.argv = {arguments!r}; runpy.run_path({program!r}, run_name='__main__')"


def test_the_program_runs_with_the_repository_mounted(tmp_path: Path) -> None:
    engine = FakeEngine(_program)

    found = _take(tmp_path, engine, files=True)

    (command,) = engine.commands
    assert (tmp_path, "/srv/repo", True) == (
        command.mounts[0].source,
        command.mounts[0].target,
        command.mounts[0].writable,
    )
    assert found.files_checked
    assert EMPTY_IMAGE.image_id == found.image["image_id"]
    assert "pytest" in found.environment["packages"]


@pytest.mark.parametrize(
    "program", ["", "raise SystemExit('no such module')", "open({result!r}, 'w').write('{{')"]
)
def test_what_is_no_fingerprint_is_an_error_with_the_log(program: str, tmp_path: Path) -> None:
    engine = FakeEngine(lambda command: program.format(result=str(command.mounts[2].source)))

    with pytest.raises(RepoError) as error:
        _take(tmp_path, engine)

    assert "no-fingerprint" == error.value.code
    assert ("no such module" in program) == ("no such module" in (error.value.detail or ""))
