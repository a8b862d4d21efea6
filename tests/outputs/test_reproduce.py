"""Running notebooks again: what is executed, what is compared, what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import RepoError
from envbuild.outputs.reproduce import Reproduced, reproduce
from envbuild.outputs.settings import OutputSettings, read_output_settings
from envbuild.outputs.verdict import worst
from envbuild.source import Repo
from tests.outputs.examples import STARTED, code, content, display, error, stream

MARKDOWN = {"cell_type": "markdown", "metadata": {}, "source": "# Title"}


class Kernel:
    """Executes cells by a table: source -> outputs. A source that is not in it fails."""

    def __init__(self, results: Mapping[str, Sequence[dict[str, Any]]]) -> None:
        self.results = results
        self.calls: list[tuple[tuple[str, ...], float | None]] = []
        self.given: dict[str, dict[str, Any]] = {}

    def __call__(
        self, notebooks: Sequence[str], contents: Mapping[str, bytes], timeout: float | None
    ) -> list[tuple[bytes, RepoError | None]]:
        self.calls.append((tuple(notebooks), timeout))
        return [self._execute(path, json.loads(contents[path])) for path in notebooks]

    def _execute(self, path: str, document: dict[str, Any]) -> tuple[bytes, RepoError | None]:
        self.given[path] = json.loads(json.dumps(document))
        count = 0
        for cell in document["cells"]:
            tags = cell["metadata"].get("tags", [])
            if cell["cell_type"] != "code" or "skip-execution" in tags:
                continue
            count += 1
            cell["execution_count"] = count
            if cell["source"] not in self.results:
                return json.dumps(document).encode(), RepoError("it failed", code="cell-failed", file=path)
            cell["outputs"] = list(self.results[cell["source"]])
        return json.dumps(document).encode(), None


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path)


def run(
    repo: Repo, kernel: Kernel, settings: OutputSettings | None = None, **more: Any
) -> tuple[Reproduced, ...]:
    paths = sorted(path.relative_to(repo.root).as_posix() for path in repo.root.rglob("*.ipynb"))
    return reproduce(repo, paths, kernel, settings=settings or OutputSettings(), **more)


def states(result: Reproduced) -> list[str]:
    return [cell.state for cell in result.verdict.cells]


def test_every_state_of_a_cell(repo: Repo) -> None:
    cells = [
        MARKDOWN,
        code("same", display(text_plain="1.0")),
        code("differs", display(text_plain="1.0")),
        code("# NBVAL_IGNORE_OUTPUT", display(text_plain="1.0")),
        code("skip", stream("kept"), tags=["nbval-skip"]),
        code("never run", count=None),
        code("", count=None),
    ]
    (repo.root / "a.ipynb").write_bytes(content(*cells))
    kernel = Kernel(
        {
            "same": [display(text_plain="1.0000000001")],
            "differs": [display(text_plain="1.1")],
            "# NBVAL_IGNORE_OUTPUT": [stream("anything")],
            "never run": [stream("new")],
            "": [],
        }
    )

    (result,) = run(repo, kernel)

    assert ["same", "differs", "not-compared", "not-executed", "nothing-stored"] == states(result)
    assert ("differs", "outputs-differ") == (result.verdict.outcome, worst([result.verdict]))
    message = "outputs differ: cell 3 (In [2]): output 1: number 1.1 instead of 1.0 (10 %)"
    assert message == (result.verdict.error or RepoError("", code="")).message


def test_what_is_executed(repo: Repo) -> None:
    """No stored output, and the tags that nbclient knows, whoever's convention was used."""
    cells = [
        code("a", stream("old"), count=7, tags=["mine"]),
        code("b", tags=["nbval-raises-exception"]),
        code("# NBVAL_SKIP", stream("old")),
    ]
    (repo.root / "a.ipynb").write_bytes(content(*cells, execution={"allow_errors": False, "timeout": 30}))
    kernel = Kernel({"a": [], "b": [error("E", "x")]})

    run(repo, kernel)

    given = kernel.given["a.ipynb"]
    expected = [["mine"], ["nbval-raises-exception", "raises-exception"], ["skip-execution"]]
    assert expected == [cell["metadata"]["tags"] for cell in given["cells"]]
    assert [([], None)] * 3 == [(cell["outputs"], cell["execution_count"]) for cell in given["cells"]]
    assert [(("a.ipynb",), 30)] == kernel.calls


def test_errors_are_allowed_by_the_notebook(repo: Repo) -> None:
    (repo.root / "a.ipynb").write_bytes(content(code("a", error("E", "x")), execution={"allow_errors": True}))
    kernel = Kernel({"a": [error("E", "x")]})

    (result,) = run(repo, kernel)

    assert ("same", ["raises-exception"]) == (
        result.verdict.outcome,
        kernel.given["a.ipynb"]["cells"][0]["metadata"]["tags"],
    )


