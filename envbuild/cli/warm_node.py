"""``envbuild warm node``: the images of a fleet on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuild.cli.options import SIZE, common_options, plain_http_option
from envbuild.cli.session import Session
from envbuild.errors import UsageError

if TYPE_CHECKING:
    from envbuild.fleet.model import Fleet, Pool
    from envbuild.warm.engines import NodeEngine

__all__ = ["node"]


@click.command(short_help="Keep the images of a pool on this machine.")
@click.argument("file", metavar="FLEET", type=click.Path(path_type=Path))
@click.option(
    "--pool", "pool_name", metavar="NAME", help="The pool this machine is in. Default: the only one."
)
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(("containerd", "docker")),
    default="containerd",
    show_default=True,
    help="What starts containers here.",
)
@click.option("--address", metavar="SOCKET", help="The engine's socket. Default: its usual one.")
@click.option(
    "--namespace",
    "within",
    default="k8s.io",
    show_default=True,
    metavar="NAME",
    help="The namespace of containerd's images; this is Kubernetes' own.",
)
@click.option("--disk", type=SIZE, help="What the images may take. Default: the pool's `disk`.")
@click.option("--keep-old", is_flag=True, help="Let no image go that the fleet does not need any more.")
@click.option("--dry-run", is_flag=True, help="Change nothing, only tell.")
@plain_http_option
@common_options
def node(
    session: Session,
    file: Path,
    pool_name: str | None,
    engine_name: str,
    address: str | None,
    within: str,
    disk: int | None,
    keep_old: bool,
    dry_run: bool,
) -> None:
    """Have this machine keep the images of a pool of FLEET: without Kubernetes, or for a node's own image.

    Only what is missing is pulled, in the order of `warm plan`. An image that fails does not keep the others
    from being pulled; the exit code is that of the first failure. Images that this command brought for the
    fleet, and that it does not need any more, go, unless containers use them.
    """
    from envbuild.cli.warm_node_documents import node_document, node_lines
    from envbuild.fleet.pins import require_pins
    from envbuild.fleet.read import read_fleet
    from envbuild.warm.node import warm_node

    fleet = read_fleet(file)
    pool = _pool(fleet, pool_name)
    pins = require_pins(fleet)
    engine = _engine(session, engine_name, address, within)
    warmth = warm_node(
        fleet,
        pool if disk is None else replace(pool, disk=disk),
        pins,
        engine,
        registries=session.registries,
        reporter=session.console,
        keep_old=keep_old,
        dry_run=dry_run,
    )
    document = node_document(fleet, pool, engine.name, warmth)
    session.console.result(*node_lines(document))
    for error in warmth.lacking:
        session.console.warn(error.message)
    for error in warmth.errors:
        session.console.message(error)
    session.console.document(document)
    if warmth.errors:
        raise click.exceptions.Exit(warmth.errors[0].exit_code)


def _pool(fleet: Fleet, name: str | None) -> Pool:
    found = [pool for pool in fleet.pools if name in (None, pool.name)]
    if len(found) != 1:
        known = ", ".join(pool.name for pool in fleet.pools)
        raise UsageError(
            f"the fleet {fleet.name} has no pool {name}" if name else "which pool is this machine in?",
            code="no-such-pool" if name else "which-pool",
            file=str(fleet.path),
            remedy=f"use --pool with one of {known}" if known else "describe one: [pools.NAME]",
        )
    return found[0]


def _engine(session: Session, name: str, address: str | None, namespace: str) -> NodeEngine:
    if name == "containerd":
        from envbuild.warm.containerd import DEFAULT_ADDRESS, Containerd

        jobs = session.registries.jobs
        return Containerd(
            session.environment, address=address or DEFAULT_ADDRESS, namespace=namespace, jobs=jobs
        )
    from envbuild.engine.docker import Docker as Engine
    from envbuild.warm.docker import Docker

    host = {} if address is None else {"DOCKER_HOST": f"unix://{address}"}
    engine = Engine(session.store, {**session.environment, **host})
    return Docker(engine, session.registries.credential)
