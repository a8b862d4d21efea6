"""The glue layer: what belongs to no package and depends on the lock as a whole."""

from __future__ import annotations

import json
from pathlib import Path

from envbuild.fingerprint import program
from envbuild.kernel.languages import Way
from envbuild.kernel.specs import kernel_json, kernel_names, other_kernel_json, valid_kernel_name
from envbuild.lock.model import CondaPackage
from envbuild.pack import recipe
from envbuild.pack.conda_meta import history
from envbuild.pack.tar import Entry, directory, file, symlink

__all__ = ["ENTRYPOINT", "FINGERPRINT", "IDENTITY_PATH", "LOCK_PATH", "glue_entries", "pyvenv_cfg"]

ENTRYPOINT = "usr/local/bin/envbuild-entrypoint"
FINGERPRINT = "usr/local/bin/envbuild-fingerprint"
IDENTITY_PATH = "usr/share/envbuild/environment.json"
LOCK_PATH = "usr/share/envbuild/envbuild.lock"

# Hubs run images under any UID and mount anything over $HOME, so nothing may be taken for granted here.
_ENTRYPOINT_SCRIPT = """\
#!{shell}
# Reads ahead what `envbuild trace` listed, if it did, beside everything else. Runs the repository's `start`
# script, if it has one, and then the command.
{activation}if [ ! -w "${HOME:-/}" ]; then
    HOME="$(mktemp -d)" && export HOME
fi
if [ -f "${REPO_DIR:-.}/{trace}" ]; then
    (head -n {lines} "${REPO_DIR:-.}/{trace}" |
        xargs -d '\\n' -n 64 -P 4 sh -c '{reading}' sh &) < /dev/null > /dev/null 2>&1
fi
for start in binder/start .binder/start start; do
    start="${REPO_DIR:-.}/$start"
    if [ -x "$start" ] && [ -f "$start" ]; then
        exec "$start" "$@"
    elif [ -f "$start" ]; then
        IFS= read -r first < "$start"
        case "$first" in
        '#!'*)
            # As the kernel would: the program, and the rest of the line as one argument.
            read -r program argument <<END
${first#??}
END
            exec "$program" ${argument:+"$argument"} "$start" "$@" ;;
        esac
        exec bash "$start" "$@"
    fi
done
exec "$@"
"""

# Of up to 64 names on the command line, those that are files in places of the image. It says nothing and
# fails alone; where xargs knows no -d (busybox), nothing is read.
_READING = """\
for file; do
        shift
        case "$file" in
        */../*) ;;
        {places}) [ -f "$file" ] && set -- "$@" "$file" ;;
        esac
    done
    cat -- "$@\""""

# What `conda activate` would do besides setting variables. Packages' scripts are for bash. What they change
# of ours is put back: arguments (by a function, which has its own) and shell options.
_ACTIVATION = """\
activate() {
    for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do
        if [ -r "$script" ]; then
            . "$script" >&2
            set +eu
        fi
    done
}
activate
"""


def _entrypoint(conda: bool) -> str:
    shell, activation = ("/bin/bash", _ACTIVATION) if conda else ("/bin/sh", "")
    filled = {
        "shell": shell,
        "activation": activation,
        "trace": recipe.TRACE_FILE,
        "lines": str(recipe.TRACE_LINES),
        "reading": _READING.replace("{places}", "|".join(f"/{place}/*" for place in recipe.TRACE_PLACES)),
    }
    script = _ENTRYPOINT_SCRIPT
    for name, text in filled.items():
        script = script.replace("{" + name + "}", text)
    return script


# JupyterLab asks every new user (and every session has a new home) about news, and looks for updates of what
# is locked here.
_LAB_SETTINGS = b"""\
{
 "@jupyterlab/apputils-extension:notification": {
  "checkForUpdates": false,
  "fetchNews": "false"
 }
}
"""