def test_a_failed_notebook_is_another_outcome(repo: Repo) -> None:
    cells = [code("same"), code("fails", stream("old")), code("later", stream("old"))]
    (repo.root / "a.ipynb").write_bytes(content(*cells))
    (repo.root / "b.ipynb").write_bytes(b"{")
    (repo.root / "c.ipynb").write_bytes(content(code("differs")))

    first, second, third = run(repo, Kernel({"same": [], "differs": [stream("new")]}))

    assert ["same", "failed", "not-reached"] == states(first)
    outcomes = [
        (one.verdict.outcome, one.verdict.error.code) for one in (first, second, third) if one.verdict.error
    ]
    assert [("failed", "cell-failed"), ("failed", "bad-notebook"), ("differs", "outputs-differ")] == outcomes
    assert "notebook-failed" == worst([one.verdict for one in (first, second, third)])
    assert None is first.executed


def test_a_cell_that_failed_already_is_to_be_tagged(repo: Repo) -> None:
    (repo.root / "a.ipynb").write_bytes(content(code("fails", error("E", "x"))))

    (result,) = run(repo, Kernel({}))

    assert "if the cell is meant to fail, tag it `raises-exception`" == getattr(
        result.verdict.error, "remedy", ""
    )


def test_nothing_to_compare_is_said(repo: Repo) -> None:
    (repo.root / "a.ipynb").write_bytes(content(code("a", count=None)))

    (result,) = run(repo, Kernel({"a": [stream("new")]}))

    assert ("nothing-stored", None) == (result.verdict.outcome, worst([result.verdict]))


def test_a_kernel_may_not_change_the_cells(repo: Repo) -> None:
    (repo.root / "a.ipynb").write_bytes(content(code("a")))

    def forge(*_: object) -> list[tuple[bytes, RepoError | None]]:
        return [(content(code("b")), None)]

    (result,) = reproduce(repo, ["a.ipynb"], forge, settings=OutputSettings())

    assert ("failed", "not-executed") == (result.verdict.outcome, getattr(result.verdict.error, "code", None))


def test_settings_of_a_notebook(repo: Repo) -> None:
    table = {
        "only-marked": True,
        "notebooks": {"slow*": {"skip": True}, "b*": {"timeout": 5, "sanitize-with": "seeds.cfg"}},
    }
    (repo.root / "seeds.cfg").write_text("regex: seed \\d\nreplace: S\n")
    cells = [code("unmarked", stream("1")), code("# NBVAL_CHECK_OUTPUT", stream("seed 1"))]
    for name in ("a", "b", "slow"):
        (repo.root / f"{name}.ipynb").write_bytes(content(*cells))
    kernel = Kernel({"unmarked": [stream("2")], "# NBVAL_CHECK_OUTPUT": [stream("seed 2")]})

    first, second, third = run(repo, kernel, read_output_settings(table))

    assert (["not-compared", "differs"], ["not-compared", "same"], []) == (
        states(first),
        states(second),
        states(third),
    )
    assert ("skipped", [(("a.ipynb",), None), (("b.ipynb",), 5)]) == (third.verdict.outcome, kernel.calls)


def test_a_file_of_replacements_that_is_not_there_is_told_before_anything_runs(repo: Repo) -> None:
    (repo.root / "a.ipynb").write_bytes(content(code("a")))
    kernel = Kernel({"a": []})

    with pytest.raises(RepoError) as caught:
        run(repo, kernel, OutputSettings(sanitize_with="none.cfg"))

    assert ("none.cfg", []) == (caught.value.file, kernel.calls)


@pytest.mark.parametrize(
    ("started", "seconds", "outcome"),
    [
        ("2026-11-21T15:50:20Z", 30, "same"),
        ("2026-11-21T15:55:20Z", 30, "differs"),
        ("2001-11-21T15:55:20Z", 30, "same"),  # out of the time in which all of them ran, which is believed
        ("2026-11-21T15:55:20", 30, "same"),
        ("soon", 30, "same"),
        ("2026-11-21T15:55:20Z", 1e300, "same"),
    ],
)
def test_now_is_when_the_notebook_ran(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, started: str, seconds: float, outcome: str
) -> None:
    """All of them took an hour, in which every time of a day is now."""
    (repo.root / "a.ipynb").write_bytes(content(code("time", stream("12:00:00"))))
    times = iter([STARTED - timedelta(minutes=30), STARTED + timedelta(minutes=30)])

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromisoformat(next(times).isoformat())

    monkeypatch.setattr("envbuild.outputs.reproduce.datetime", Clock)

    def execute(*_: object) -> list[tuple[bytes, RepoError | None]]:
        record = {"image_id": "sha256:0", "platform": "linux/amd64", "started": started, "seconds": seconds}
        return [(content(code("time", stream("15:50:31")), envbuild=record), None)]

    (result,) = reproduce(repo, ["a.ipynb"], execute, settings=OutputSettings())

    assert outcome == result.verdict.outcome
