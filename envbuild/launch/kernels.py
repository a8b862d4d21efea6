"""Which kernels an image has: it is asked, because packages and `postBuild` bring kernels, too.

What the image says is not trusted: names and texts are checked, and what is to be started is started in the
image only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from envbuild.errors import RepoError

if TYPE_CHECKING:
    from envbuild.engine.model import Engine
    from envbuild.image.model import Image
    from envbuild.store import Store

__all__ = ["ImageKernel", "find_kernels", "host_name", "read_listing"]

# Jupyter of the image has the last word on what its kernelspecs are.
_LIST = "jupyter kernelspec list --json 2>/dev/null"
_LARGEST_LISTING = 4 << 20
_MOST_KERNELS = 100
_LONGEST_TEXT = 200
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ImageKernel:
    """A kernel of an image.

    ``names`` are all kernelspecs that start it, the best first; ``argv`` starts it, and has
    ``{connection_file}`` in it; ``environment`` are the variables it needs; ``interrupt_mode`` is ``signal``
    or ``message``; ``debugger`` tells whether it can debug.
    """

    names: tuple[str, ...]
    display_name: str
    language: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    interrupt_mode: str
    debugger: bool


def find_kernels(image: Image, project: str, *, engine: Engine, store: Store) -> tuple[ImageKernel, ...]:
    """Ask ``image``, which was prepared, for its kernels.

    Parameters:
        project: the name of the kernelspec that is preferred to other names of the same kernel.

    Raises:
        RepoError: it has no Jupyter, or no kernel.
        MachineError: the engine fails.
    """
    from envbuild.engine.model import Command

    with store.temporary_file() as path, path.open("rb") as listing:
        # It is written by what runs in the image: opened before that starts, and read no further than it may.
        command = Command(("sh", "-c", _LIST), workdir="/", output=path)
        with engine.start(image, command) as running:
            code = running.wait()
        said = listing.read(_LARGEST_LISTING)
    kernels = read_listing(said, project) if code == 0 else ()
    if not kernels:
        raise RepoError(
            "the image has no kernel that Jupyter in it knows of",
            code="no-kernels",
            remedy="have `jupyter` and a kernel in it: `envbuild run -- jupyter kernelspec list` shows them",
        )
    return kernels


def host_name(name: str, project: str) -> str:
    """What the kernel ``name`` of an image is called on this machine: not as one that others might install.

    It is in lower case, as Jupyter lists it.

    >>> host_name("ir", "rivers"), host_name("rivers", "rivers"), host_name("rivers-ir", "rivers")
    ('rivers-ir', 'rivers', 'rivers-ir')
    """
    base, name = project.lower(), name.lower()
    return name if name == base or name.startswith(f"{base}-") else f"{base}-{name}"


def read_listing(said: bytes, project: str) -> tuple[ImageKernel, ...]:
    """The kernels in what ``jupyter kernelspec list --json`` has printed; none in anything else.

    Kernelspecs that start the same process are one kernel with several names.
    """
    try:
        specs = json.loads(said)["kernelspecs"]
        found = [_kernel(name, spec) for name, spec in sorted(specs.items())]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    return _merged((kernel for kernel in found[:_MOST_KERNELS] if kernel is not None), project)


def _kernel(name: str, value: dict[str, Any]) -> ImageKernel | None:
    from envbuild.kernel.specs import valid_kernel_name
    from envbuild.source.text import clean

    spec = value["spec"]
    argv, variables = spec["argv"], spec.get("env") or {}
    if not valid_kernel_name(name) or not _is_command(argv) or not _are_variables(variables):
        return None
    directory = str(value.get("resource_dir", ""))
    metadata = spec.get("metadata")
    return ImageKernel(
        (name,),
        clean(str(spec.get("display_name") or name))[:_LONGEST_TEXT],
        clean(str(spec.get("language") or ""))[:_LONGEST_TEXT],
        tuple(word.replace("{resource_dir}", directory) for word in argv),
        dict(sorted(variables.items())),
        "message" if spec.get("interrupt_mode") == "message" else "signal",
        isinstance(metadata, dict) and metadata.get("debugger") is True,
    )


def _is_command(argv: Any) -> bool:
    words = isinstance(argv, list) and all(isinstance(word, str) and "\0" not in word for word in argv)
    return words and bool(argv)


def _are_variables(variables: Any) -> bool:
    """Whether they are variables that a process can have."""
    return isinstance(variables, dict) and all(
        _VARIABLE.fullmatch(name) and isinstance(value, str) and "\0" not in value
        for name, value in variables.items()
    )


def _merged(kernels: Iterable[ImageKernel], project: str) -> tuple[ImageKernel, ...]:
    from dataclasses import replace

    groups: dict[str, list[ImageKernel]] = {}
    for kernel in kernels:
        groups.setdefault(json.dumps([kernel.argv, kernel.environment]), []).append(kernel)

    def preference(kernel: ImageKernel) -> tuple[bool, int, str]:
        return kernel.names[0].lower() != project.lower(), len(kernel.names[0]), kernel.names[0]

    merged = []
    for group in groups.values():
        group.sort(key=preference)
        merged.append(replace(group[0], names=tuple(kernel.names[0] for kernel in group)))
    return tuple(sorted(merged, key=lambda kernel: kernel.names))
