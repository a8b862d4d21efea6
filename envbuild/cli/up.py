"""``envbuild up``: JupyterLab on the repository."""

from __future__ import annotations

import click

from envbuild.cli.options import (
    CommandWithRest,
    common_options,
    engine_option,
    environment_options,
    jobs_option,
    locked_option,
    rest_of_command_line,
    source_argument,
)
from envbuild.cli.session import Session

__all__ = ["up"]


@click.command(cls=CommandWithRest, short_help="Start JupyterLab on the repository.")
@source_argument
@engine_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="On 127.0.0.1. Default: 8888 or the next free.",
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@locked_option
@jobs_option
@environment_options
@common_options
def up(session: Session, source: str, port: int | None, no_browser: bool, locked: bool) -> None:
    """Start JupyterLab on the repository, in its environment.

    Edits are saved in the repository; of one that is fetched, in a copy that is kept. Ctrl-C ends the server.
    Options after -- go to JupyterLab; a command there runs instead of it, and has to listen on $HOST and
    $PORT.
    """
    from envbuild.cli.drift import observed
    from envbuild.cli.running import environment_image
    from envbuild.drift.sessions import session_path
    from envbuild.up import up as run_server

    project = session.project(source)
    directory = session.working_directory(project)
    engine, image = environment_image(session, project, locked=locked)

    def ready(url: str) -> None:
        session.console.result(url)
        session.console.document(
            {
                "url": url,
                "engine": engine.name,
                "session": str(session_path(project.repo, session.store)),
                "seconds": session.console.rounded_seconds,
            }
        )
        session.console.note("Ctrl-C ends the server")

    with observed(session, project, engine, "up", live=True) as observation:
        run_server(
            image,
            directory,
            engine=observation.engine,
            store=session.store,
            reporter=session.console,
            ready=ready,
            port=port,
            browser=not no_browser,
            arguments=rest_of_command_line() or (),
            show_log=session.console.verbose,
        )
    session.console.interrupted("the server has ended")
