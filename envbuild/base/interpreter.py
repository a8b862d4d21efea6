"""A base's own Python, unpacked on this machine and started without a container.

Bytecode differs between patch releases, so it is compiled by the very Python of the base: the build of it for
this machine's architecture. Started through its own loader and libraries it needs nothing of the host.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.base.host import host_platform
from envbuild.errors import MachineError
from envbuild.lock.model import Artifact, Base, Deb
from envbuild.pack.deb import merge_usr, open_deb
from envbuild.store import Store
from envbuild.store.directory import checked_directory, make_directory

__all__ = ["LIBRARY_DIRECTORIES", "Interpreter", "interpreter", "unpack_debs"]

# What the standard library's modules that a compiler may import link to; what is missing here would be taken
# from the host.
_LIBRARIES = (
    "libbz2-1.0",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libssl3",
    "libssl3t64",
    "libuuid1",
    "libzstd1",
    "zlib1g",
)

# What pack/_compile_worker.py imports.
_WARM_MODULES = ("importlib.util", "json", "marshal")

# Where each architecture's libraries are below the root, and the loader among them. (Not the loader's path
# in ELF files: that may be an absolute link, which would lead to the host's.)
LIBRARY_DIRECTORIES = {
    "linux/amd64": ("usr/lib/x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "linux/arm64": ("usr/lib/aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}


@dataclass(frozen=True, slots=True)
class Interpreter:
    """How to start a base's Python on this machine.

    ``command`` is to be followed by more of Python's own options; ``environment`` are the variables it needs,
    and no others should be passed. ``key`` names the exact build; it is part of what bytecode depends on.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    key: str


def interpreter(
    base: Base,
    *,
    store: Store,
    fetch: Callable[[Artifact], Path],
    check: Callable[[Sequence[Deb], str], None],
) -> Interpreter:
    """The Python of ``base``, unpacked into the store unless it is there already.

    Parameters:
        fetch: downloads an artifact and returns where it is.
        check: raises unless the packages, of Debian's architecture that is its second argument, may be run on
            this machine (:func:`envbuild.base.signed.check_signed`).

    Raises:
        MachineError: this machine cannot run it.
        RepoError: ``check`` refuses a package.
        RemoteError: a package cannot be fetched or is damaged.
    """
    host = host_platform()
    minor = base.python_minor
    wanted = {f"python{minor}-minimal", f"libpython{minor}-minimal", f"libpython{minor}-stdlib", *_LIBRARIES}
    debs = [deb for deb in base.debs[host] if deb.name in wanted]
    parts = [*_WARM_MODULES, *sorted(deb.artifact.sha256 for deb in debs)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    place = store.interpreters / key

    def make(tree: Path) -> None:
        check(debs, host.removeprefix("linux/"))
        unpack_debs(debs, tree, fetch)
        _warm_up(_command(tree, host, minor), _environment(tree))

    # What it compiles becomes part of images.
    if checked_directory(store, place) is None:
        with store.lock(f"interpreter-{key}"):
            if checked_directory(store, place) is None:
                make_directory(store, place, make)
    root = place / "tree"
    return Interpreter(_command(root, host, minor), _environment(root), key)


def _command(root: Path, host: str, minor: str) -> tuple[str, ...]:
    directory, loader = LIBRARY_DIRECTORIES[host]
    libraries = root / directory
    python = root / f"usr/bin/python{minor}"
    # -P: the current directory, which may be the repository, has nothing to import.
    return (str(libraries / loader), "--inhibit-cache", "--library-path", str(libraries), str(python), "-P")


def _environment(root: Path) -> dict[str, str]:
    # What a compiler makes of a source may depend on whether the modules it uses itself came from source or
    # from bytecode (python/cpython#129724), so after _warm_up nothing may change that.
    return {"PYTHONHOME": str(root / "usr"), "PYTHONDONTWRITEBYTECODE": "1"}


def _warm_up(command: Sequence[str], environment: dict[str, str]) -> None:
    """Keep bytecode of the modules a compiler imports: it starts in a quarter of the time.

    Raises:
        MachineError: the interpreter does not run here.
    """
    changed = {**environment, "PYTHONHASHSEED": "0"}
    del changed["PYTHONDONTWRITEBYTECODE"]
    outcome = subprocess.run(
        [*command, "-S", "-s", "-c", f"import {', '.join(_WARM_MODULES)}"],
        env=changed,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if outcome.returncode:
        raise MachineError(
            "the base's Python does not run on this machine, so it cannot compile bytecode",
            code="interpreter-failed",
            remedy="run `envbuild doctor`; a cache directory on a `noexec` file system is the usual reason",
            detail=outcome.stderr.strip() or f"exit status {outcome.returncode}",
        )


def unpack_debs(debs: Sequence[Deb], tree: Path, fetch: Callable[[Artifact], Path]) -> None:
    """Write what ``debs`` have below ``usr`` into the empty directory ``tree``.

    Parameters:
        fetch: downloads an artifact and returns where it is.
    """
    links: dict[Path, bytes] = {}
    for deb in debs:
        links |= _unpack_files(fetch(deb.artifact), tree)
    # Last, so that nothing is ever written through one.
    for place, target in sorted(links.items()):
        place.symlink_to(os.fsdecode(target))


def _unpack_files(package: Path, tree: Path) -> dict[Path, bytes]:
    """Unpack the files below ``usr``, all that Python needs; returns the links that are to be made."""
    links: dict[Path, bytes] = {}
    with open_deb(package) as deb:
        for member in deb.members():
            path = merge_usr(member.path)
            if not path.startswith(b"usr/") or path.startswith(b"usr/share/") or member.kind == "dir":
                continue
            place = tree / os.fsdecode(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if member.kind == "symlink":
                if not member.target.startswith(b"/"):  # it would lead to the host's files
                    links[place] = member.target
            elif member.kind == "hardlink":
                place.hardlink_to(tree / os.fsdecode(merge_usr(member.target)))
            else:
                place.write_bytes(member.data)
                place.chmod(0o755 if member.mode & 0o100 else 0o644)
    return links
