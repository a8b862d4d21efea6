"""Metrics of a run: counted in the cache, and sent where the settings say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuild.errors import EnvbuildError
from envbuild.observation import failure_code

if TYPE_CHECKING:
    from envbuild.cli.session import Session

__all__ = ["metered"]


@contextmanager
def metered(session: Session) -> Iterator[None]:
    """Count the block as a run of its verb, if it is one that does work.

    Numbers that cannot be written are no reason for work to fail: there is a warning if they were asked for.

    Raises:
        UsageError: the address of the Pushgateway is none.
    """
    from envbuild.metrics.runs import COUNTED

    if session.console.observation.verb not in COUNTED:
        yield
        return
    gateway = session.settings.metrics_push
    if gateway:
        from envbuild.metrics.exposition import check_gateway

        check_gateway(gateway)
    failure: str | None = None
    success = False
    try:
        yield
        success = True
    except click.exceptions.Exit as end:  # what was run said no, which is an answer
        success = end.exit_code == 0
        raise
    except BaseException as error:
        failure = failure_code(error)
        raise
    finally:
        _tell(session, failure, success=success)


def _tell(session: Session, failure: str | None, *, success: bool) -> None:
    from envbuild.metrics.runs import keep, last_run
    from envbuild.metrics.totals import Totals

    settings, run, warn = session.settings, session.console.observation, session.console.warn
    wanted = bool(settings.metrics_file)
    try:
        totals = keep(settings.cache_dir, run, failure, success=success)
        if settings.metrics_file:
            from envbuild.metrics.exposition import write_textfile

            write_textfile(totals, Path(settings.metrics_file).expanduser().absolute())
    except (OSError, EnvbuildError) as error:
        if wanted or session.console.verbose:
            reason = error.strerror if isinstance(error, OSError) else error
            place = settings.metrics_file or settings.cache_dir
            warn(f"metrics are not written to {place}: {reason}")
    if settings.metrics_push:
        from envbuild.metrics.exposition import push

        totals = Totals()
        last_run(totals, run, success=success)
        try:
            push(totals, settings.metrics_push, subject=run.subject, verb=run.verb)
        except EnvbuildError as error:
            warn(f"{error.message}; {error.remedy}")
