"""``envbuild kernel``: a repository's kernels in the user's own Jupyter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from envbuild.cli.options import (
    common_options,
    engine_option,
    environment_options,
    jobs_option,
    locked_option,
    source_argument,
)
from envbuild.cli.session import Session
from envbuild.cli.text import columns

if TYPE_CHECKING:
    from envbuild.launch.prepared import Prepared

__all__ = ["kernel"]

# Options that say how this run behaves, not which kernels there are.
_OF_THE_RUN = frozenset(
    {"source", "locked", "sys_prefix", "machine", "quiet", "verbose", "debug", "cache_dir", "offline", "jobs"}
)

_sys_prefix = click.option(
    "--sys-prefix",
    is_flag=True,
    help="Only for the Jupyter in envbuild's own Python environment, which then also shows start errors.",
)


@click.group(no_args_is_help=False, short_help="Put its kernels into your own Jupyter.")
def kernel() -> None:
    """Install, list or remove kernels of repositories in your own Jupyter."""


@kernel.command("install", short_help="Make them appear in JupyterLab, VS Code, nbclient.")
@source_argument
@_sys_prefix
@engine_option
@locked_option
@jobs_option
@environment_options
@common_options
def install(session: Session, source: str, sys_prefix: bool, locked: bool) -> None:
    """Make the repository's kernels appear in your own JupyterLab, VS Code or nbclient.

    They run in the repository's image, which is made now, and made anew when envbuild.lock has changed by the
    time a kernel starts. Install again after notebooks in other languages were added.
    """
    from envbuild.cli.kernel_documents import installed_document
    from envbuild.launch.kernelspecs import (
        Installation,
        environment_directory,
        install_kernels,
        user_directory,
    )
    from envbuild.launch.prepared import prepared_key

    arguments = (*_address(source), *_given())
    key = prepared_key(arguments)
    project, prepared = _prepare(session, source, key, locked=locked)
    installed = install_kernels(
        prepared.kernels,
        Installation(project, arguments, key, session.store.root, provisioner=sys_prefix),
        environment_directory() if sys_prefix else user_directory(os.environ),
    )
    session.console.result(*(f"{one.name}: {one.display_name}" for one in installed))
    session.console.document(installed_document(installed, prepared.engine, session.console.rounded_seconds))


@kernel.command("prepare", hidden=True)
@click.option("--key", required=True)
@source_argument
@engine_option
@jobs_option
@environment_options
@common_options
def prepare(session: Session, source: str, key: str) -> None:
    """Make the repository's kernels ready to start; for `envbuild-kernel`."""
    _prepare(session, source, key, locked=True)


@kernel.command("list", short_help="List those that were installed.")
@common_options
def list_kernels(session: Session) -> None:
    """List the kernels that `envbuild kernel install` has installed."""
    from envbuild.cli.kernel_documents import kernels_document
    from envbuild.launch.kernelspecs import environment_directory, installed_kernels, user_directory

    found = installed_kernels([user_directory(os.environ), environment_directory()])
    document = kernels_document(found)
    rows = [("NAME", "SHOWN AS", "REPOSITORY", "STATE")]
    rows += [(one["name"], one["display_name"], one["source"], one["state"]) for one in document["kernels"]]
    if found:
        session.console.result(*columns(rows))
    else:
        session.console.note("no kernel is installed; `envbuild kernel install` does that")
    session.console.document(document)


@kernel.command("remove", short_help="Remove them; those that run go on.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@common_options
def remove(session: Session, names: tuple[str, ...]) -> None:
    """Remove kernels that `envbuild kernel install` has installed; those that run go on."""
    from envbuild.cli.kernel_documents import removed_document
    from envbuild.errors import UsageError
    from envbuild.launch.kernelspecs import (
        environment_directory,
        installed_kernels,
        remove_kernel,
        user_directory,
    )

    installed = installed_kernels([user_directory(os.environ), environment_directory()])
    chosen = [one for one in installed if one.name in {name.lower() for name in names}]
    for name in names:
        if name.lower() not in {one.name for one in chosen}:
            raise UsageError(
                f"envbuild has installed no kernel {name!r}",
                code="no-such-kernel",
                remedy="`envbuild kernel list` shows them",
            )
    for one in chosen:
        remove_kernel(one)
        session.console.result(str(one.directory))
    session.console.document(removed_document(chosen))


def _address(source: str) -> tuple[str, ...]:
    """The repository as it is called from any directory."""
    return (str(Path(source).absolute()) if Path(source).exists() else source,)


def _given() -> tuple[str, ...]:
    """The options of this command line by which the kernels were chosen."""
    context = click.get_current_context()
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in _OF_THE_RUN or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value: Any = context.params[name]
        if isinstance(value, bool):
            words.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [parameter.opts[0], str(one)]
    return tuple(words)


def _prepare(session: Session, source: str, key: str, *, locked: bool) -> tuple[str, Prepared]:
    """The project's name, and what its kernels are started from."""
    from envbuild.cli.running import environment_image
    from envbuild.launch.prepare import prepare_kernels

    project = session.project(source)
    engine, image = environment_image(session, project, locked=locked)
    prepared = prepare_kernels(
        image,
        session.working_directory(project),
        project.spec.name,
        key,
        engine=engine,
        bubblewrap=session.engines(project.settings).bubblewrap,
        store=session.store,
    )
    return project.spec.name, prepared
