"""Starts on an engine of this machine, as a hub or ``envbuild up`` does.

What the image answers is not trusted: it is bounded, and nothing of it is run here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from envbuild.conformance.containers import what_it_lacks
from envbuild.engine.model import Command, Engine, Mount
from envbuild.errors import MachineError, RepoError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.probe.model import Report, Start
from envbuild.probe.program import FAILURES, work
from envbuild.progress import Reporter
from envbuild.source.log import last_lines
from envbuild.source.text import clean
from envbuild.store import Store
from envbuild.up import free_port, jupyterlab

__all__ = ["START_SECONDS", "failed", "probe", "start_of"]

START_SECONDS: Final = 300.0


def probe(
    image: Image,
    *,
    packages: Sequence[str],
    engine: Engine,
    store: Store,
    reporter: Reporter,
    repeats: int,
) -> Report:
    """Start ``image`` so many times, one after the other, each in a new container, and measure.

    Parameters:
        packages: normalized names of distributions, whose modules are imported.

    Raises:
        MachineError: the engine fails.
        RepoError: the server or its kernel does not start; ``detail`` has the end of the server's log.
    """
    engine.prepare(image, reporter=reporter)
    starts: list[Start] = []
    with reporter.stage("probe", unit="starts") as stage:
        stage.add_total(repeats)
        for _ in range(repeats):
            with store.temporary_directory() as scratch:
                starts.append(_start(image, packages, engine, scratch))
            stage.advance(1)
    return Report(tuple(starts))


def _start(image: Image, packages: Sequence[str], engine: Engine, scratch: Path) -> Start:
    port, token = free_port(), secrets.token_hex(24)
    repository, log = scratch / "repository", scratch / "server.log"
    repository.mkdir()
    command = Command(
        jupyterlab(engine.listen_address, port, ()),
        env={"JUPYTER_TOKEN": token, "JUPYTER_PORT": str(port)},
        mounts=(Mount(repository, f"/{recipe.REPO_DIR}", writable=True),),
        owner=repository.stat().st_uid,
        ports=(port,),
        output=log,
    )
    began = time.monotonic()
    try:
        started = engine.start(image, command)
    except MachineError as error:
        lacking = what_it_lacks(error.message)
        if lacking is None:
            raise
        raise failed(lacking, None) from error
    with started as running:
        try:
            events = [
                (time.monotonic() - began, event)
                for event in work(port, token, packages, START_SECONDS, running.poll)
            ]
        except FAILURES as error:
            said = str(error) or type(error).__name__
            raise failed(said, last_lines(log) if log.exists() else None) from error
    return start_of(events)


def start_of(events: Sequence[tuple[float, dict[str, Any]]]) -> Start:
    """The start that events of :func:`envbuild.probe.program.work` make, each with when it was seen."""
    seen = {event["phase"]: (seconds, event) for seconds, event in events}
    imports = seen.get("imports")
    return Start(
        server=seen["server"][0],
        kernel=seen["kernel"][0],
        imports=float(imports[1]["seconds"]) if imports else None,
        broken=tuple(imports[1]["broken"]) if imports else (),
    )


def failed(said: str, log: str | None) -> RepoError:
    """The error for an image that does not start."""
    return RepoError(
        f"it does not start: {clean(said)}",
        code="probe-failed",
        remedy="`envbuild verify-image` tells what is wrong with it",
        detail=log,
    )
