"""``envbuild serve-metrics``: what runs on this machine left, for Prometheus to scrape."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import common_options, context_option, warm_namespace_option
from envbuild.cli.session import Session

if TYPE_CHECKING:
    from envbuild.metrics.totals import Totals
    from envbuild.metrics.warmth import Watch

__all__ = ["serve_metrics"]


class _Address(click.ParamType):  # type: ignore[type-arg]  # generic only in newer click
    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """``"127.0.0.1:9818"`` as host and port."""
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\s]*):(\d{1,5})", str(value))
        if match is None or int(match[2]) > 65535:
            self.fail(f"{value!r} is not an address like 127.0.0.1:9818", param, ctx)
        return match[1].strip("[]") or "0.0.0.0", int(match[2])


@click.command(name="serve-metrics", short_help="Serve metrics to Prometheus.")
@click.option(
    "--listen",
    type=_Address(),
    default="127.0.0.1:9818",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 is one that is free.",
)
@click.option(
    "--fleet",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FLEET",
    help="Also tell how many nodes of this fleet are warm.",
)
@click.option(
    "--interval",
    type=click.IntRange(5, 86400),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How often the cluster is asked for that.",
)
@warm_namespace_option
@context_option
@common_options
def serve_metrics(
    session: Session, listen: tuple[str, int], file: Path | None, interval: int, where: str | None
) -> None:
    """Serve /metrics and /healthz over HTTP until interrupted.

    The numbers are those that runs with this machine's cache have left, up to date with every scrape.
    """
    from envbuild.metrics.runs import read_totals
    from envbuild.metrics.server import MetricsServer

    watch = _watch(session, file, interval, where) if file is not None else None

    def collect() -> Totals:
        totals = read_totals(session.settings.cache_dir)
        if watch is not None:
            watch.add_to(totals)
        return totals

    server = MetricsServer(*listen, collect)
    session.console.result(server.url)
    session.console.document({"url": server.url})
    try:
        with watch or nullcontext():
            server.serve()
    except KeyboardInterrupt:
        session.console.interrupted("the server has ended")


def _watch(session: Session, file: Path, interval: int, namespace: str | None) -> Watch:
    from envbuild.fleet.pins import require_pins
    from envbuild.fleet.read import read_fleet
    from envbuild.metrics.warmth import PoolWarmth, Watch
    from envbuild.warm.causes import WARM
    from envbuild.warm.observe import fleet_status

    fleet = read_fleet(file)
    fleet = replace(fleet, namespace=namespace or fleet.namespace)
    pins = require_pins(fleet)
    cluster = session.cluster

    def ask() -> list[PoolWarmth]:
        return [
            PoolWarmth(
                pool.name,
                len(pool.nodes),
                Counter(node.cause.reason for node in pool.nodes if node.cause != WARM),
            )
            for pool in fleet_status(cluster, fleet, pins)
        ]

    return Watch(fleet.name, ask, interval, session.console.warn)
