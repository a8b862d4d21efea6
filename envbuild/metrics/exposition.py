"""Numbers for Prometheus: its text format, as a file for node_exporter, pushed to a Pushgateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from envbuild.errors import RemoteError, UsageError
from envbuild.metrics.definitions import BUCKETS, METRICS, Metric
from envbuild.metrics.totals import Durations, Totals
from envbuild.source.text import redact
from envbuild.store.disk import write_atomic

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

__all__ = ["check_gateway", "push", "text", "write_textfile"]

_TIMEOUT: Final = 10.0
_LONGEST_KEY: Final = 100


def text(totals: Totals) -> bytes:
    """``totals`` in the text format (version 0.0.4)."""
    from prometheus_client import generate_latest

    return generate_latest(_registry(totals))


def write_textfile(totals: Totals, path: Path) -> None:
    """Write ``totals`` where node_exporter's textfile collector finds them: it sees a whole file or none.

    Raises:
        OSError: the file cannot be written.
        MachineError: the disk is full.
    """
    write_atomic(path, text(totals))


def check_gateway(url: str) -> None:
    """See that ``url`` can be the address of a Pushgateway.

    Raises:
        UsageError: it cannot.
    """
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or re.search(r"\s", url):
        raise UsageError(
            f"{redact(url)!r} is not the address of a Pushgateway",
            code="bad-metrics-push",
            remedy="give one like http://pushgateway.example.org:9091",
        )


def push(totals: Totals, url: str, *, subject: str, verb: str) -> None:
    """Put ``totals`` of one run into a Pushgateway, in place of those of the last ``verb`` on ``subject``.

    Parameters:
        url: ``http(s)://[user:password@]host[:port]``; with a path of the gateway's own
            (``/metrics/job/NAME/...``) that is the group.
        subject: what was worked on, by a name that does not change from run to run.

    Raises:
        RemoteError: the gateway cannot be reached, or refuses.
    """
    from urllib.error import HTTPError

    from prometheus_client.exposition import basic_auth_handler, default_handler, push_to_gateway

    parts = urlsplit(url)
    password = unquote(parts.password or "")
    user = unquote(parts.username or "")

    def handler(**request: Any) -> Any:
        if user:
            return basic_auth_handler(**request, username=user, password=password)
        return default_handler(**request)

    host = parts.netloc.rpartition("@")[2]
    prefix, job, key = _group(parts.path, subject)
    try:
        push_to_gateway(
            f"{parts.scheme}://{host}{prefix}",
            job=job,
            registry=_registry(totals),
            grouping_key={**key, "verb": verb},
            timeout=_TIMEOUT,
            handler=handler,
        )
    except OSError as error:  # urllib's own are among them
        reason = getattr(error, "reason", error)  # what urllib wraps
        if isinstance(error, HTTPError):
            reason = error
            error.close()
        raise RemoteError(
            f"metrics cannot be pushed to {host}: {redact(getattr(reason, 'strerror', None) or str(reason))}",
            code="metrics-not-pushed",
            remedy="check --metrics-push, and that the Pushgateway runs",
        ) from error


def _group(path: str, subject: str) -> tuple[str, str, dict[str, str]]:
    """``/prefix/metrics/job/NAME/label/value`` as the prefix, the job and its other labels."""
    prefix, found, rest = path.partition("/metrics/job/")
    if not found:
        return path.rstrip("/"), "envbuild", {"subject": subject[:_LONGEST_KEY]}
    job, *more = [unquote(part) for part in rest.strip("/").split("/")]
    return prefix, job, dict(zip(more[::2], more[1::2], strict=False))


class _Collector:
    """What prometheus_client asks when it writes."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Family]:
        for metric in METRICS.values():
            family = _family(metric, self._totals)
            if family.samples:
                yield family


def _family(metric: Metric, totals: Totals) -> Family:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, durations in sorted(totals.durations.get(metric.name, {}).items()):
            histogram.add_metric(labels, list(_cumulative(durations)), durations.total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in sorted(totals.values.get(metric.name, {}).items()):
        family.add_metric(labels, value)
    return family


def _cumulative(durations: Durations) -> Iterator[tuple[str, float]]:
    count = 0
    for bound, more in zip([*map(str, BUCKETS), "+Inf"], durations.counts, strict=True):
        count += more
        yield bound, count


def _registry(totals: Totals) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(totals))
    return registry
