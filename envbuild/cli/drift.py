"""What ``up`` and ``run`` say about an environment that is changed while it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from envbuild.cli.session import Project, Session
    from envbuild.drift.changes import Change
    from envbuild.engine import Engine
    from envbuild.errors import RepoError
    from envbuild.notebook import Executed

__all__ = ["Observation", "drift_document", "drift_of", "observed", "strict_option", "with_remedy"]

strict_option = click.option(
    "--strict",
    "drift",
    flag_value="error",
    default=None,
    help="Fail when the environment is changed meanwhile (%pip install).",
)


@dataclass(slots=True)
class Observation:
    """``engine`` is what to start with; ``changes`` is what it was told, in full after the block."""

    engine: Engine
    changes: tuple[Change, ...] = ()


@contextmanager
def observed(
    session: Session, project: Project, engine: Engine, verb: str, *, live: bool
) -> Iterator[Observation]:
    """While the block runs, keep what changes in the environment for ``lock --from-session``, and warn.

    Parameters:
        verb: what the session is called: ``up`` or ``run``.
        live: warn while it runs, not only at its end.
    """
    if project.spec.engine_build is not None:  # whose Python and environment are anywhere
        yield Observation(engine)
        return
    from datetime import UTC, datetime

    from envbuild.drift.declaring import declaring_place
    from envbuild.drift.messages import adopt_command, warnings_about
    from envbuild.drift.sessions import SessionChanges, keep_session
    from envbuild.drift.watching import watched

    started = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    place = declaring_place(project.spec, project.repo)
    known: set[Change] = set()

    def warn(changes: tuple[Change, ...], *, over: bool) -> None:
        for line in warnings_about(changes, place, over=over):
            session.console.warn(line)

    def tell(changes: tuple[Change, ...]) -> None:
        observation.changes = changes
        keep_session(project.repo, SessionChanges(verb, started, changes), session.store)
        if live:
            warn(tuple(change for change in changes if change not in known), over=False)
            known.update(changes)

    with watched(engine, session.store) as watching:
        observation = Observation(watching)
        with watching.telling(tell):
            yield observation
    command = adopt_command(project.repo, Path.cwd())
    adopt = f"`{command}` declares and locks it" if command else ""
    if observation.changes and live:
        gone = "what was changed in this session is gone with it"
        session.console.warn("; ".join(filter(None, [gone, adopt])))
    elif observation.changes and project.settings.drift == "warn":
        warn(observation.changes, over=True)
        session.console.note("; ".join(filter(None, [adopt, "--strict makes a change an error"])))


def drift_of(project: Project, observation: Observation) -> RepoError | None:
    """The error that the changes are, if changes are errors."""
    from envbuild.drift.declaring import declaring_place
    from envbuild.drift.messages import adopt_command, drift_error

    if not observation.changes or project.settings.drift != "error":
        return None
    place = declaring_place(project.spec, project.repo)
    return drift_error(observation.changes, place, adopt_command(project.repo, Path.cwd()))


def drift_document(observation: Observation, drift: RepoError | None) -> dict[str, Any]:
    """What the document of ``run`` says about changes of the environment."""
    from envbuild.drift.changes import to_json

    return {"changes": to_json(observation.changes), "error": drift.to_json() if drift else None}


def with_remedy(project: Project, result: Executed) -> Executed:
    """``result``, whose error names the package to add if a module was missing."""
    from envbuild.drift.missing import with_package_named

    if result.error is None:
        return result
    return replace(result, error=with_package_named(result.error, project.spec, project.repo))
