"""Metrics as Prometheus' own programs see them."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.integration.conftest import Built
from tests.metrics.test_operator_files import alerts, queries
from tests.support.programs import Envbuild, require
from tests.support.servers import free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.network, pytest.mark.slow]

_Value = TypeVar("_Value")


def _eventually(ask: Callable[[], _Value]) -> _Value:
    """What ``ask`` returns as soon as that is true."""

    def look() -> _Value | None:
        try:
            return ask()
        except OSError:
            return None

    found = wait_until(look, pause=0.2)
    assert found is not None
    return found


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read(), "utf-8")


@contextmanager
def _running(
    *command: str | Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _serving(envbuild: Envbuild, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = envbuild.command("serve-metrics", "--listen", "127.0.0.1:0", *options)
    with _running(*command, environment=envbuild.variables()) as process:
        yield process


@pytest.fixture(scope="module")
def prometheus(envbuild: Envbuild, built: Built, scratch: Path) -> Iterator[Callable[[str], list[Any]]]:
    """Answers queries of a real Prometheus that scrapes ``serve-metrics`` and a Pushgateway after a build."""
    require("prometheus", "prometheus-pushgateway")
    gateway, port = free_port(), free_port()
    with (
        _running("prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{gateway}"),
        _serving(envbuild, "--json") as server,
    ):
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(3)]
        target = urllib.parse.urlsplit(json.loads("".join(lines))["url"]).netloc
        _eventually(lambda: _get(f"http://127.0.0.1:{gateway}/-/ready"))
        envbuild.document("build", built.repository, "--metrics-push", f"http://127.0.0.1:{gateway}")
        configuration = scratch / "prometheus.yml"
        configuration.write_text(
            "global: {scrape_interval: 5s, scrape_timeout: 5s}\n"
            "scrape_configs:\n"
            f"- {{job_name: envbuild, static_configs: [{{targets: ['{target}']}}]}}\n"
            "- job_name: push\n"
            "  honor_labels: true\n"
            f"  static_configs: [{{targets: ['127.0.0.1:{gateway}']}}]\n"
        )
        own = [f"--config.file={configuration}", f"--storage.tsdb.path={scratch / 'prometheus'}"]
        with _running("prometheus", *own, f"--web.listen-address=127.0.0.1:{port}"):

            def query(expression: str) -> list[Any]:
                address = f"http://127.0.0.1:{port}/api/v1/query?"
                answer = json.loads(_get(address + urllib.parse.urlencode({"query": expression})))
                return list(answer["data"]["result"])

            _eventually(lambda: len(query("up == 1")) == 2)
            yield query


def test_the_file_passes_promtool(envbuild: Envbuild, built: Built, scratch: Path) -> None:
    require("promtool")
    path = scratch / "envbuild.prom"

    envbuild.document("build", built.repository, "--metrics-file", path)

    with path.open("rb") as stream:
        checked = subprocess.run(
            ["promtool", "check", "metrics"], stdin=stream, capture_output=True, text=True, check=False
        )
    assert (0, "", "") == (checked.returncode, checked.stdout, checked.stderr)
    assert 'envbuild_runs_total{error="",outcome="done",verb="build"}' in path.read_text()


def test_prometheus_scrapes_what_runs_left(prometheus: Callable[[str], list[Any]]) -> None:
    (runs,) = _eventually(
        lambda: prometheus('envbuild_runs_total{verb="build", outcome="done", job="envbuild"}')
    )
    layers = _eventually(lambda: prometheus('sum by (level) (envbuild_layers_total{job="envbuild"})'))

    assert float(runs["value"][1]) >= 2
    assert {"store", "registry", "packed"} == {one["metric"]["level"] for one in layers}


def test_prometheus_has_what_a_job_pushed(prometheus: Callable[[str], list[Any]]) -> None:
    (success,) = _eventually(lambda: prometheus('envbuild_last_run_success{subject="quickstart"}'))

    assert {"job": "envbuild", "verb": "build"} == {name: success["metric"][name] for name in ("job", "verb")}
    assert "1" == success["value"][1]
    assert [] == prometheus('envbuild_runs_total{subject="quickstart"}')


@pytest.mark.parametrize("expression", [*queries(), *(alert["expr"] for alert in alerts())])
def test_prometheus_understands_every_query(prometheus: Callable[[str], list[Any]], expression: str) -> None:
    """Those of the dashboard and of the alerts; what it does not understand is an HTTP error."""
    prometheus(expression)


def test_the_dashboard_shows_builds(prometheus: Callable[[str], list[Any]]) -> None:
    shown = next(query for query in queries() if "envbuild_last_run_success" in query)

    assert ["1"] == [one["value"][1] for one in _eventually(lambda: prometheus(shown))]


def test_the_server_ends_when_told(envbuild: Envbuild) -> None:
    with _serving(envbuild) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert "ok\n" == _get(url.replace("/metrics", "/healthz"))

        server.send_signal(signal.SIGTERM)

        assert 0 == server.wait(600)
