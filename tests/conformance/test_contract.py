"""What passes and what fails, test by test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envbuild.conformance import scenarios
from envbuild.conformance.contract import CONTRACT, chosen
from envbuild.conformance.model import Answers, Evidence, Heard, Kernel, Outcome, Scenario
from envbuild.errors import UsageError
from tests.conformance.platforms import SUBJECT

TESTS = {test.id: test for test in CONTRACT}
PYTHON = Kernel("python3", "python", None, "2")
GOOD = Answers(Heard(200, 1.5, ""), (("any", 8888),), 403, (PYTHON,), "reaped", ("GET /hub/api/user",))
SERVED = Evidence(answers=GOOD, exit_code=0, stop_seconds=1.0, written=("/tmp/x",))
SILENT = replace(GOOD, server=Heard(None, 120, "nothing listens"), anonymous=None, kernels=None)


def decided(name: str, evidence: Evidence = SERVED, **subject: Any) -> Outcome:
    return TESTS[name].check(replace(SUBJECT, **subject), evidence)


def answering(**changes: Any) -> Evidence:
    return replace(SERVED, answers=replace(GOOD, **changes))


@pytest.mark.parametrize(
    ("user", "state", "seen"),
    [
        ("1000", "passed", "USER 1000"),
        ("1000:100", "passed", "USER 1000:100"),
        ("", "failed", "its config has no USER, so it runs as root"),
        ("0", "failed", "its USER is '0', which is root"),
        ("00:1000", "failed", "its USER is '00:1000', which is root"),
        ("jovyan", "failed", "its USER is 'jovyan', a name"),
        ("١٠٠٠", "failed", "its USER is '١٠٠٠', a name"),
        ("9" * 5000, "failed", f"its USER is '{'9' * 160}…', a name"),
    ],
)
def test_user(user: str, state: str, seen: str) -> None:
    assert (state, seen) == (decided("user", user=user).state, decided("user", user=user).seen)


@pytest.mark.parametrize(
    ("evidence", "state", "seen"),
    [
        (
            Evidence(exit_code=0, log="python3 -c x\n"),
            "failed",
            "something else ran, and said 'python3 -c x'",
        ),
        (Evidence(exit_code=1), "failed", "it ended with exit code 1"),
        (Evidence(), "failed", "it was started, and did not end"),
        (Evidence(trouble="it cannot be started: x"), "failed", "it cannot be started: x"),
    ],
)
def test_commands(evidence: Evidence, state: str, seen: str) -> None:
    for name in ("shell", "python3"):
        assert Outcome(state, seen) == decided(name, evidence)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "said"), [("shell", "Pulling complete"), ("python3", "3.15.0rc1+")])
def test_what_a_command_says_is_one_of_the_lines(name: str, said: str) -> None:
    evidence = Evidence(exit_code=0, log=f"a start script\r\n{said}\r\nbye\n")

    assert Outcome("passed", f"it ran, and said '{said}'") == decided(name, evidence)


@pytest.mark.parametrize(
    ("ports", "listening", "seen"),
    [
        ((), (("any", 8888),), "it exposes no port"),
        (
            (8888,),
            (("loopback", 8888),),
            "its own command listens on port 8888 of the loopback interface only",
        ),
        ((8888,), (("any", 9999),), "it exposes 8888, and its own command listens on 9999"),
        ((1, 2), (), "it exposes 1, 2, and its own command listens on no port"),
    ],
)
def test_port(ports: tuple[int, ...], listening: tuple[tuple[str, int], ...], seen: str) -> None:
    assert Outcome("failed", seen) == decided("port", answering(listening=listening), ports=ports)


def test_port_without_http() -> None:
    seen = "its own command listens on port 8888, and does not answer HTTP there"
    assert Outcome("failed", seen) == decided("port", answering(server=Heard(None, 120, "x")))


SERVERS = ("group-0", "group-100", "home", "read-only", "jupyterhub-singleuser", "binderhub")


@pytest.mark.parametrize("name", SERVERS)
def test_servers(name: str) -> None:
    broken = (replace(PYTHON, error="no such file"),)
    good = "answered after 1.5 s, and the kernel python3 gives 2 for 1+1"

    assert Outcome("passed", good) == decided(name)
    assert Outcome("failed", "the server answers everybody, also without its token") == decided(
        name, answering(anonymous=200, hub=())
    )
    assert Outcome("failed", "the server answers, but the kernel python3: no such file") == decided(
        name, answering(kernels=broken, hub=())
    )
    assert Outcome("failed", "no answer within 120 s: nothing listens") == decided(
        name, Evidence(answers=replace(SILENT, hub=()))
    )
    assert Outcome("failed", "it ended") == decided(name, Evidence(trouble="it ended"))


def test_a_server_that_does_not_ask_its_hub() -> None:
    seen = "it answers without asking the hub whose token it was given"
    assert Outcome("failed", seen) == decided("jupyterhub-singleuser", answering(hub=("GET /hub/api",)))


def test_what_was_asked_of_the_hub_is_said() -> None:
    seen = "no answer within 120 s: nothing listens; of the hub it asked GET /hub/api/user"
    assert Outcome("failed", seen) == decided("jupyterhub-singleuser", Evidence(answers=SILENT))


@pytest.mark.parametrize(
    ("kernels", "state", "seen"),
    [
        ((PYTHON, replace(PYTHON, name="ir")), "passed", "1+1 was answered by python3, ir"),
        ((), "failed", "it has no kernel"),
        (
            (PYTHON, *[replace(PYTHON, name="ghost", error="no such file")] * 2),
            "failed",
            "the kernel ghost: no such file (and 1 more)",
        ),
        (None, "not-checked", "the server did not answer"),
    ],
)
def test_kernels(kernels: tuple[Kernel, ...] | None, state: str, seen: str) -> None:
    assert Outcome(state, seen) == decided("kernels", answering(kernels=kernels))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "state", "seen"),
    [
        (("/tmp", "/tmp/a"), "passed", "it wrote only below /home/jovyan, /srv/repo, /tmp"),
        (("/tmpfile", "/var/a"), "failed", "it wrote /tmpfile, /var/a"),
        (
            tuple(f"/var/{letter}" for letter in "abcdefg"),
            "failed",
            "it wrote /var/a, /var/b, /var/c, /var/d, /var/e and 2 more",
        ),
        (None, "failed", "it changed more files than can be listed"),
    ],
)
def test_writes(written: tuple[str, ...] | None, state: str, seen: str) -> None:
    assert Outcome(state, seen) == decided("writes", replace(SERVED, written=written))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exit_code", "state", "seen"),
    [
        (0, "passed", "it ended 1.0 s after SIGTERM, with exit code 0"),
        (143, "passed", "it ended 1.0 s after SIGTERM, with exit code 143"),
        (1, "failed", "it ended with exit code 1 after SIGTERM"),
        (None, "failed", "it still ran 1 s after SIGTERM"),
    ],
)
def test_sigterm(exit_code: int | None, state: str, seen: str) -> None:
    found = decided("sigterm", replace(SERVED, exit_code=exit_code))
    assert Outcome(state, seen) == found  # type: ignore[arg-type]


def test_reaping() -> None:
    assert "passed" == decided("reaping").state
    assert "failed" == decided("reaping", answering(orphan="zombie")).state
    assert "not-checked" == decided("reaping", answering(orphan=None)).state


def test_nothing_is_said_of_a_container_that_was_not_seen() -> None:
    blind = Evidence(trouble="x", blind=True)
    names = ("port", "jupyter-lab", "kernels", "writes", "reaping", "sigterm", *SERVERS)
    assert dict.fromkeys(names, "not-checked") == {name: decided(name, blind).state for name in names}


def test_records_are_whole() -> None:
    assert len(CONTRACT) == len(TESTS)
    used = {test.scenario.id for test in CONTRACT if test.scenario}
    assert {made.id for made in vars(scenarios).values() if isinstance(made, Scenario)} == used
    earlier: set[str] = set()
    for test in CONTRACT:
        assert set(test.requires) <= earlier, "what a test rests on comes before it"
        earlier.add(test.id)


def test_choosing() -> None:
    assert ["user", "home"] == [test.id for test in chosen(("home", "user"), ())]
    assert ["user"] == [test.id for test in chosen(("home", "user"), ("home",))]
    assert len(CONTRACT) - 1 == len(chosen((), ("home",)))
    for only, skip in ((("hom",), ()), ((), ("hom",)), (("home",), ("home",))):
        with pytest.raises(UsageError) as caught:
            chosen(only, skip)
        assert "no-such-test" == caught.value.code
