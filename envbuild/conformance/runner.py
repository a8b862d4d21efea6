"""Holds an image to the contract: one container for each way to start it, one result for each test."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from envbuild.conformance import program
from envbuild.conformance.checks import STOP_SECONDS
from envbuild.conformance.model import (
    Answers,
    ContractTest,
    Evidence,
    Limits,
    Outcome,
    Platform,
    Result,
    Scenario,
    Trial,
)
from envbuild.conformance.scenarios import PORT
from envbuild.progress import Reporter

__all__ = ["hold"]

_NO_PROGRAM = frozenset({126, 127})
_COMMAND_SECONDS = 30
_KERNEL_SECONDS = {"none": 0, "default": 120, "all": 300}  # when the server has answered


def hold(
    platform: Platform, tests: Sequence[ContractTest], limits: Limits, reporter: Reporter
) -> tuple[Result, ...]:
    """The results of ``tests``, in their order.

    Raises:
        MachineError: the engine failed.
    """
    seen: dict[str, Evidence] = {}
    results: dict[str, Result] = {}
    with reporter.stage("verify", unit="tests") as stage:
        stage.add_total(len(tests))
        for test in tests:
            stage.detail(test.title)
            results[test.id] = _result(platform, test, results, seen, limits)
            stage.advance(1)
    return tuple(results.values())


def _result(
    platform: Platform,
    test: ContractTest,
    results: dict[str, Result],
    seen: dict[str, Evidence],
    limits: Limits,
) -> Result:
    lacking = [name for name in test.requires if name in results and results[name].outcome.state != "passed"]
    if lacking:
        return Result(test, Outcome("not-checked", f"it needs `{lacking[0]}`"), 0)
    began = time.monotonic()
    evidence = Evidence()
    if test.scenario is not None:
        if test.scenario.id not in seen:
            seen[test.scenario.id] = _observe(platform, test.scenario, limits)
        evidence = seen[test.scenario.id]
    outcome = test.check(platform.subject, evidence)
    log = "" if outcome.state == "passed" else evidence.log
    return Result(test, outcome, time.monotonic() - began, log)


def _observe(platform: Platform, scenario: Scenario, limits: Limits) -> Evidence:
    if scenario.argv is None and not platform.subject.command:
        return Evidence(trouble="there is no command to start")
    trial = platform.start(scenario)
    if isinstance(trial, str):
        return Evidence(trouble=trial)
    with trial:
        if scenario.questions is None:
            return _run(trial, limits)
        ports = platform.subject.ports if scenario.argv is None else ()
        return _serve(trial, scenario, scenario.questions, ports or (PORT,), limits)


def _run(trial: Trial, limits: Limits) -> Evidence:
    code = trial.wait(min(_COMMAND_SECONDS, limits.seconds))
    return Evidence(exit_code=code, log=trial.log())


def _serve(
    trial: Trial,
    scenario: Scenario,
    questions: Mapping[str, Any],
    ports: Sequence[int],
    limits: Limits,
) -> Evidence:
    kernel_seconds = _KERNEL_SECONDS[questions["kernels"]]
    request = {
        **questions,
        "kernel_seconds": kernel_seconds,
        "seconds": limits.seconds,
        "ports": ports,
    }
    argv = ("python3", "-I", "-B", "-c", Path(program.__file__).read_text("utf-8"), json.dumps(request))
    code, output = trial.ask(argv, limits.seconds + kernel_seconds + 60)
    answers = _answers(output) if code == 0 else None
    if answers is None:
        ended = trial.wait(1)
        return Evidence(
            trouble=_trouble(trial, ended),
            blind=ended is None and code in _NO_PROGRAM,
            exit_code=ended,
            log=trial.log(),
        )
    log = trial.log()
    stopped: dict[str, Any] = {}
    if scenario.stops:
        began = time.monotonic()
        trial.terminate()
        stopped["exit_code"] = trial.wait(STOP_SECONDS)
        stopped["stop_seconds"] = time.monotonic() - began
        stopped["written"] = trial.written()
    return Evidence(answers=answers, log=log, **stopped)


def _answers(output: str) -> Answers | None:
    """What the program in the image says; None when it is something else that runs there as python3."""
    try:
        return msgspec.json.decode(output.encode(), type=Answers)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _trouble(trial: Trial, ended: int | None) -> str:
    if ended is None:
        return "its python3 did not give an answer that can be read"
    if trial.out_of_memory():
        return "it was ended for lack of memory"
    return f"it ended with exit code {ended} before it answered"
