"""``envbuild warm``: images on nodes before anybody asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import (
    chain,
    common_options,
    context_option,
    plain_http_option,
    warm_namespace_option,
)
from envbuild.cli.session import Session
from envbuild.cli.warm_node import node

if TYPE_CHECKING:
    from envbuild.cluster.api import Cluster
    from envbuild.fleet.model import Fleet, Pin
    from envbuild.warm.daemonset import Settings
    from envbuild.warm.planner import PoolPlan
    from envbuild.warm.status import PoolStatus

__all__ = ["warm"]

_fleet_argument = click.argument("file", metavar="FLEET", type=click.Path(path_type=Path))
_backend_options = chain(
    click.option(
        "--parallel",
        type=click.IntRange(1, 20),
        default=3,
        show_default=True,
        metavar="N",
        help="How many images a node may pull at once, if its kubelet does so at all.",
    ),
    click.option(
        "--at-once",
        default="25%",
        show_default=True,
        metavar="N",
        help="On how many nodes of a pool a change is under way at a time: a number, or a share.",
    ),
    click.option(
        "--priority-class",
        metavar="NAME",
        help="A priority class of the cluster's for the pods. Default: one of our own, below all others.",
    ),
)
_waiting_options = chain(
    click.option("--wait", "waiting", is_flag=True, help="Wait until all nodes are warm."),
    click.option(
        "--timeout",
        type=click.IntRange(1, 1440),
        default=30,
        show_default=True,
        metavar="MINUTES",
        help="How long to wait.",
    ),
)


@click.group(no_args_is_help=False, short_help="Keep images on nodes before anybody asks for them.")
def warm() -> None:
    """Keep the images of a fleet on the nodes where its servers start."""


warm.add_command(node)


@warm.command("plan", short_help="Show which images which nodes keep.")
@_fleet_argument
@click.option("--nodes", "look", is_flag=True, help="Ask the cluster what its nodes have already.")
@context_option
@plain_http_option
@common_options
def plan(session: Session, file: Path, look: bool) -> None:
    """Show which images the nodes of each pool keep, in which order, and what has to be pulled for them.

    FLEET is a fleet file with its pins beside it. Manifests are read from the registries, layers are not.
    """
    from envbuild.cli.warm_documents import plan_document
    from envbuild.cli.warm_text import plan_lines
    from envbuild.warm.present import node_pulls

    _, _, plans = _planned(session, file)
    pulls = None
    if look or session.given("kube_context"):
        nodes = session.cluster.list("v1", "Node")
        pulls = node_pulls(plans, nodes, session.registries)
    document = plan_document(plans, pulls)
    session.console.result(*plan_lines(document))
    session.console.document(document)


@warm.command("manifest", short_help="Print what makes a cluster keep them.")
@_fleet_argument
@click.option(
    "--backend",
    type=click.Choice(("daemonset", "kruise", "z2jh")),
    default="daemonset",
    show_default=True,
    help="DaemonSets; OpenKruise's ImagePullJobs; Helm values for Zero to JupyterHub.",
)
@_backend_options
@warm_namespace_option
@plain_http_option
@common_options
def manifest(session: Session, file: Path, backend: str, where: str | None, **given: Any) -> None:
    """Print as YAML what makes a cluster keep the images: objects for `kubectl apply`, or Helm values."""
    from envbuild.cli.warm_documents import manifest_document
    from envbuild.cluster.manifest import yaml_text
    from envbuild.warm.z2jh import z2jh_values

    settings = _settings(given)
    fleet, _, plans = _planned(session, file, where)
    _warn(session, plans)
    if backend == "z2jh":
        if len(plans) > 1:
            session.console.warn("this puller knows no pools: every node for users pulls the images of all")
        documents = [z2jh_values(fleet, plans)]
    else:
        documents = _objects(backend, fleet, plans, settings)
    session.console.result(*yaml_text(documents).splitlines())
    session.console.document(manifest_document(backend, documents))


@warm.command("apply", short_help="Have a cluster keep them.")
@_fleet_argument
@click.option(
    "--backend",
    type=click.Choice(("daemonset", "kruise")),
    default="daemonset",
    show_default=True,
    help="DaemonSets, or OpenKruise's ImagePullJobs.",
)
@_backend_options
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@_waiting_options
@warm_namespace_option
@context_option
@plain_http_option
@common_options
def apply(
    session: Session,
    file: Path,
    backend: str,
    dry_run: bool,
    waiting: bool,
    timeout: int,
    where: str | None,
    **given: Any,
) -> None:
    """Have a cluster keep the images of FLEET on its nodes, and no others that an earlier FLEET asked for.

    Shows the differences first. Everything is tried before anything is changed; the same once more changes
    nothing. With --wait, the exit code is 1 when not all nodes are warm in time.
    """
    from envbuild.cli.warm_documents import changes_document
    from envbuild.cli.warm_text import change_line, difference_lines
    from envbuild.warm.applying import apply_objects, pools_without_nodes

    settings = _settings(given)
    fleet, pins, plans = _planned(session, file, where)
    _warn(session, plans)
    objects = _objects(backend, fleet, plans, settings)
    cluster = session.cluster
    for pool in pools_without_nodes(cluster, fleet):
        session.console.warn(f"the pool {pool} has no nodes at present; those that come will be warm")
    changes = apply_objects(
        cluster,
        fleet,
        objects,
        dry_run=dry_run,
        before=lambda found: session.console.result(*difference_lines(found, dry_run=dry_run)),
        made=lambda change: session.console.result(change_line(change)),
    )
    document = changes_document(changes, applied=not dry_run)
    if waiting and not dry_run:
        document["status"] = _followed(session, cluster, fleet, pins, timeout)
    session.console.document(document)
    if document.get("status", {}).get("all_warm") is False:
        raise click.exceptions.Exit(1)


@warm.command("status", short_help="Show which nodes are warm, and why others are not.")
@_fleet_argument
@_waiting_options
@warm_namespace_option
@context_option
@common_options
def status(session: Session, file: Path, waiting: bool, timeout: int, where: str | None) -> None:
    """Show which nodes have all images that they were told to keep, and why the others have not.

    Exit code 1: a node is not warm, or the fleet has images that were not applied.
    """
    from envbuild.cli.warm_text import status_lines

    fleet, pins = _fleet(file, where)
    document = _followed(session, session.cluster, fleet, pins, timeout if waiting else 0)
    session.console.result(*status_lines(document))
    session.console.document(document)
    if not document["all_warm"]:
        raise click.exceptions.Exit(1)


def _fleet(file: Path, namespace: str | None = None) -> tuple[Fleet, Mapping[str, Pin]]:
    """The fleet, in this namespace if one is given, and its pins."""
    from envbuild.fleet.pins import require_pins
    from envbuild.fleet.read import read_fleet

    fleet = read_fleet(file)
    if namespace is not None:
        fleet = replace(fleet, namespace=namespace)
    return fleet, require_pins(fleet)


def _planned(
    session: Session, file: Path, namespace: str | None = None
) -> tuple[Fleet, Mapping[str, Pin], tuple[PoolPlan, ...]]:
    from envbuild.warm.images import plan_fleet

    fleet, pins = _fleet(file, namespace)
    with session.console.stage("look", unit="images"):
        return fleet, pins, plan_fleet(fleet, pins, session.registries)


def _settings(given: Mapping[str, Any]) -> Settings:
    from envbuild.warm.daemonset import Settings

    return Settings(**given)


def _objects(
    backend: str, fleet: Fleet, plans: tuple[PoolPlan, ...], settings: Settings
) -> list[dict[str, Any]]:
    from envbuild.warm.daemonset import daemonset_objects
    from envbuild.warm.kruise import kruise_objects

    return (kruise_objects if backend == "kruise" else daemonset_objects)(fleet, plans, settings)


def _warn(session: Session, plans: tuple[PoolPlan, ...]) -> None:
    """Say what does not fit, and what is gone."""
    from envbuild.cli.warm_text import left_out_sentence

    for one in plans:
        if one.left_out:
            session.console.warn(left_out_sentence(one))
    for message in dict.fromkeys(gone.message for one in plans for gone in one.gone):
        session.console.warn(message)


def _followed(
    session: Session, cluster: Cluster, fleet: Fleet, pins: Mapping[str, Pin], minutes: int
) -> dict[str, Any]:
    """The document of the fleet's state, after waiting up to ``minutes`` for it to be warm."""
    from envbuild.cli.warm_documents import status_document
    from envbuild.cli.warm_text import summary
    from envbuild.warm.observe import fleet_status, wait_until_warm

    def tell(found: tuple[PoolStatus, ...]) -> None:
        if minutes:
            session.console.note(summary(status_document(fleet, found)))

    found = wait_until_warm(lambda: fleet_status(cluster, fleet, pins), 60.0 * minutes, tell)
    return status_document(fleet, found)
