"""Running notebooks: the real runner and the real kernel of this Python, without a container."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from envbuild.engine.model import Command
from envbuild.errors import MachineError
from envbuild.notebook.execute import Evidence, Executed, execute, run_command
from envbuild.notebook.provenance import read_provenance
from envbuild.progress import Silent
from envbuild.source.work_tree import SourceState
from envbuild.store import Store
from envbuild.store.disk import space_errors
from tests.support.engines import EMPTY_IMAGE, FakeEngine, labelled_image

pytestmark = [
    pytest.mark.slow,  # real kernels
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

Run = Callable[..., tuple[Executed, ...]]


def _runner(command: Command) -> str:
    """The runner, with the host's paths in the place of the container's."""
    repository, exchange, runner = (str(mount.source) for mount in command.mounts)
    return f"""
import pathlib, runpy, sys
request = pathlib.Path({exchange!r}, "request.json")
text = request.read_text().replace("/srv/repo", {repository!r})
request.write_text(text.replace("/run/envbuild/exchange", {exchange!r}))
sys.argv = ["runner.py", str(request)]
runpy.run_path({runner!r}, run_name="__main__")
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    made = tmp_path / "repository"
    made.mkdir()
    return made


@pytest.fixture
def run(store: Store, repository: Path) -> Run:
    def call(*notebooks: str, engine: FakeEngine | None = None, **more: Any) -> tuple[Executed, ...]:
        return execute(
            labelled_image(store, env="env-1"),
            repository,
            notebooks,
            engine=engine or FakeEngine(_runner),
            store=store,
            reporter=Silent(),
            **more,
        )

    return call


def write(path: Path, *sources: str, kernel: str | None = "python3") -> None:
    """A notebook of a text cell and these code cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"kernelspec": {"name": kernel, "display_name": kernel}} if kernel else {}
    cells = [new_markdown_cell("# Text"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)


def outputs(path: Path) -> list[str]:
    """The text outputs of all cells."""
    notebook = nbformat.read(path, as_version=4)
    return [
        output.get("text") or output.get("data", {}).get("text/plain") or output.get("ename")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]


def test_the_executed_copy_is_written_beside_and_the_notebook_stays(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "x = 20", "x + 22")
    before = (repository / "a.ipynb").read_bytes()
    (result,) = run("a.ipynb")
    expected = Executed("a.ipynb", repository / "a.executed.ipynb", None, seconds=result.seconds, cells=2)
    assert expected == result
    assert result.seconds > 0
    assert outputs(repository / "a.executed.ipynb") == ["42"]
    assert (repository / "a.ipynb").read_bytes() == before


@pytest.mark.slow
def test_an_output_directory_mirrors_the_repository(run: Run, repository: Path, tmp_path: Path) -> None:
    write(repository / "sub/a.ipynb", "import os; print(os.path.basename(os.getcwd()))")
    (result,) = run("sub/a.ipynb", output=tmp_path / "out")
    assert result.result == tmp_path / "out/sub/a.ipynb"
    assert outputs(tmp_path / "out/sub/a.ipynb") == ["sub\n"]
    assert [path.name for path in (repository / "sub").iterdir()] == ["a.ipynb"]


def test_other_content_runs_in_the_place_of_a_file(run: Run, repository: Path, tmp_path: Path) -> None:
    """The copy in memory is executed in the directory of the file, which is not read."""
    write(repository / "sub/a.ipynb", "1/0")
    write(tmp_path / "prepared.ipynb", "import os; print(os.path.basename(os.getcwd()))")
    contents = {"sub/a.ipynb": (tmp_path / "prepared.ipynb").read_bytes()}
    (result,) = run("sub/a.ipynb", output=tmp_path / "out", contents=contents)
    assert (tmp_path / "out/sub/a.ipynb", None) == (result.result, result.error)
    assert outputs(tmp_path / "out/sub/a.ipynb") == ["sub\n"]


def test_a_failing_cell_is_named_and_what_ran_is_kept(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "'before'", "1/0", "'after'")
    ((notebook, result, error),) = [(one.notebook, one.result, one.error) for one in run("a.ipynb")]
    assert error is not None
    assert (notebook, error.code, error.file) == ("a.ipynb", "cell-failed", "a.ipynb")
    assert error.message == "cell 3 (In [2]), line 1, failed: ZeroDivisionError: division by zero"
    assert "----> 1 1/0" in (error.detail or "")
    assert "\x1b" not in (error.detail or "")
    assert result is not None
    assert outputs(result) == ["'before'", "ZeroDivisionError"]
    assert str(result) in (error.remedy or "")


@pytest.mark.slow
def test_a_result_that_cannot_be_shown_is_told_by_its_own_error(run: Run, repository: Path) -> None:
    """IPython's reply to such a cell says "NoneType: None"."""
    write(
        repository / "a.ipynb",
        "class Table:\n    def _repr_html_(self): raise ValueError('no rows')",
        "Table()",
    )
    (result,) = run("a.ipynb")
    assert result.error is not None
    assert result.error.message.endswith("failed: ValueError: no rows")


