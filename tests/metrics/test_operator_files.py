"""The dashboard and the alerts that operators take: about metrics there are, in a form that Grafana knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from envbuild.metrics.definitions import METRICS

_TEMPLATES = Path(__file__).parents[2] / "templates"
DASHBOARD = _TEMPLATES / "grafana" / "envbuild.json"
ALERTS = _TEMPLATES / "prometheus" / "alerts.yaml"
_METRIC = re.compile(r"\benvbuild_[a-z_]+\b")


def queries() -> Iterator[str]:
    """Every query of the dashboard, with values for its variables."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield (
                target["expr"]
                .replace("$__rate_interval", "5m")
                .replace("$__range", "1h")
                .replace("$job", ".+")
            )


def alerts() -> Iterator[dict[str, Any]]:
    """Every alert."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def _of(name: str) -> str:
    """The metric that the series ``name`` is of."""
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if name not in METRICS and base in METRICS and METRICS[base].kind == "histogram":
            return base
    return name


def _labels(query: str) -> Iterator[tuple[str, str]]:
    """Metric and label of every condition in braces."""
    for metric, conditions in re.findall(r"(envbuild_[a-z_]+)\{([^}]*)\}", query):
        for label in re.findall(r"([a-z]+)\s*(?:=~|!~|!=|=)", conditions):
            yield _of(metric), label


@pytest.mark.parametrize("query", [*queries(), *(alert["expr"] for alert in alerts())])
def test_queries_are_about_what_there_is(query: str) -> None:
    names = {_of(name) for name in _METRIC.findall(query)}

    assert set() == names - METRICS.keys()
    for metric, label in _labels(query):
        assert label in {*METRICS[metric].labels, "job", "subject", "le"}, (metric, label)


def test_every_metric_is_shown() -> None:
    """But for those that say when, and the version."""
    shown = {_of(name) for query in queries() for name in _METRIC.findall(query)}

    assert {
        "envbuild_info",
        "envbuild_last_run_stage_duration_seconds",
        "envbuild_last_run_layers",
        "envbuild_last_run_transferred_bytes",
        "envbuild_probe_success",
        "envbuild_probe_timestamp_seconds",
        "envbuild_warm_status_success",
    } == METRICS.keys() - shown


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """Its own SDK reads the file and writes the same: what it does not know would be lost."""
    document = json.loads(DASHBOARD.read_text())

    again = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))

    assert document == again


def test_panels_have_their_places() -> None:
    """None covers another, all are within the 24 columns, and ids are unique."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert set() == taken & cells, panel["title"]
        taken |= cells
    assert len(panels) == len({panel["id"] for panel in panels})


def test_alerts_say_what_to_do() -> None:
    for alert in alerts():
        assert {"summary", "description", "remedy"} == set(alert["annotations"]), alert["alert"]
        assert alert["labels"]["severity"] in {"info", "warning", "critical"}
