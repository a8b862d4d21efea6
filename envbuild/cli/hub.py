"""``envbuild hub``: configuration of JupyterHub from a fleet file."""

from __future__ import annotations

from pathlib import Path

import click

from envbuild.cli.options import common_options, output_option
from envbuild.cli.session import Session

__all__ = ["hub"]


@click.group(no_args_is_help=False, short_help="Configure a JupyterHub from a fleet file.")
def hub() -> None:
    """Configure a JupyterHub so that it offers the environments of a fleet file."""


@hub.command("config", short_help="Print profiles, limits and access for a spawner.")
@click.argument("fleet_file", metavar="FLEET", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["dockerspawner", "kubespawner", "z2jh"]),
    required=True,
    help="A file for jupyterhub_config.py with DockerSpawner or KubeSpawner, or values for the Helm chart.",
)
@output_option
@common_options
def config(session: Session, fleet_file: Path, form: str, output: Path | None) -> None:
    """Print configuration of JupyterHub: environments of FLEET by digest, their limits, who may use them.

    Images come from fleet.lock beside the file, which `envbuild build --fleet FLEET` writes. The same two
    files give the same configuration. Running servers stay as they are.
    """
    from envbuild.cli.files import give
    from envbuild.cli.hub_documents import config_document
    from envbuild.fleet.pins import require_pins
    from envbuild.fleet.read import read_fleet
    from envbuild.hub.config import hub_config

    fleet = read_fleet(fleet_file)
    pins = require_pins(fleet)
    text = hub_config(form, fleet, pins)
    give(session.console, text, output)
    session.console.document(config_document(form, fleet, pins, text, output))
