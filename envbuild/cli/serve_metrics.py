"""``envbuild serve-metrics``: what runs on this machine left, for Prometheus to scrape."""

from __future__ import annotations

import re
from typing import Any

import click

from envbuild.cli.options import common_options
from envbuild.cli.session import Session

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
@common_options
def serve_metrics(session: Session, listen: tuple[str, int]) -> None:
    """Serve /metrics and /healthz over HTTP until interrupted.

    The numbers are those that runs with this machine's cache have left, up to date with every scrape.
    """
    from envbuild.metrics.runs import read_totals
    from envbuild.metrics.server import MetricsServer

    server = MetricsServer(*listen, lambda: read_totals(session.settings.cache_dir))
    session.console.result(server.url)
    session.console.document({"url": server.url})
    try:
        server.serve()
    except KeyboardInterrupt:
        session.console.interrupted("the server has ended")