@pytest.mark.slow
def test_a_failure_does_not_stop_the_other_notebooks(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "1/0")
    write(repository / "b.ipynb", "1")
    first, second = run("a.ipynb", "b.ipynb")
    assert (first.error is not None, second.error) == (True, None)


@pytest.mark.slow
def test_a_cell_that_is_meant_to_fail_may(run: Run, repository: Path) -> None:
    cell = new_code_cell("1/0", metadata={"tags": ["raises-exception"]})
    nbformat.write(new_notebook(cells=[cell, new_code_cell("1")]), repository / "a.ipynb")
    assert run("a.ipynb")[0].error is None


@pytest.mark.slow
def test_a_cell_may_not_take_longer_than_allowed(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "import time; time.sleep(60)")
    (result,) = run("a.ipynb", timeout=1)
    assert result.error is not None
    assert (result.error.code, result.error.message) == (
        "cell-timeout",
        "cell 2 (In [1]) took longer than allowed",
    )


def test_a_kernel_that_dies_is_told(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "1", "import os; os._exit(1)")
    (result,) = run("a.ipynb")
    assert result.error is not None
    assert (result.error.code, result.error.message) == ("kernel-died", "the kernel died in cell 3 (In [2])")


def test_a_kernel_that_is_not_there_is_named(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "1", kernel="conda-env-x")
    (result,) = run("a.ipynb")
    assert result.error is not None
    assert (result.error.code, result.result) == ("no-kernel", None)
    assert "conda-env-x" in result.error.message


@pytest.mark.slow
def test_a_notebook_that_names_no_kernel_runs_on_python3(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "1", kernel=None)
    assert run("a.ipynb")[0].error is None


def test_what_is_no_notebook_is_told(run: Run, repository: Path) -> None:
    (repository / "a.ipynb").write_text('{"cells": ')
    (result,) = run("a.ipynb")
    assert result.error is not None
    assert (result.error.code, result.result) == ("unreadable", None)


@pytest.mark.slow
def test_the_same_run_gives_the_same_file(run: Run, repository: Path, tmp_path: Path) -> None:
    write(repository / "a.ipynb", "print('x')", "1 + 1")
    for place in ("one", "two"):
        run("a.ipynb", output=tmp_path / place, evidence=Evidence(times=False))
    assert (tmp_path / "one/a.ipynb").read_bytes() == (tmp_path / "two/a.ipynb").read_bytes()


@pytest.mark.slow
def test_parameters_come_after_the_cell_tagged_so(run: Run, repository: Path) -> None:
    tagged = new_code_cell("x = 1; y = 1", metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("#"), tagged, new_code_cell("x, y, z")]
    nbformat.write(new_notebook(cells=cells), repository / "a.ipynb")
    (result,) = run("a.ipynb", parameters={"x": "it's", "z": None})
    assert result.result is not None
    assert outputs(result.result) == ['("it\'s", 1, None)']


@pytest.mark.slow
def test_progress_counts_code_cells(store: Store, repository: Path) -> None:
    from contextlib import contextmanager

    counts = {"total": 0, "done": 0}

    class Counting(Silent):
        @contextmanager
        def stage(self, name: str, *, unit: str = "B") -> Any:
            class Stage:
                def add_total(self, amount: int) -> None:
                    counts["total"] += amount

                def advance(self, amount: int, *, cached: bool = False) -> None:
                    counts["done"] += amount

                def detail(self, text: str) -> None:
                    pass

            yield Stage()

    write(repository / "a.ipynb", "1", "2", "3")
    engine, image = FakeEngine(_runner), labelled_image(store)
    execute(image, repository, ["a.ipynb"], engine=engine, store=store, reporter=Counting())
    assert counts == {"total": 3, "done": 3}