def pyvenv_cfg(python: str, executable: str) -> str:
    """The file that makes a directory a virtual environment (PEP 405) of the Python at ``executable``.

    Parameters:
        python: its exact version (``3.11.2``).
    """
    home = executable.rpartition("/")[0]
    return f"home = {home}\ninclude-system-site-packages = false\nversion = {python}\n"


def _virtual_environment(prefix: str, python: str, executable: str) -> list[Entry]:
    """A virtual environment's own files."""
    minor = ".".join(python.split(".")[:2])
    return [
        file(f"{prefix}/pyvenv.cfg", pyvenv_cfg(python, executable).encode()),
        symlink(f"{prefix}/bin/python", "python3"),
        symlink(f"{prefix}/bin/python3", executable),
        symlink(f"{prefix}/bin/python{minor}", "python3"),
        directory(f"{prefix}/lib/python{minor}/site-packages"),
    ]


def _environment(python: str, executable: str, conda: tuple[CondaPackage, ...]) -> list[Entry]:
    """What makes ``/srv/env`` an environment; conda's packages bring their own Python, if they need one."""
    entries = []
    if conda:
        entries.append(file(f"{recipe.ENV_PREFIX}/conda-meta/history", history(conda)))
    if not any(package.name == "python" for package in conda):
        entries += _virtual_environment(recipe.ENV_PREFIX, python, executable)
    return entries


def _fingerprint_program() -> bytes:
    """The program for people in a container; it tells about the user's Python, not the server's."""
    return f"#!/{recipe.ENV_PREFIX}/bin/python3\n".encode() + Path(program.__file__).read_bytes()


def _identity(environment: str) -> bytes:
    """What the environment is called, for what runs in it: labels cannot be seen from inside."""
    content = {"environment": environment, "recipe": recipe.VERSION}
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def glue_entries(
    *,
    name: str,
    display_name: str,
    python: str,
    executable: str,
    kernels: tuple[str, ...],
    lock: bytes,
    environment: str,
    own_server: bool,
    conda: tuple[CondaPackage, ...] = (),
    other_kernels: tuple[tuple[str, Way], ...] = (),
) -> list[Entry]:
    """Entries of the glue layer.

    Parameters:
        name: the project's kernelspec name; ``display_name`` is for people.
        python: the exact version (``3.11.2``), ``executable`` where the base has it.
        kernels: further kernelspec names, as notebooks use them.
        lock: the lock file, to be kept in the image; ``environment`` is its environment's id.
        own_server: the Jupyter server is in the user's environment; then its own place leads there.
        conda: the packages of a conda prefix, which the environment then is.
        other_kernels: names of the kernelspecs of other languages, and how each kernel is had.
    """
    server = recipe.ENV_PREFIX if own_server else recipe.SERVER_PREFIX
    entries = [
        *_environment(python, executable, conda),
        file(f"{server}/share/jupyter/lab/settings/overrides.json", _LAB_SETTINGS),
        *(
            [symlink(recipe.SERVER_PREFIX, f"/{recipe.ENV_PREFIX}")]
            if own_server
            else _virtual_environment(recipe.SERVER_PREFIX, python, executable)
        ),
        file(ENTRYPOINT, _entrypoint(bool(conda)).encode(), executable=True),
        file(FINGERPRINT, _fingerprint_program(), executable=True),
        file(LOCK_PATH, lock),
        file(IDENTITY_PATH, _identity(environment)),
        directory(recipe.HOME),
        directory(recipe.REPO_DIR),
    ]
    # A project called like another language's kernel is found under `python3` as well.
    others = {kernel: way for kernel, way in other_kernels if kernel.lower() != "python3"}
    specs = {
        kernel: kernel_json(f"Python ({display_name})")
        for kernel in kernel_names(name, kernels)
        if kernel.lower() not in {other.lower() for other in others}
    }
    specs |= {kernel: other_kernel_json(way) for kernel, way in others.items() if valid_kernel_name(kernel)}
    for kernel, content in specs.items():
        entries.append(file(f"{recipe.ENV_PREFIX}/share/jupyter/kernels/{kernel}/kernel.json", content))
    return entries
