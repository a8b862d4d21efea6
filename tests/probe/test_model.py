"""How starts are judged; that images are really started is in tests/integration/test_probe.py."""

from __future__ import annotations

import pytest

from envbuild.probe.model import Report, Start, Thresholds

_REPORT = Report((Start(1.0, 2.0, 0.5), Start(3.0, 9.0, 0.7), Start(2.0, 4.0, 0.6)))


def test_medians_and_worst() -> None:
    assert {"server": 2.0, "kernel": 4.0, "imports": 0.6} == _REPORT.medians
    assert {"server": 3.0, "kernel": 9.0, "imports": 0.7} == _REPORT.worst


def test_a_phase_that_was_not_measured_has_no_median() -> None:
    assert {"server": 1.0, "kernel": 2.0} == Report((Start(1.0, 2.0, None),)).medians


@pytest.mark.parametrize(
    ("thresholds", "exceeded"),
    [
        (Thresholds(), []),
        (Thresholds(server=2.0, kernel=4.0, imports=0.6), []),
        (Thresholds(kernel=3.9), ["kernel"]),
        (Thresholds(server=1.0, kernel=100.0, imports=0.1), ["server", "imports"]),
    ],
)
def test_medians_are_held_against_thresholds(thresholds: Thresholds, exceeded: list[str]) -> None:
    assert exceeded == _REPORT.exceeded(thresholds)


def test_a_threshold_for_what_was_not_measured_is_not_exceeded() -> None:
    assert [] == Report((Start(1.0, 2.0, None),)).exceeded(Thresholds(imports=0.1))