@pytest.mark.slow
def test_nothing_is_left_behind(run: Run, store: Store, repository: Path) -> None:
    write(repository / "a.ipynb", "1/0")
    run("a.ipynb")
    assert list(store.tmp.iterdir()) == []
    assert sorted(path.name for path in repository.iterdir()) == ["a.executed.ipynb", "a.ipynb"]


def test_an_output_that_cannot_be_written_is_an_error_before_anything_runs(
    run: Run, repository: Path, tmp_path: Path
) -> None:
    write(repository / "a.ipynb", "1")
    (tmp_path / "out").write_text("a file")
    engine = FakeEngine(_runner)
    with pytest.raises(MachineError) as caught:
        run("a.ipynb", output=tmp_path / "out", engine=engine)
    assert (caught.value.code, caught.value.file) == ("not-writable", str(tmp_path / "out/a.ipynb"))
    assert [] == engine.commands


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_names_the_file(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        with space_errors(path.parent):
            raise OSError(errno.ENOSPC, "No space left on device")

    write(repository / "a.ipynb", "1")
    monkeypatch.setattr("envbuild.notebook.places.write_atomic", full)
    with pytest.raises(MachineError) as caught:
        run("a.ipynb")
    assert "disk-full" == caught.value.code


@pytest.mark.slow
def test_the_run_is_recorded_and_credentials_are_not(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "year, api_token")
    evidence = Evidence(SourceState("c" * 40, True), {"data.csv": "sha256:1"})
    parameters = {"year": 2020, "api_token": "hunter2"}
    (result,) = run("a.ipynb", evidence=evidence, parameters=parameters)
    assert result.result is not None
    notebook = nbformat.read(result.result, as_version=4)
    record = read_provenance(notebook.metadata)
    assert record is not None
    assert ("env-1", "linux/amd64", "c" * 40, True) == (
        record.environment,
        record.platform,
        record.commit,
        record.dirty,
    )
    assert {"year": 2020, "api_token": "***"} == record.parameters
    assert {"data.csv": "sha256:1"} == record.inputs
    assert result.seconds == record.seconds
    injected = notebook.cells[0]
    assert "# Parameters\nyear = 2020\napi_token = '***'" == injected.source
    assert ["(2020, 'hunter2')"] == outputs(result.result)  # what the notebook itself prints is its own


@pytest.mark.slow
def test_nothing_of_an_earlier_run_is_kept(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "1/0", "2")
    notebook = nbformat.read(repository / "a.ipynb", as_version=4)
    notebook.cells[2].outputs = [new_output("stream", text="old")]
    notebook.cells[2].execution_count = 7
    nbformat.write(notebook, repository / "a.ipynb")
    run("a.ipynb")
    last = nbformat.read(repository / "a.executed.ipynb", as_version=4).cells[2]
    assert ([], None) == (last.outputs, last.execution_count)


@pytest.mark.slow
def test_what_ran_until_the_time_was_over_is_kept_and_the_rest_is_not_begun(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours pass at once when the second cell runs, however long it takes until then."""
    over = repository / "over"
    clock = SimpleNamespace(monotonic=lambda: 3600.0 if over.exists() else 0.0)
    monkeypatch.setattr("envbuild.notebook.batch.time", clock)
    write(repository / "a.ipynb", "'before'", "import time\nopen('over', 'w')\nwhile True: time.sleep(1)")
    write(repository / "b.ipynb", "1")
    first, second = run("a.ipynb", "b.ipynb", total_timeout=60)
    assert first.error is not None
    assert second.error is not None
    assert ("total-timeout", "total-timeout") == (first.error.code, second.error.code)
    assert "the time for all notebooks was over in cell 3 (In [2])" == first.error.message
    assert first.result is not None
    assert ["'before'"] == outputs(first.result)[:1]
    assert second.result is None


@pytest.mark.slow
def test_notebooks_run_at_once_each_in_a_container_of_its_own(run: Run, repository: Path) -> None:
    """Each waits for what the other writes."""
    wait = "import os, time\nopen('{}', 'w').close()\nwhile not os.path.exists('{}'): time.sleep(0.05)"
    write(repository / "a.ipynb", wait.format("one", "two"))
    write(repository / "b.ipynb", wait.format("two", "one"))
    engine = FakeEngine(_runner)
    results = run("a.ipynb", "b.ipynb", jobs=2, timeout=600, engine=engine)
    assert [None, None] == [result.error for result in results]
    assert 2 == len(engine.commands)


def test_with_fail_fast_no_other_is_begun(run: Run, repository: Path) -> None:
    write(repository / "b.ipynb", "1")
    (repository / "a.ipynb").write_text("{")
    first, second = run("a.ipynb", "b.ipynb", fail_fast=True)
    assert first.error is not None
    assert Executed("b.ipynb", None, None, skipped=True) == second


@pytest.mark.slow
def test_a_kernel_that_needs_too_much_memory_is_told_as_that(run: Run, repository: Path) -> None:
    """There is no container here: all processes of this machine count."""
    write(repository / "a.ipynb", "import time; time.sleep(60)")
    engine = FakeEngine(_runner)
    (result,) = run("a.ipynb", memory=1, engine=engine)
    assert result.error is not None
    assert "out-of-memory" == result.error.code
    assert 1 == engine.commands[0].memory


@pytest.mark.slow
def test_endless_output_ends(run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.notebook.exchange._MOST_OUTPUT", 1_000_000)
    write(repository / "a.ipynb", "while True: print('x' * 10_000)")
    (result,) = run("a.ipynb")
    assert result.error is not None
    assert ("too-much-output", "cell 2 (In [1]) wrote too much output, so the kernel was ended") == (
        result.error.code,
        result.error.message,
    )
    assert result.result is not None
    assert 500_000 < result.result.stat().st_size < 1_500_000


# What follows: programs that do in the container what the code of a hostile notebook could.


def _hostile(body: str) -> FakeEngine:
    def program(command: Command) -> str:
        exchange = str(command.mounts[1].source)
        return f"import json, os\nos.chdir({exchange!r})\n{body}"

    return FakeEngine(program)


def test_a_result_that_became_a_link_is_not_followed(run: Run, repository: Path, tmp_path: Path) -> None:
    write(repository / "a.ipynb", "1")
    (tmp_path / "secret").write_text("secret")
    engine = _hostile(f"os.remove('result.ipynb'); os.symlink({str(tmp_path / 'secret')!r}, 'result.ipynb')")
    (result,) = run("a.ipynb", engine=engine)
    assert result.result is None
    assert not (repository / "a.executed.ipynb").exists()


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        "7",
        "[" * 100_000,
        json.dumps({"event": "started", "cells": "many"}),
        json.dumps({"event": "started", "cells": -7}),
        json.dumps({"event": "done"}),
        json.dumps({"event": ["ended"]}),
    ],
)
def test_nonsense_among_the_events_is_passed_over(run: Run, repository: Path, line: str) -> None:
    write(repository / "a.ipynb", "1")
    engine = _hostile(f"open('events', 'a').write({line!r} + chr(10))")
    (result,) = run("a.ipynb", engine=engine)
    assert result.error is not None
    assert result.error.code == "not-executed"


def test_a_failure_of_the_wrong_shape_is_a_failure(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "1")
    event = {"event": "ended", "failure": {"kind": ["x"], "cell": "y", "message": None}}
    engine = _hostile(f"open('events', 'a').write({json.dumps(event)!r} + chr(10))")
    (result,) = run("a.ipynb", engine=engine)
    assert result.error is not None
    assert result.error.code == "not-executed"


def test_a_runner_that_dies_is_told_with_what_it_said(run: Run, repository: Path) -> None:
    write(repository / "a.ipynb", "1")
    (result,) = run("a.ipynb", engine=_hostile("raise SystemExit('\\x1b[31mno such module')"))
    assert result.error is not None
    assert (result.error.code, result.error.detail) == ("not-executed", "no such module")


def test_any_command_runs_with_our_streams(repository: Path) -> None:
    engine = FakeEngine(lambda command: "raise SystemExit(7)")
    code = run_command(EMPTY_IMAGE, repository, ["make", "-j"], engine=engine, reporter=Silent())
    (command,) = engine.commands
    assert (code, command.argv, command.stdin, command.output) == (7, ("make", "-j"), True, None)
    assert command.owner == repository.stat().st_uid
