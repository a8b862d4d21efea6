"""``envbuild-repo2docker``: repo2docker's arguments, one build of envbuild's, repo2docker's log."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import envbuild
from envbuild.binder.arguments import Request, argument_parser, read_arguments
from envbuild.binder.credentials import MOUNTED, REGISTRY, git_login, hidden_secret, registry_variables
from envbuild.binder.log import JournalReader, Lines, Phase
from envbuild.binder.source import read_source
from envbuild.errors import EnvbuildError, UsageError
from envbuild.source.text import redact

__all__ = ["build_command", "image_name", "main", "run"]

_INTERRUPTED = 130  # as shells have it


def main() -> None:
    """Run the command line and exit with its code (the console script)."""
    code = _INTERRUPTED
    # Before the build has begun, or after it: the build itself has its own way.
    with contextlib.suppress(KeyboardInterrupt):
        code = run(sys.argv[1:])
    if code == _INTERRUPTED:
        os._exit(code)  # threads that wait for a network must not keep the caller waiting
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Do what the command line ``arguments`` (without the program's name) asks for.

    Returns the exit code: 0, those of ``envbuild build``, or that of the container.
    """
    if "--version" in arguments:
        print(f"envbuild {envbuild.__version__}")
        return 0
    if "--help-all" in arguments:
        argument_parser(os.environ).print_help()
        return 0
    lines = Lines(sys.stderr, as_json="--json-logs" in arguments)
    try:
        request = read_arguments(arguments, os.environ)
        lines = Lines(sys.stderr, as_json=request.json_logs)
        source, notes = read_source(
            request.repository, request.ref, git_login(os.environ, request.repository)
        )
        credentials = registry_variables(os.environ)
        if request.push and not credentials and hidden_secret():
            notes = (*notes, f"{MOUNTED}/config.json may not be read by this user: give {REGISTRY} instead")
        os.environ.update({**dict(request.variables), **credentials})
        image = image_name(request)
    except EnvbuildError as error:
        lines.error(error)
        return error.exit_code
    for note in (*request.notes, *notes):
        lines.say("fetching", f"note: {note}")
    if not request.build:
        return _envbuild(["plan", source, *_subdirectory(request)])
    code, engine = _build(request, source, image, lines)
    return code if code or request.run is None else _run(request, image, engine, lines)


def image_name(request: Request) -> str:
    """The name of the image: the one that was given, else one made of the repository and the ref.

    Raises:
        UsageError: it is to be pushed, and there is no telling where to.
    """
    if request.image is not None:
        return request.image
    if request.push:
        raise UsageError(
            "--push needs to know where to",
            code="push-without-name",
            remedy="name the image with its registry: --image-name registry.example.org/team/demo:1.0",
        )
    what = "\n".join(part or "" for part in (request.repository, request.ref, request.subdirectory))
    words = re.sub(r"[^a-z0-9]+", "-", Path(request.repository).name.lower().removesuffix(".git")).strip("-")
    return f"r2d-{words or 'repository'}-{hashlib.sha256(os.fsencode(what)).hexdigest()[:8]}"


def build_command(request: Request, source: str, image: str) -> list[str]:
    """The command line of envbuild that builds ``image`` from ``source``."""
    load = request.run is not None or not request.push
    return [
        *("build", source, *_subdirectory(request), *request.settings, "-t", image),
        *(("--push",) if request.push else ()),
        *(("--load",) if load else ()),
        # Whoever looks for the image afterwards asks this one.
        *(("--engine", request.engine) if load else ()),
    ]


def _subdirectory(request: Request) -> list[str]:
    return ["--subdir", request.subdirectory] if request.subdirectory else []


def _envbuild(arguments: Sequence[str]) -> int:
    from envbuild.cli.main import run as run_envbuild

    return run_envbuild(arguments)


def _build(request: Request, source: str, image: str, lines: Lines) -> tuple[int, str | None]:
    """The exit code, and which engine was given the image."""
    command = [*build_command(request, source, image), "--json"]
    output = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(output))
        if request.json_logs:
            names: dict[Phase, str] = {
                "fetching": redact(request.repository),
                "building": image,
                "pushing": image,
            }
            journal = JournalReader(lines, names)
            journal.enter("fetching")
            stack.enter_context(contextlib.redirect_stderr(journal))
            command += ["--log-format", "json"]
        code = _envbuild(command)
    if code:
        return code, None
    document = json.loads(output.getvalue())
    lines.say("pushing" if request.push else "building", _summary(document))
    return 0, document["loaded"]


def _summary(document: Mapping[str, Any]) -> str:
    layers = [layer for image in document["platforms"].values() for layer in image["layers"]]
    new = sum(not layer["cached"] for layer in layers)
    done = "pushed" if document["pushed"] else f"loaded into {document['loaded']}:"
    return f"{done} {document['tags'][0]}@{document['digest']} ({new} of {len(layers)} layers are new)"


def _run(request: Request, image: str, engine: str | None, lines: Lines) -> int:
    from envbuild.binder.container import run_container
    from envbuild.config import load_settings, read_user_config, user_config_path
    from envbuild.engine.docker import Docker
    from envbuild.engine.podman import Podman
    from envbuild.store import Store

    assert request.run is not None
    user = read_user_config(user_config_path())
    settings = load_settings(flags={}, environment=os.environ, user=user, repository=None)
    daemon = (Podman if engine == "podman" else Docker)(Store(settings.cache_dir), os.environ)
    try:
        return run_container(
            daemon.client,
            image,
            request.run,
            host=daemon.host,
            user_id=request.user_id or os.geteuid() or None,
            say=lambda line: lines.say("running", line),
        )
    except EnvbuildError as error:
        lines.error(error)
        return error.exit_code
    finally:
        daemon.close()
