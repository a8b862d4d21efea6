"""What Prometheus gets: the text, a file, a push, a server."""

from __future__ import annotations

import base64
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from envbuild.errors import MachineError, RemoteError, UsageError
from envbuild.metrics.exposition import check_gateway, push, text, write_textfile
from envbuild.metrics.server import MetricsServer
from envbuild.metrics.totals import Totals
from envbuild.metrics.warmth import PoolWarmth, Watch, set_unknown, set_warmth
from tests.support.strangers import TEXTS


@pytest.fixture
def totals() -> Totals:
    made = Totals()
    made.add("envbuild_runs_total", 2, "build", "failed", 'a"b\\c\nd')
    made.observe("envbuild_run_duration_seconds", 0.3, "build")
    made.observe("envbuild_run_duration_seconds", 99999.0, "build")
    return made


def _samples(data: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(data.decode())
        for sample in family.samples
    }


def test_text_says_what_totals_do(totals: Totals) -> None:
    found = _samples(text(totals))

    key = (("error", 'a"b\\c\nd'), ("outcome", "failed"), ("verb", "build"))
    assert 2 == found["envbuild_runs_total", key]
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "envbuild_run_duration_seconds_bucket"
    }
    assert (0, 1, 1, 2) == tuple(buckets[bound] for bound in ("0.25", "0.5", "3600.0", "+Inf"))
    assert 99999.3 == found["envbuild_run_duration_seconds_sum", (("verb", "build"),)]


def test_a_textfile_is_for_others_to_read(totals: Totals, tmp_path: Path) -> None:
    path = tmp_path / "envbuild.prom"

    write_textfile(totals, path)

    assert text(totals) == path.read_bytes()
    assert 0o644 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(tmp_path.iterdir())


