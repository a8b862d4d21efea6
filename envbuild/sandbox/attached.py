"""A process between one of ours and a program in a sandbox: it passes on what they say, and keeps the limits.

Started as ``python -m envbuild.sandbox.attached SPECIFICATION PROGRAM ARGUMENT...``, with a JSON object that
says how to run the program. When whoever started it is gone, so is its input; when it is gone, so is the
program.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from envbuild.engine.docker_container import Daemon
from envbuild.engine.model import Command
from envbuild.sandbox.ceiling import bounded
from envbuild.sandbox.limits import Guard
from envbuild.sandbox.model import Limits

__all__ = ["bubblewrap_command", "docker_command"]


def bubblewrap_command(
    tool: Sequence[str], options: Sequence[str], limits: Limits, argv: Sequence[str]
) -> tuple[str, ...]:
    """The command that runs ``argv`` in bubblewrap, started as ``tool`` with ``options``."""
    return _command("bubblewrap", limits, argv, tool=list(tool), options=list(options))


def docker_command(
    reference: str,
    variables: Mapping[str, str | None],
    limits: Limits,
    argv: Sequence[str],
    daemon: Daemon,
) -> tuple[str, ...]:
    """The command that runs ``argv`` in a container of the image ``reference``, which the ``daemon`` has.

    Parameters:
        variables: None for those of the image's that are not to be set.
    """
    values = {"reference": reference, "variables": dict(variables), "daemon": asdict(daemon)}
    return _command("docker", limits, argv, **values)


def _command(engine: str, limits: Limits, argv: Sequence[str], **values: Any) -> tuple[str, ...]:
    specification = json.dumps({"engine": engine, "limits": asdict(limits), **values}, sort_keys=True)
    # -P: the working directory may be the repository, whose files are not to be imported.
    return (sys.executable, "-P", "-m", "envbuild.sandbox.attached", specification, *argv)


def _in_bubblewrap(argv: list[str], limits: Limits, tool: list[str], options: list[str]) -> int:
    from envbuild.engine.bubblewrap_container import Contained

    with bounded(tool, limits) as start, Contained(start, options, argv, Command((), stdin=True)) as running:
        if running.first_process is None:
            return running.wait()
        with Guard(running.first_process, limits, running.kill) as guard:
            code = running.wait()
        if guard.exceeded is not None:
            print(f"it used {guard.exceeded}", file=sys.stderr)
        return code


def _in_docker(
    argv: list[str], limits: Limits, reference: str, variables: dict[str, str], daemon: dict[str, Any]
) -> int:
    import threading

    import docker

    from envbuild.engine.docker_container import Confinement, Container

    client = docker.from_env(environment=dict(os.environ))
    confinement = Confinement(
        user=None,
        capabilities=(),
        network=False,
        memory=limits.memory,
        processes=limits.processes,
        cpus=(),
        read_only=True,
    )
    command = Command(tuple(argv), env=variables, workdir="/", stdin=True)
    with Container(client, reference, command, confinement, Daemon(**daemon)) as running:
        timer = threading.Timer(limits.seconds, running.kill)
        timer.start()
        try:
            return running.wait()
        finally:
            timer.cancel()


def _main() -> int:
    values = json.loads(sys.argv[1])
    limits = Limits(**values.pop("limits"))
    if values.pop("engine") == "docker":
        return _in_docker(sys.argv[2:], limits, **values)
    return _in_bubblewrap(sys.argv[2:], limits, **values)


if __name__ == "__main__":
    sys.exit(_main())
