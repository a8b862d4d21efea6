"""What was made ready for a repository's kernels: the image, how it is started, and for which lock.

It is a record in the cache, so everything in it can be made again: whoever finds none, or finds that the lock
is another one by now, has it made (``envbuild kernel prepare``) and reads it then.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.engine.unpacked import Unpacked
from envbuild.launch.kernels import ImageKernel, host_name

if TYPE_CHECKING:
    from envbuild.store import Store

__all__ = ["Prepared", "lock_digest", "prepared_key", "read_prepared", "write_prepared"]

_VERSION = 2
_LARGEST_LOCK = 64_000_000
# It is the repository's: no link is followed, and nothing waits for whoever writes to a pipe.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Prepared:
    """Kernels that can be started.

    Parameters:
        project: its name.
        repository: the directory that they see as theirs.
        lock: the sha256 of its lock file (:func:`lock_digest`) that the image was made for.
        engine: the name of what runs the image.
        image: the image as JSON, for engines that have to find it.
        unpacked: the image for bubblewrap, None for others.
        kernels: the image's.
    """

    project: str
    repository: Path
    lock: str
    engine: str
    image: dict[str, Any]
    unpacked: Unpacked | None
    kernels: tuple[ImageKernel, ...]

    def kernel(self, name: str) -> ImageKernel | None:
        """The kernel whose kernelspec on this machine is called ``name``; None when there is none any more.

        When notebooks were saved with that name, the kernel has it in the image, too, and may have no other.
        """
        return next(
            (
                one
                for one in self.kernels
                if any(host_name(other, self.project) == name for other in one.names)
            ),
            None,
        )

    def is_current(self) -> bool:
        """Whether it is what the lock says now, and all of it is still there."""
        if self.lock != lock_digest(self.repository) or not self.repository.is_dir():
            return False
        return self.unpacked is None or self._is_unpacked(self.unpacked)

    def _is_unpacked(self, unpacked: Unpacked) -> bool:
        from envbuild.store.disk import touch

        if not Path(unpacked.tool[0]).exists():
            return False
        for tree in unpacked.trees:
            place = Path(tree).parent
            # One that was written before the machine was started anew has to be read first.
            if not (place / "about").exists() or not _of_this_boot(place):
                return False
            touch(place)  # tells `cache prune` that it is used
        return True


def _of_this_boot(place: Path) -> bool:
    try:
        written = (place / "boot").read_text()
        return written == Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return True


def lock_digest(repository: Path) -> str:
    """The sha256 (hex) of a repository's lock file; empty when it has none that can be read.

    The lock of a repository that cannot be written is elsewhere, and an image that an engine built has none:
    these stay as they were when they were prepared.
    """
    try:
        handle = os.open(repository / "envbuild.lock", _FLAGS)
    except OSError:
        return ""
    with os.fdopen(handle, "rb") as stream:
        return hashlib.sha256(stream.read(_LARGEST_LOCK)).hexdigest()


def read_prepared(store: Store, key: str) -> Prepared | None:
    """What was kept under ``key``; None when nothing was, or by another version of envbuild."""
    value = store.action(key)
    if value is None or value.get("version") != _VERSION:
        return None
    unpacked = value["unpacked"]
    return Prepared(
        value["project"],
        Path(value["repository"]),
        value["lock"],
        value["engine"],
        value["image"],
        unpacked and Unpacked(**{name: tuple(words) for name, words in unpacked.items()}),
        tuple(
            ImageKernel(**{**kernel, "names": tuple(kernel["names"]), "argv": tuple(kernel["argv"])})
            for kernel in value["kernels"]
        ),
    )


def write_prepared(store: Store, key: str, prepared: Prepared) -> None:
    """Keep ``prepared`` under ``key`` (see :func:`prepared_key`)."""
    value = {
        **asdict(prepared),
        "repository": str(prepared.repository),
        "version": _VERSION,
        "digest": prepared.image["manifest"][
            "digest"
        ],  # while the image has a name, `cache prune` spares this
    }
    store.put_action(key, json.loads(json.dumps(value)))


def prepared_key(arguments: Sequence[str]) -> str:
    """The key (hex) for what ``envbuild kernel prepare`` makes of these arguments."""
    return hashlib.sha256(json.dumps(["kernels", *arguments]).encode()).hexdigest()
