"""What a run adds to the numbers, which are kept in the cache between runs (``metrics/totals.json``)."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Final

import envbuild
from envbuild.metrics.totals import Totals
from envbuild.observation import LEVELS, FinishedStage, Observation
from envbuild.store.disk import write_atomic
from envbuild.store.locks import open_lock, wait_for

__all__ = ["COUNTED", "keep", "last_run", "read_totals", "totals_path"]

# Verbs that do work. Looking at something is not worth writing for.
COUNTED: Final = frozenset(
    {
        *("lock", "build", "base build", "push", "pull", "up", "run", "verify", "attest", "check"),
        *("verify-image", "probe", "warm apply", "warm status", "warm node"),
    }
)
_DIRECTIONS: Final = {"push": "pushed", "pull": "pulled", "fetch": "downloaded"}
_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
# A run does not wait long for others to have written down theirs.
_PATIENCE: Final = 5.0


def totals_path(cache: Path) -> Path:
    """Where the numbers of a cache directory are."""
    return cache / "metrics" / "totals.json"


def read_totals(cache: Path) -> Totals:
    """The numbers of all runs with this cache directory; those that cannot be read begin anew."""
    try:
        return Totals.load(totals_path(cache).read_bytes())
    except (OSError, ValueError):
        return Totals()


def keep(cache: Path, run: Observation, failure: str | None, *, success: bool) -> Totals:
    """Add ``run`` to the numbers of a cache directory, and return them.

    Parameters:
        failure: the code of the error that ended it.
        success: whether it did what it was to do.

    Raises:
        OSError: they cannot be written.
        MachineError: the disk is full.
    """
    path = totals_path(cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open_lock(path.with_name("lock"))
    try:
        wait_for(handle, patience=_PATIENCE)  # without one a count may be lost
        totals = read_totals(cache)
        _count(totals, run, failure, success=success)
        last_run(totals, run, success=success)
        write_atomic(path, totals.dump())
    finally:
        os.close(handle)
    return totals


def _count(totals: Totals, run: Observation, failure: str | None, *, success: bool) -> None:
    """What only grows."""
    code = failure if failure is None or _CODE.fullmatch(failure) else "other"
    outcome = "done" if success else "interrupted" if code == "interrupted" else "failed"
    totals.add("envbuild_runs_total", 1, run.verb, outcome, code or "")
    totals.observe("envbuild_run_duration_seconds", run.seconds, run.verb)
    for stage in run.stages:
        totals.observe("envbuild_stage_duration_seconds", stage.seconds, stage.name)
    for level in LEVELS:
        totals.add("envbuild_layers_total", run.layers[level], level)
    for direction, amount in _transferred(run.stages).items():
        totals.add("envbuild_transferred_bytes_total", amount, direction)
    if code and code != "interrupted" and (code.startswith("lock-") or _failed_locking(run)):
        totals.add("envbuild_lock_failures_total", 1, code)
    for engine, seconds in run.kernel_starts:
        totals.observe("envbuild_kernel_start_seconds", seconds, engine)


def last_run(totals: Totals, run: Observation, *, success: bool) -> None:
    """What is true of the last run: the whole of it, in place of what was said of the one before."""
    verb = run.verb
    totals.forget("envbuild_info")
    totals.set("envbuild_info", 1, envbuild.__version__)
    totals.set("envbuild_last_run_timestamp_seconds", round(time.time(), 3), verb)
    totals.set("envbuild_last_run_success", int(success), verb)
    totals.set("envbuild_last_run_duration_seconds", round(run.seconds, 3), verb)
    for name in ("stage_duration_seconds", "layers", "transferred_bytes"):
        totals.forget(f"envbuild_last_run_{name}", verb)
    for name, seconds in run.stage_seconds.items():
        totals.set("envbuild_last_run_stage_duration_seconds", round(seconds, 3), verb, name)
    for level in LEVELS if run.layers else ():
        totals.set("envbuild_last_run_layers", run.layers[level], verb, level)
    moved = _transferred(run.stages)
    for direction, amount in moved.items() if moved.total() else ():
        totals.set("envbuild_last_run_transferred_bytes", amount, verb, direction)
    for probed in run.probes:
        key = (probed.environment, probed.engine)
        for phase, seconds in probed.medians:
            totals.set("envbuild_probe_duration_seconds", seconds, *key, phase)
        totals.set("envbuild_probe_success", int(probed.success), *key)
        totals.set("envbuild_probe_timestamp_seconds", round(time.time(), 3), *key)


def _transferred(stages: list[FinishedStage]) -> Counter[str]:
    found = Counter(dict.fromkeys(_DIRECTIONS.values(), 0))
    for stage in stages:
        if stage.unit == "B" and stage.name in _DIRECTIONS:
            found[_DIRECTIONS[stage.name]] += stage.done - stage.cached
    return found


def _failed_locking(run: Observation) -> bool:
    return any(stage.name == "lock" and stage.failure is not None for stage in run.stages)
