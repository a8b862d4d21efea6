"""When work is tried again."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import RemoteError
from envbuild.registry.retry import Pace, Patience, Retries, Transient, retry_after

ERROR = RemoteError("it failed", code="x")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 400, 999_999_999.0),
        ("soon", None),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 12:00:30", 30.0),
        ("Sun, 01 Mar 2020 12:00:30 GMT", 0.0),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert expected == retry_after(value, lambda: NOW)


@given(st.text())
def test_nothing_breaks_retry_after(value: str) -> None:
    seconds = retry_after(value)

    assert seconds is None or seconds >= 0


@given(st.integers(0, 10**6))
def test_dates_are_read_back(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)

    assert float(seconds) == retry_after(date, lambda: NOW)


def test_pauses_grow_and_differ() -> None:
    retries = Retries(first_pause=1.0, longest_pause=10.0)

    pauses = [[retries.pause(failures) for _ in range(20)] for failures in range(1, 7)]

    for longest, several in zip((1, 2, 4, 8, 10, 10), pauses, strict=True):
        assert all(longest / 2 <= pause <= longest for pause in several)
        assert 1 < len(set(several))


def _patience(attempts: int = 3) -> Patience:
    return Patience(Retries(attempts, first_pause=0.0), threading.Event())


def test_work_is_tried_until_it_succeeds() -> None:
    outcomes = iter([Transient(ERROR), Transient(ERROR), 7])

    def work() -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Transient):
            raise outcome
        return outcome

    assert 7 == _patience().through(work)


def test_the_error_is_the_last_one() -> None:
    tried = []

    def work() -> None:
        tried.append(1)
        raise Transient(RemoteError(f"failure {len(tried)}", code="x"))

    with pytest.raises(RemoteError, match="failure 3"):
        _patience().through(work)
    assert 3 == len(tried)


def test_progress_gives_new_tries() -> None:
    patience = _patience()
    for _ in range(10):
        patience.wait(Transient(ERROR))
        patience.advance(1 << 20)
    patience.wait(Transient(ERROR))
    patience.advance(1000)
    patience.wait(Transient(ERROR))

    with pytest.raises(RemoteError):
        patience.wait(Transient(ERROR))


def test_a_server_that_asks_for_too_much_is_not_waited_for() -> None:
    with pytest.raises(RemoteError, match="it failed"):
        _patience().wait(Transient(ERROR, pause=3600.0))


def test_nobody_waits_after_the_end() -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(CancelledError):
        Patience(Retries(), stop).wait(Transient(ERROR, pause=60.0))


def test_pace() -> None:
    now = 0.0
    pace = Pace(lambda: now)

    assert pace.keeps(0)
    now = 59.0
    assert pace.keeps(1)
    now = 61.0
    assert not pace.keeps(1)
    now = 125.0
    assert pace.keeps(1 << 20)
