"""``envbuild probe``: how long users wait for a server and a kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuild.cli.options import (
    DURATION,
    chain,
    common_options,
    context_option,
    engine_option,
    jobs_option,
    metrics_options,
    plain_http_option,
)
from envbuild.cli.session import Session

if TYPE_CHECKING:
    from envbuild.cli.probing import ProbedImage
    from envbuild.probe.model import Thresholds

__all__ = ["probe"]

_threshold_options = chain(
    click.option(
        "--server-start", type=DURATION, metavar="TIME", help="Fail when the server answers later than this."
    ),
    click.option(
        "--kernel-start",
        type=DURATION,
        metavar="TIME",
        help="Fail when a kernel answers later than this: 5s, 500ms.",
    ),
    click.option(
        "--imports", type=DURATION, metavar="TIME", help="Fail when importing the packages takes longer."
    ),
)
_cluster_options = chain(
    click.option(
        "--on", "where", type=click.Choice(("here", "kubernetes")), default="here", help="Where to start it."
    ),
    click.option("--node", metavar="NAME", help="On kubernetes: the node to start it on."),
    click.option(
        "--namespace", metavar="NAME", help="On kubernetes: where the pods are. Default: the context's."
    ),
    click.option(
        "--registry-secret", metavar="NAME", help="On kubernetes: the secret that images are pulled with."
    ),
    context_option,
)


@click.command(short_help="Measure how long a server and a kernel take to start.")
@click.argument("what", metavar="IMAGE|FLEET|SOURCE")
@click.option(
    "-n",
    "--repeat",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    metavar="N",
    help="Starts of each; medians are compared.",
)
@_threshold_options
@click.option(
    "--environment",
    "names",
    multiple=True,
    metavar="NAME",
    help="Of FLEET only this one; repeatable. Default: all.",
)
@_cluster_options
@engine_option
@jobs_option
@plain_http_option
@metrics_options
@common_options
def probe(
    session: Session,
    what: str,
    repeat: int,
    server_start: float | None,
    kernel_start: float | None,
    imports: float | None,
    names: tuple[str, ...],
    where: str,
    node: str | None,
) -> None:
    """Start images as hubs do and measure: until the server answers, until a kernel has added 1+1, and how
    long importing the environment's packages takes.

    Here the clock runs from the start of the container, and the image is brought and unpacked before. On
    kubernetes it runs from the creation of the pod: pulling is part of it where the node has not the image.
    IMAGE is a name in the cache or in a registry, FLEET a fleet file. Exit code 1: a median is above what was
    asked for.
    """
    from envbuild.cli.probe_documents import probe_document, probe_lines
    from envbuild.cli.probing import probes_here, probes_in_cluster
    from envbuild.probe.model import Thresholds

    thresholds = Thresholds(server_start, kernel_start, imports)
    found = _wanted(session, what, names, in_cluster=where == "kubernetes")
    if where == "kubernetes":
        probed = probes_in_cluster(
            session,
            found,
            repeats=repeat,
            node=node,
        )
    elif node or session.given("namespace", "registry_secret", "kube_context"):
        raise click.UsageError("--node, --namespace, --registry-secret and --context are for --on kubernetes")
    else:
        probed = probes_here(session, found, repeats=repeat)
    documents = []
    for one in probed:
        document = probe_document(one, one.report.exceeded(thresholds))
        _tell(session, one, thresholds)
        session.console.result(*probe_lines(document, thresholds))
        documents.append(document)
    kept = not any(one["exceeded"] for one in documents)
    bounds = {"server": server_start, "kernel": kernel_start, "imports": imports}
    session.console.document({"environments": documents, "thresholds": bounds, "kept": kept})
    if not kept:
        raise click.exceptions.Exit(1)


def _tell(session: Session, probed: ProbedImage, thresholds: Thresholds) -> None:
    """Keep what was found for metrics, and say what could not be imported."""
    from envbuild.observation import Probed

    report = probed.report
    observation = session.console.observation
    observation.kernel_starts += [(probed.engine, start.kernel) for start in report.starts]
    medians = tuple((phase, round(value, 3)) for phase, value in report.medians.items())
    observation.probes.append(Probed(probed.name, probed.engine, medians, not report.exceeded(thresholds)))
    for module in report.broken:
        session.console.warn(f"{probed.name}: {module} cannot be imported")


def _wanted(
    session: Session, what: str, names: Sequence[str], *, in_cluster: bool
) -> Iterator[tuple[str, str]]:
    """The name and the place of each image that ``what`` is."""
    from envbuild.cli.looking import inspector
    from envbuild.errors import UsageError
    from envbuild.fleet.pins import require_pins
    from envbuild.fleet.read import read_fleet

    if not (what.endswith(".toml") and Path(what).is_file()):
        if names:
            raise click.UsageError("--environment is for a fleet file")
        if in_cluster and inspector(session).place(what).kind != "registry":
            raise UsageError(
                "nodes of a cluster take images from registries only",
                code="not-in-a-registry",
                remedy="push it, and name it as nodes do: registry.example.org/team/demo:1.0",
            )
        return iter([(what, what)])
    pins = require_pins(read_fleet(Path(what)))
    for name in names:
        if name not in pins:
            raise UsageError(
                f"there is no environment {name!r}",
                code="no-such-environment",
                file=what,
                remedy=f"it has {', '.join(pins)}",
            )
    return iter([(name, str(pin.reference)) for name, pin in pins.items() if not names or name in names])
