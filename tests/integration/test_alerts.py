"""Alerts fire when they should, as Prometheus' own promtool sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.metrics.test_operator_files import ALERTS, alerts
from tests.support.programs import require

pytestmark = [pytest.mark.slow]

# What makes each alert fire, as promtool's series ("a+bxn": n more samples, each b higher).
_FIRING: dict[str, list[tuple[str, str]]] = {
    "EnvbuildPlatformErrors": [
        ('envbuild_runs_total{verb="push",outcome="failed",error="registry-refused"}', "0+1x120")
    ],
    "EnvbuildBuildsFail": [
        ('envbuild_runs_total{verb="build",outcome="failed",error="no-such-package"}', "0+1x240"),
        ('envbuild_runs_total{verb="build",outcome="done",error=""}', "0+0x240"),
    ],
    "EnvbuildJobFailed": [('envbuild_last_run_success{subject="demo",verb="build"}', "0x120")],
    "EnvbuildLockFailures": [('envbuild_lock_failures_total{cause="unsolvable"}', "0+1x120")],
    "EnvbuildCacheMisses": [
        ('envbuild_layers_total{level="packed"}', "0+10x240"),
        ('envbuild_layers_total{level="store"}', "0+1x240"),
    ],
    "EnvbuildKernelSlow": [
        ('envbuild_probe_duration_seconds{environment="demo",engine="docker",phase="kernel"}', "9x120")
    ],
    "EnvbuildProbeFailed": [('envbuild_probe_success{environment="demo",engine="docker"}', "0x120")],
    "EnvbuildProbeStale": [
        ('envbuild_probe_timestamp_seconds{environment="demo",engine="docker"}', "-90000x120")
    ],
    "EnvbuildPoolCold": [
        ('envbuild_warm_nodes{fleet="lab",pool="cpu"}', "7x120"),
        ('envbuild_warm_nodes_wanted{fleet="lab",pool="cpu"}', "8x120"),
    ],
    "EnvbuildWarmUnknown": [('envbuild_warm_status_success{fleet="lab"}', "0x120")],
}
# The same, all well.
_WELL = [
    ('envbuild_runs_total{verb="build",outcome="done",error=""}', "0+2x240"),
    ('envbuild_runs_total{verb="build",outcome="failed",error="no-such-package"}', "0+1x240"),
    ('envbuild_last_run_success{subject="demo",verb="build"}', "1x240"),
    ('envbuild_lock_failures_total{cause="unsolvable"}', "3x240"),
    ('envbuild_layers_total{level="packed"}', "0+1x240"),
    ('envbuild_layers_total{level="store"}', "0+30x240"),
    ('envbuild_probe_duration_seconds{environment="demo",engine="docker",phase="kernel"}', "3x240"),
    ('envbuild_probe_duration_seconds{environment="demo",engine="docker",phase="imports"}', "30x240"),
    ('envbuild_probe_success{environment="demo",engine="docker"}', "1x240"),
    ('envbuild_probe_timestamp_seconds{environment="demo",engine="docker"}', "0+60x240"),
    ('envbuild_warm_nodes{fleet="lab",pool="cpu"}', "8x240"),
    ('envbuild_warm_nodes_wanted{fleet="lab",pool="cpu"}', "8x240"),
    ('envbuild_warm_status_success{fleet="lab"}', "1x240"),
]


def _firing(series: list[tuple[str, str]], expected: list[str]) -> dict[str, Any]:
    """A test of promtool: which alerts fire after two hours of ``series``, a sample a minute."""
    samples = [{"labels": f'{{__name__="ALERTS", alertname="{name}"}}', "value": 1} for name in expected]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series],
        "promql_expr_test": [
            {
                "expr": 'count by (__name__, alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "2h",
                "exp_samples": samples,
            }
        ],
    }


def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    require("promtool")
    assert {alert["alert"] for alert in alerts()} == _FIRING.keys()
    tests = [_firing(series, [name]) for name, series in _FIRING.items()]
    file = tmp_path / "alerts.test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": [*tests, _firing(_WELL, [])]}))

    for command in (["check", "rules", str(ALERTS)], ["test", "rules", str(file)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr
