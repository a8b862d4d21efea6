"""What holds for all tests."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import ssl
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from envbuild.certificates import trusting_context

# Ignored in what a script starts with `&`, it would be in what the tests start and interrupt, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine may be busy: how long an example takes is no property of the code. A plain run tries a few
# examples, others every time; scripts/test asks for the thorough profile. In CI they are as many, and the
# same every time: what a change does not touch cannot fail it.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("brief", _UNTIMED, max_examples=20)
settings.register_profile("thorough", _UNTIMED, max_examples=100, derandomize="CI" in os.environ)
settings.load_profile("thorough" if "CI" in os.environ else "brief")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage: a thousand modules and seven thousand tests stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # nor are they looked through later
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _authorities_are_read_once() -> Iterator[None]:
    """As long as the environment names the same: reading them takes longer than most tests do."""

    @functools.cache
    def read(environment: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
        return trusting_context(dict(environment))

    def remembered() -> ssl.SSLContext:
        names = sorted(name for name in os.environ if "CERT" in name or "BUNDLE" in name)
        return read(tuple((name, os.environ[name]) for name in names))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("envbuild.network.client.trusting_context", remembered)
        patch.setattr("envbuild.source.download.trusting_context", remembered)
        yield


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
