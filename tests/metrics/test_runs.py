"""How runs add up, and what is said of the last one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from envbuild.metrics.definitions import BUCKETS, METRICS
from envbuild.metrics.runs import keep, read_totals, totals_path
from envbuild.metrics.totals import MOST_SERIES, Totals
from envbuild.observation import FinishedStage, Observation, Probed


def _run(verb: str = "build", *stages: FinishedStage) -> Observation:
    return Observation("0" * 32, verb, stages=list(stages), layers=Counter(store=30, registry=2, packed=1))


def test_runs_add_up(tmp_path: Path) -> None:
    fetch = FinishedStage("fetch", "B", 1.5, 300, 100)
    push = FinishedStage("push", "B", 0.2, 1000, 900)

    keep(tmp_path, _run("build", fetch, push), None, success=True)
    keep(tmp_path, _run("build", fetch), "no-such-package", success=False)

    totals = read_totals(tmp_path)
    assert {("build", "done", ""): 1, ("build", "failed", "no-such-package"): 1} == totals.values[
        "envbuild_runs_total"
    ]
    assert {("store",): 60, ("registry",): 4, ("packed",): 2} == totals.values["envbuild_layers_total"]
    assert {("pushed",): 100, ("pulled",): 0, ("downloaded",): 400} == totals.values[
        "envbuild_transferred_bytes_total"
    ]
    fetched = totals.durations["envbuild_stage_duration_seconds"][("fetch",)]
    assert (2, 3.0) == (sum(fetched.counts), fetched.total)


def test_the_last_run_replaces_the_one_before(tmp_path: Path) -> None:
    keep(tmp_path, _run("build", FinishedStage("lock", "packages", 1.0, 1, 0)), None, success=True)
    keep(tmp_path, _run("push"), None, success=True)
    keep(tmp_path, _run("build", FinishedStage("pack", "layers", 2.0, 1, 0)), "x", success=False)

    values = read_totals(tmp_path).values
    assert {("build", "pack"): 2.0} == values["envbuild_last_run_stage_duration_seconds"]
    assert {("build",): 0, ("push",): 1} == values["envbuild_last_run_success"]


@pytest.mark.parametrize(
    ("failure", "stage", "counted"),
    [
        ("no-such-package", "lock", True),
        ("lock-stale", "", True),
        ("registry-refused", "push", False),
        ("interrupted", "lock", False),
    ],
)
def test_failures_to_lock_have_a_cause(tmp_path: Path, failure: str, stage: str, counted: bool) -> None:
    stages = [FinishedStage(stage, "B", 1.0, 0, 0, failure)] if stage else []

    keep(tmp_path, _run("lock", *stages), failure, success=False)

    assert ({(failure,): 1} if counted else {}) == read_totals(tmp_path).values.get(
        "envbuild_lock_failures_total", {}
    )


def test_interrupted_is_an_outcome(tmp_path: Path) -> None:
    keep(tmp_path, _run(), "interrupted", success=False)

    assert [("build", "interrupted", "interrupted")] == list(
        read_totals(tmp_path).values["envbuild_runs_total"]
    )


def test_probes_are_told(tmp_path: Path) -> None:
    run = _run("probe")
    run.kernel_starts = [("bubblewrap", 0.7), ("bubblewrap", 40.0)]
    run.probes = [Probed("demo", "bubblewrap", (("kernel", 0.7),), True)]

    keep(tmp_path, run, None, success=True)

    totals = read_totals(tmp_path)
    assert {("demo", "bubblewrap", "kernel"): 0.7} == totals.values["envbuild_probe_duration_seconds"]
    assert 2 == sum(totals.durations["envbuild_kernel_start_seconds"][("bubblewrap",)].counts)


@pytest.mark.parametrize("code", ["../../etc", "x" * 100, "a b", 'a"b\n'])
def test_codes_are_bounded(tmp_path: Path, code: str) -> None:
    keep(tmp_path, _run(), code, success=False)

    assert [("build", "failed", "other")] == list(read_totals(tmp_path).values["envbuild_runs_total"])


def test_series_are_bounded() -> None:
    totals = Totals()

    for number in range(MOST_SERIES + 10):
        totals.add("envbuild_runs_total", 1, "build", "failed", f"code-{number}")

    series = totals.values["envbuild_runs_total"]
    assert (MOST_SERIES + 1, 10) == (len(series), series[("other", "other", "other")])


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"[" * 20_000),
        b'{"values": {"envbuild_runs_total": [["a", 1]]}, "buckets": []}',
        b'{"values": {"envbuild_runs_total": [["a", "b", "c", 1%s]]}, "buckets": []}' % (b"0" * 400),
        json.dumps(
            {
                "values": {},
                "buckets": BUCKETS,
                "durations": {"envbuild_run_duration_seconds": [["a", [float("inf")] * 15, 1]]},
            }
        ).encode(),
    ],
    ids=range(8),
)
def test_numbers_that_cannot_be_read_begin_anew(tmp_path: Path, data: bytes) -> None:
    totals_path(tmp_path).parent.mkdir()
    totals_path(tmp_path).write_bytes(data)

    keep(tmp_path, _run(), None, success=True)

    assert {("build", "done", ""): 1} == read_totals(tmp_path).values["envbuild_runs_total"]


def test_what_another_version_knows_is_left_out() -> None:
    data = b'{"values": {"envbuild_of_tomorrow": [["a", 1]]}, "durations": {"x": [[[1], 1]]}, "buckets": [1]}'

    assert Totals() == Totals.load(data)


def test_totals_are_kept_as_they_are() -> None:
    totals = Totals()
    totals.add("envbuild_runs_total", 3, "build", "done", "")
    totals.observe("envbuild_run_duration_seconds", 0.25, "build")
    totals.observe("envbuild_run_duration_seconds", 1e9, "build")

    assert totals == Totals.load(totals.dump())


def test_no_run_is_lost_when_many_end_at_once(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from envbuild.metrics.runs import keep\nfrom envbuild.observation import Observation\n"
        "for _ in range(20): keep(Path(sys.argv[1]), Observation('0' * 32, 'build'), None, success=True)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(4)]

    assert [0] * 4 == [one.wait() for one in running]
    assert {("build", "done", ""): 80} == read_totals(tmp_path).values["envbuild_runs_total"]
    assert {"lock", "totals.json"} == {path.name for path in (tmp_path / "metrics").iterdir()}


def test_names_follow_the_conventions() -> None:
    for metric in METRICS.values():
        assert metric.name.startswith("envbuild_")
        assert metric.help.endswith(".")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert not {"le", "quantile", "job", "instance"} & set(metric.labels)
