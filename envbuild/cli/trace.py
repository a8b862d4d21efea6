"""``envbuild trace``: which files a first start reads, for the image to read them ahead."""

from __future__ import annotations

import click

from envbuild.cli.options import (
    common_options,
    engine_option,
    environment_options,
    jobs_option,
    locked_option,
    subdir_option,
)
from envbuild.cli.session import Session
from envbuild.cli.text import count

__all__ = ["trace"]


@click.command(short_help="List the files that a first start reads, to read them ahead.")
@click.argument("source", default=".")
@subdir_option
@engine_option
@locked_option
@jobs_option
@environment_options
@common_options
def trace(session: Session, source: str, locked: bool) -> None:
    """Start a server and a kernel once, import there what the notebooks of SOURCE import, and write the files
    that were read to envbuild.trace, which belongs in the repository.

    Images built with that file read these files ahead when they start, which is for nodes on whose disks each
    read takes a millisecond or more, such as network volumes. Nothing depends on the list: remove the file to
    turn it off, and trace again after larger changes of the lock.
    """
    from envbuild.cli.running import environment_image
    from envbuild.errors import RepoError
    from envbuild.startup.trace import trace_start, write_trace

    project = session.project(source)
    build = project.spec.engine_build
    if build is not None:
        raise RepoError(
            "a container engine builds the image: its entry point reads nothing ahead",
            code="no-read-ahead",
            file=build.path,
            remedy="read ahead in an entry point of your own",
        )
    engine, image = environment_image(session, project, locked=locked)
    directory = session.working_directory(project)
    modules = [line.module for notebook in project.spec.notebooks for line in notebook.import_lines]
    files = trace_start(
        image, directory, modules, engine=engine, store=session.store, reporter=session.console
    )
    path = write_trace(directory, files)
    session.console.result(f"wrote {path}: {count(len(files), 'file')} that a start reads")
    session.console.document({"path": str(path), "files": len(files)})
