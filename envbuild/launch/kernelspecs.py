"""Kernelspecs on this machine, which the user's own applications find: written, listed and removed.

Where they are: https://docs.jupyter.org/en/latest/use/jupyter-directories.html. What is in ``kernel.json``:
https://jupyter-client.readthedocs.io/en/stable/kernels.html. Ours have an object ``envbuild`` in their
metadata; others are never touched.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import MachineError, UsageError
from envbuild.launch.kernels import ImageKernel, host_name
from envbuild.source.text import quote
from envbuild.store.disk import write_atomic

__all__ = [
    "PROVISIONER",
    "HostKernel",
    "Installation",
    "environment_directory",
    "install_kernels",
    "installed_kernels",
    "remove_kernel",
    "user_directory",
]

PROVISIONER = "envbuild"
"""The entry point's name in the group `jupyter_client.kernel_provisioners`."""

_LARGEST = 1 << 20
# The program is not to import what lies in the directory it is started in, or what Jupyter is told to.
_ENVIRONMENT = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}


@dataclass(frozen=True, slots=True)
class HostKernel:
    """A kernelspec of ours: ``name`` is what notebooks call it, ``kernel`` its name in the image.

    ``directory`` has its ``kernel.json``; ``source`` are the repository and the options it was installed
    with; what is prepared for it is under ``key`` in ``cache``.
    """

    name: str
    display_name: str
    language: str
    kernel: str
    directory: Path
    source: tuple[str, ...]
    key: str
    cache: Path


@dataclass(frozen=True, slots=True)
class Installation:
    """What the kernelspecs of one repository have in common.

    Parameters:
        project: its name, by which people choose the kernel.
        source: the arguments for ``envbuild kernel prepare``; the repository is the first.
        key: the key of what is prepared for them, and ``cache`` the cache it is in.
        provisioner: name the provisioner; applications that lack it would not show the kernel at all.
    """

    project: str
    source: tuple[str, ...]
    key: str
    cache: Path
    provisioner: bool = False


def user_directory(environment: Mapping[str, str]) -> Path:
    """Where every application of this user looks for kernelspecs."""
    chosen = environment.get("JUPYTER_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser() / "kernels"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter" / "kernels"
    data = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "jupyter" / "kernels"


def environment_directory() -> Path:
    """Where the applications of this Python environment look for kernelspecs."""
    return Path(sys.prefix) / "share" / "jupyter" / "kernels"


def install_kernels(
    kernels: Sequence[ImageKernel], installation: Installation, directory: Path
) -> tuple[HostKernel, ...]:
    """Write a kernelspec for each of ``kernels`` into ``directory``; those that were left of before go.

    Raises:
        UsageError: another kernelspec has the name.
        MachineError: it cannot be written, or envbuild is not installed as it should be.
    """
    program = Path(sys.executable).with_name("envbuild-kernel")
    if not program.is_file():
        raise MachineError(
            f"{program} is missing",
            code="no-kernel-program",
            remedy="install envbuild anew, with pip, pipx or uv",
        )
    chosen = {host_name(kernel.names[0], installation.project): kernel for kernel in kernels}
    existing = {one.name: one for one in installed_kernels([directory])}
    for name in chosen:
        _refuse_other(directory / name, existing.get(name), installation)
    written = []
    for name, kernel in sorted(chosen.items()):
        content = _kernel_json(name, kernel, installation, program)
        try:
            (directory / name).mkdir(parents=True, exist_ok=True)
            write_atomic(directory / name / "kernel.json", content)
        except OSError as error:
            raise MachineError(
                f"the kernelspec cannot be written: {error.strerror}",
                code="not-writable",
                file=str(directory / name),
                remedy="set JUPYTER_DATA_DIR to a directory you own",
            ) from error
        found = _read(directory / name)
        assert found is not None
        written.append(found)
    for old in existing.values():
        if old.name not in chosen and old.source[0] == installation.source[0]:
            remove_kernel(old)
    return tuple(written)


def installed_kernels(directories: Iterable[Path]) -> tuple[HostKernel, ...]:
    """The kernelspecs of ours in ``directories``, by name."""
    return tuple(sorted(_all(directories), key=lambda kernel: (kernel.name, kernel.directory)))


def remove_kernel(kernel: HostKernel) -> None:
    """Remove a kernelspec; notebooks that run go on.

    Raises:
        MachineError: it is not ours to remove.
    """
    try:
        shutil.rmtree(kernel.directory)
    except OSError as error:
        raise MachineError(
            f"the kernelspec cannot be removed: {error.strerror}",
            code="not-writable",
            file=str(kernel.directory),
            remedy="have its owner remove it",
        ) from error


def _all(directories: Iterable[Path]) -> Iterator[HostKernel]:
    for directory in dict.fromkeys(directories):
        try:
            places = sorted(directory.iterdir())
        except OSError:
            continue
        for place in places:
            found = _read(place)
            if found is not None:
                yield found


def _refuse_other(place: Path, found: HostKernel | None, installation: Installation) -> None:
    if found is None:
        if not place.exists():
            return
        whose = "one that envbuild has not installed"
        remedy = f"remove it with `jupyter kernelspec remove {place.name}`"
    elif found.source[0] == installation.source[0]:
        return
    else:
        whose = f"that of {quote(found.source[0])}"
        remedy = f"remove it with `envbuild kernel remove {place.name}`"
    raise UsageError(
        f"there is a kernel {place.name!r} already, {whose}",
        code="kernel-exists",
        remedy=f"{remedy}, or set `name` in envbuild.toml",
    )


def _kernel_json(name: str, kernel: ImageKernel, installation: Installation, program: Path) -> bytes:
    project = installation.project
    shown = kernel.display_name
    metadata: dict[str, Any] = {
        "envbuild": {
            "cache": str(installation.cache),
            "kernel": kernel.names[0],
            "key": installation.key,
            "source": list(installation.source),
        }
    }
    if kernel.debugger:
        metadata["debugger"] = True
    if installation.provisioner:
        metadata["kernel_provisioner"] = {"provisioner_name": PROVISIONER}
    common = (installation.key, str(installation.cache), *installation.source)
    content = {
        "argv": [str(program), "{connection_file}", name, *common],
        "display_name": shown if re.search(rf"\b{re.escape(project)}\b", shown) else f"{shown} ({project})",
        "env": _ENVIRONMENT,
        "interrupt_mode": kernel.interrupt_mode,
        "language": kernel.language,
        "metadata": metadata,
    }
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _read(directory: Path) -> HostKernel | None:
    """The kernelspec in ``directory``; None when there is none, or it is not ours."""
    try:
        with (directory / "kernel.json").open("rb") as stream:
            value = json.loads(stream.read(_LARGEST))
        ours = value["metadata"]["envbuild"]
        return HostKernel(
            directory.name,
            str(value["display_name"]),
            str(value["language"]),
            str(ours["kernel"]),
            directory,
            tuple(map(str, ours["source"])) or ("",),
            str(ours["key"]),
            Path(ours["cache"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
