"""Every argument of repo2docker's command line, and what becomes of it here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ARGUMENTS", "CONFIG_FILE", "Argument", "Fate"]

# ``quiet`` has no effect that anybody would look for, ``noted`` has one in repo2docker, and so is told.
Fate = Literal["honoured", "quiet", "noted", "refused"]
CONFIG_FILE = "repo2docker_config.py"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument.

    Parameters:
        names: its spellings.
        stored: where repo2docker's parser keeps the value.
        takes: what follows it: nothing (it turns something ``on`` or ``off``), a ``text``, a ``number``, or
            one of several ``texts`` or ``variables``, when it may be repeated.
        fate: what becomes of it.
        here: that in words, for people: the rest of a sentence that begins with the argument.
        default: the value without it.
        usual: values that BinderHub passes always; they are not worth a word.
    """

    names: tuple[str, ...]
    stored: str
    takes: Literal["on", "off", "text", "number", "texts", "variables"]
    fate: Fate
    here: str
    default: Any = None
    usual: tuple[Any, ...] = ()


ARGUMENTS = (
    Argument(("--help-all",), "help_all", "on", "honoured", "is the same as --help", False),
    Argument(("--version",), "version", "on", "honoured", "prints envbuild's version", False),
    Argument(
        ("--config",),
        "config",
        "text",
        "refused",
        "names a program to run; write options instead, or envbuild's own configuration",
        CONFIG_FILE,
    ),
    Argument(("--json-logs",), "json_logs", "on", "honoured", "writes lines as repo2docker does"),
    Argument(("--image-name",), "image_name", "text", "honoured", "names the image"),
    Argument(("--ref",), "ref", "text", "honoured", "is the branch, tag or commit of a git repository"),
    Argument(("--debug",), "debug", "on", "honoured", "says more, and shows tracebacks", False),
    Argument(("--no-build",), "build", "off", "honoured", "only tells what would be built"),
    Argument(("--build",), "build", "on", "honoured", "builds, which is the default"),
    Argument(
        ("--build-memory-limit",),
        "build_memory_limit",
        "text",
        "honoured",
        "limits each step in the sandbox, in GiB, rounded up",
    ),
    Argument(("--no-run",), "run", "off", "honoured", "does not start the image"),
    Argument(("--run",), "run", "on", "honoured", "starts the image in Docker, which is the default"),
    Argument(("--publish", "-p"), "ports", "texts", "honoured", "publishes a port of the container"),
    Argument(("--publish-all", "-P"), "all_ports", "on", "honoured", "publishes all ports"),
    Argument(("--no-clean",), "clean", "off", "quiet", "changes nothing: checkouts are in the cache"),
    Argument(("--clean",), "clean", "on", "quiet", "changes nothing: checkouts are in the cache"),
    Argument(("--push",), "push", "on", "honoured", "pushes the image; no Docker is needed then"),
    Argument(("--no-push",), "push", "off", "honoured", "gives the image to Docker, which is the default"),
    Argument(("--volume", "-v"), "volumes", "texts", "honoured", "mounts a directory in the container", []),
    Argument(
        ("--user-id",),
        "user_id",
        "number",
        "noted",
        "changes nothing: the image's user is 1000, and any other works as well",
        usual=(1000,),
    ),
    Argument(
        ("--user-name",),
        "user_name",
        "text",
        "noted",
        "changes nothing: the image's user is jovyan",
        usual=("jovyan",),
    ),
    Argument(("--env", "-e"), "environment", "variables", "honoured", "sets a variable in the container", []),
    Argument(
        ("--editable", "-E"), "editable", "on", "honoured", "mounts the directory in the container", False
    ),
    Argument(
        ("--target-repo-dir",),
        "target_repo_dir",
        "text",
        "noted",
        "changes nothing: the files are in /srv/repo, which $REPO_DIR names",
        usual=("/srv/repo",),
    ),
    Argument(
        ("--appendix",),
        "appendix",
        "text",
        "refused",
        "is a piece of a Dockerfile, and there is none; write packages into the repository's files, commands"
        " into postBuild or start, or leave such repositories to repo2docker",
        usual=("",),
    ),
    Argument(
        ("--label",),
        "labels",
        "texts",
        "noted",
        "changes nothing: an image's labels follow from its lock and its source",
        [],
    ),
    Argument(
        ("--build-arg",),
        "build_args",
        "texts",
        "refused",
        "is for Dockerfiles; write the value into the Dockerfile",
        [],
    ),
    Argument(("--subdir",), "subdir", "text", "honoured", "is the directory that is meant"),
    Argument(
        ("--cache-from",),
        "cache_from",
        "texts",
        "quiet",
        "changes nothing: ENVBUILD_REGISTRY names where layers are looked for",
        [],
    ),
    Argument(
        ("--engine",), "engine", "text", "honoured", "is who gets the image: docker or podman", "docker"
    ),
)
