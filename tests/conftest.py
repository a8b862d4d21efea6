"""What holds for all tests."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from envbuild.certificates import trusting_context

# A machine may be busy: how long an example takes is no property of the code. In CI the examples are the same
# every time: what a change does not touch cannot fail it. New ones are looked for everywhere else.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("untimed")


@pytest.fixture
def certificates_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that connect to this machine only: reading the authorities takes longer than they do."""
    monkeypatch.setattr("envbuild.network.client.trusting_context", _context)


_context = functools.cache(trusting_context)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how the run ended."""
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without ending the interpreter when py-rattler is loaded: its threads can abort that.

    Everything has been reported by now. Workers of pytest-xdist still have to say so to the main process.
    """
    if "rattler" in sys.modules and not hasattr(config, "workerinput"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash.get(_STATUS, 1))


_STATUS = pytest.StashKey[int]()


@pytest.fixture(autouse=True)
def _logs_of_libraries_end_with_the_test() -> Iterator[None]:
    """A command with ``--log-format json`` takes them over for its process, which here goes on."""
    yield
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler).__module__ == "envbuild.cli.journal":
            root.removeHandler(handler)
