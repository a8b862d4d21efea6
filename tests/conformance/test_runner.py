"""How an image is held to the contract."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from envbuild.conformance.contract import CONTRACT, chosen
from envbuild.conformance.model import Limits, Result, Scenario
from envbuild.conformance.runner import hold
from envbuild.progress import Silent
from tests.conformance.platforms import ANSWERS, SUBJECT, FakePlatform, FakeTrial, good


def held(platform: FakePlatform, *only: str) -> dict[str, Result]:
    results = hold(platform, chosen(only, ()), Limits(), Silent())
    return {result.test.id: result for result in results}


def not_passed(results: dict[str, Result]) -> dict[str, str]:
    return {
        name: result.outcome.state for name, result in results.items() if result.outcome.state != "passed"
    }


def test_a_good_image_passes_everything_in_one_container_for_each_scenario() -> None:
    platform = FakePlatform(good)

    results = held(platform)

    assert [test.id for test in CONTRACT] == list(results)
    assert {} == not_passed(results)
    trials = list(platform.trials.values())
    assert [1] * 10 == [trial.removed for trial in trials if isinstance(trial, FakeTrial)]


def test_only_what_is_chosen_is_started() -> None:
    platform = FakePlatform(good)

    held(platform, "user", "home")

    assert ["home"] == list(platform.trials)


def test_what_rests_on_something_that_failed_is_not_checked() -> None:
    def make(scenario: Scenario) -> FakeTrial | str:
        return "it cannot be started: no such file" if scenario.id == "lab" else good(scenario)

    results = held(FakePlatform(make))

    needing = ("kernels", "writes", "reaping", "sigterm", "group-0", "group-100", "home", "read-only")
    assert {"jupyter-lab": "failed", **dict.fromkeys(needing, "not-checked")} == not_passed(results)
    assert "it cannot be started: no such file" == results["jupyter-lab"].outcome.seen
    assert "it needs `jupyter-lab`" == results["kernels"].outcome.seen


@pytest.mark.parametrize(
    ("trial", "state", "seen"),
    [
        (
            FakeTrial(code=None, ended=1),
            "failed",
            "it ended with exit code 1 before it answered",
        ),
        (
            FakeTrial(code=None, ended=137, out_of_memory_=True),
            "failed",
            "it was ended for lack of memory",
        ),
        (
            FakeTrial(code=127),
            "not-checked",
            "there is no python3 in the image to look with",
        ),
        # What runs there as python3 may be anything.
        *(
            (FakeTrial(output), "failed", "its python3 did not give an answer that can be read")
            for output in (
                "",
                "Python",
                "[]",
                "null",
                "\udcff",
                "[" * 100_000,
                json.dumps({**ANSWERS, "server": {"status": "200"}}),
                json.dumps({**ANSWERS, "kernels": [{"name": 1}]}),
                json.dumps({**ANSWERS, "listening": [["any", 8888, 3]]}),
                json.dumps({**ANSWERS, "server": {"status": 200, "seconds": 10**400, "said": ""}}),
            )
        ),
    ],
)
def test_a_container_that_gives_no_answers(trial: FakeTrial, state: str, seen: str) -> None:
    result = held(FakePlatform(lambda scenario: trial), "jupyter-lab")["jupyter-lab"]

    assert (state, seen) == (result.outcome.state, result.outcome.seen)
    assert "the end of the log" == result.log
    assert 1 == trial.removed


def test_the_containers_time_is_bounded() -> None:
    platform = FakePlatform(good)

    hold(platform, chosen(("port", "kernels"), ()), Limits(seconds=7), Silent())

    asked = {
        name: (json.loads(trial.asked[0][0][-1])["seconds"], trial.asked[0][1])
        for name, trial in platform.trials.items()
        if isinstance(trial, FakeTrial)
    }
    assert {"own": (7, 67), "lab": (7, 367)} == asked


def test_the_images_own_command_may_listen_on_any_exposed_port() -> None:
    platform = FakePlatform(good, replace(SUBJECT, ports=(80, 8888)))

    assert {} == not_passed(held(platform, "port"))
    trial = platform.trials["own"]
    assert isinstance(trial, FakeTrial)
    assert [80, 8888] == json.loads(trial.asked[0][0][-1])["ports"]


def test_without_a_command_nothing_is_started() -> None:
    platform = FakePlatform(good, replace(SUBJECT, command=False))

    seen = held(platform, "port")["port"].outcome.seen

    assert "it has no command of its own, so nothing listens on the exposed port" == seen
    assert {} == platform.trials


def test_interrupted_it_removes_the_container() -> None:
    class Interrupted(FakeTrial):
        def ask(self, argv: tuple[str, ...], seconds: float) -> tuple[int | None, str]:
            raise KeyboardInterrupt

    trial = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        held(FakePlatform(lambda scenario: trial), "jupyter-lab")

    assert 1 == trial.removed