class _Gateway(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.seen: list[tuple[str, str, str | None, bytes]] = []
        self.status = 200


class _Receiver(BaseHTTPRequestHandler):
    server: _Gateway

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(("PUT", self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[_Gateway]:
    with _Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/metrics/job/envbuild/subject/demo/verb/build"),
        ("/gate/", "/gate/metrics/job/envbuild/subject/demo/verb/build"),
        ("/metrics/job/nightly/team/a%20b", "/metrics/job/nightly/team@base64/YSBi/verb/build"),
    ],
)
def test_a_push_replaces_its_group(gateway: _Gateway, totals: Totals, path: str, expected: str) -> None:
    url = f"http://me:hunter2@127.0.0.1:{gateway.server_port}{path}"

    push(totals, url, subject="demo", verb="build")

    ((method, target, authorization, body),) = gateway.seen
    assert ("PUT", expected, text(totals)) == (method, target, body)
    assert authorization == "Basic " + base64.b64encode(b"me:hunter2").decode()


def test_a_refusal_is_an_error_without_the_password(gateway: _Gateway, totals: Totals) -> None:
    gateway.status = 400

    with pytest.raises(RemoteError) as caught:
        push(totals, f"http://me:hunter2@127.0.0.1:{gateway.server_port}", subject="demo", verb="build")

    assert "metrics-not-pushed" == caught.value.code
    assert "400" in caught.value.message
    assert "hunter2" not in caught.value.message


def test_a_gateway_that_does_not_run_is_told_in_the_systems_words(totals: Totals) -> None:
    with pytest.raises(RemoteError) as caught:
        push(totals, "http://127.0.0.1:1", subject="demo", verb="build")

    assert "metrics cannot be pushed to 127.0.0.1:1: Connection refused" == caught.value.message


@pytest.mark.parametrize("url", ["x", "gateway:9091", "http://", "http://h:x", "ftp://h", "http://h h"])
def test_an_address_is_checked(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_gateway(url)

    assert "bad-metrics-push" == caught.value.code


@pytest.fixture
def server(totals: Totals) -> Iterator[MetricsServer]:
    made = MetricsServer("127.0.0.1", 0, lambda: totals)
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield made
    made.close()
    thread.join()


def test_the_server_answers(server: MetricsServer, totals: Totals) -> None:
    with urllib.request.urlopen(server.url) as answer:
        assert text(totals) == answer.read()
        assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["Content-Type"]
    with urllib.request.urlopen(server.url.replace("/metrics", "/healthz")) as answer:
        assert b"ok\n" == answer.read()
    totals.add("envbuild_layers_total", 1, "store")
    with urllib.request.urlopen(server.url) as answer:
        assert b'envbuild_layers_total{level="store"} 1.0' in answer.read()


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/../etc", 404), ("POST", "/metrics", 405)])
def test_the_server_has_nothing_else(server: MetricsServer, method: str, path: str, code: int) -> None:
    request = urllib.request.Request(server.url.replace("/metrics", path), method=method)

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)

    with caught.value:
        assert code == caught.value.code


def test_an_address_that_is_taken_is_an_error(server: MetricsServer) -> None:
    port = int(server.url.rpartition(":")[2].partition("/")[0])

    with pytest.raises(MachineError) as caught:
        MetricsServer("127.0.0.1", port, Totals)

    assert "cannot-listen" == caught.value.code


def test_warm_nodes_are_counted() -> None:
    totals = Totals()
    set_warmth(totals, "lab", [PoolWarmth("gpu", 3, {"disk-full": 3}), PoolWarmth("cpu", 0, {})])
    set_warmth(totals, "lab", [PoolWarmth("cpu", 8, {"pulling": 1, "taint": 2})])

    assert {("lab", "cpu"): 5} == totals.values["envbuild_warm_nodes"]
    assert {("lab", "cpu"): 8} == totals.values["envbuild_warm_nodes_wanted"]
    assert {("lab", "cpu", "pulling"): 1, ("lab", "cpu", "taint"): 2} == totals.values["envbuild_cold_nodes"]

    set_unknown(totals, "lab")

    assert {} == totals.values["envbuild_warm_nodes"]
    assert {("lab",): 0} == totals.values["envbuild_warm_status_success"]


def test_a_cluster_that_does_not_answer_is_told_once() -> None:
    """What it said before is not said any longer, and comes back with it."""
    answers: list[list[PoolWarmth] | None] = [
        [PoolWarmth("cpu", 2, {})],
        None,
        None,
        [PoolWarmth("cpu", 3, {})],
    ]
    warnings: list[str] = []
    seen = []

    def ask() -> list[PoolWarmth]:
        answer = answers.pop(0)
        if answer is None:
            raise RemoteError("the cluster does not answer", code="x", remedy="wait")
        return answer

    watch = Watch("lab", ask, 60, warnings.append)
    before = Totals()
    watch.add_to(before)
    for _ in range(4):
        watch.look()
        totals = Totals()
        watch.add_to(totals)
        values = totals.values
        wanted = values.get("envbuild_warm_nodes_wanted", {}).get(("lab", "cpu"))
        seen.append((values["envbuild_warm_status_success"][("lab",)], wanted))

    assert Totals() == before
    assert [(1, 2), (0, None), (0, None), (1, 3)] == seen
    assert ["the cluster does not answer; wait"] == warnings


@settings(max_examples=15)
@given(st.tuples(TEXTS, TEXTS, TEXTS), st.floats(0, 1e9), st.integers(0, 2**53))
@example(("a\udcff", 'b"\\', "\r\n"), 0.0, 0)
def test_prometheus_reads_whatever_labels_are(
    labels: tuple[str, str, str], seconds: float, amount: int
) -> None:
    totals = Totals()
    totals.set("envbuild_probe_duration_seconds", seconds, *labels)
    totals.add("envbuild_runs_total", amount, *labels)
    totals.observe("envbuild_kernel_start_seconds", seconds, labels[0])

    samples = _samples(text(totals))

    values = {name: value for (name, _), value in samples.items() if not name.endswith("_bucket")}
    assert {
        "envbuild_probe_duration_seconds": seconds,
        "envbuild_runs_total": amount,
        "envbuild_kernel_start_seconds_count": 1,
        "envbuild_kernel_start_seconds_sum": pytest.approx(seconds),
    } == values
    assert Totals.load(totals.dump()) == totals
