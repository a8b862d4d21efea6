"""Where something of this machine is mounted in an image: at places to which no link of the image leads.

bubblewrap makes the places that are missing while it still sees this machine's files. Its newer versions do
not follow links there; this does not depend on the version, and says what is wrong.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from envbuild.engine.merging import is_opaque
from envbuild.errors import RepoError
from envbuild.source.text import clean

__all__ = ["ALWAYS", "check_mount_points"]

ALWAYS = ("/dev", "/proc", "/sys", "/tmp", "/run", "/var/tmp", "/etc/hosts", "/etc/resolv.conf")
"""What engines and sandboxes mount whatever runs."""


def check_mount_points(trees: Sequence[Path], targets: Iterable[str]) -> None:
    """Refuse an image in which one of ``targets`` (absolute paths), or of :data:`ALWAYS`, is behind a link.

    Parameters:
        trees: the image's files, bottom to top.

    Raises:
        RepoError: names the link.
    """
    top_to_bottom = [os.fsencode(tree) for tree in reversed(trees)]
    for target in dict.fromkeys((*ALWAYS, *targets)):
        here, done = top_to_bottom, ""
        for part in target.strip("/").split("/"):
            done = f"{done}/{part}"
            places = list(_visible(here, os.fsencode(part)))
            if not places:
                break  # made in what is above the image
            status = os.lstat(places[0])
            if stat.S_ISLNK(status.st_mode) or (done != target and not stat.S_ISDIR(status.st_mode)):
                raise RepoError(
                    f"the image has a link, or a file, at {clean(done)}, where {clean(target)} is mounted",
                    code="unsafe-mount-point",
                    remedy="use another image as the base",
                )
            here = places


def _visible(directories: Sequence[bytes], name: bytes) -> Iterator[bytes]:
    """The places that are ``name`` in the merged directory, top to bottom: one file, or some directories."""
    hidden = False  # by a directory: of what is below it, only directories are seen
    for directory in directories:
        place = directory + b"/" + name
        try:
            status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(status.st_mode):
            if not hidden and not stat.S_ISCHR(status.st_mode):  # that kind says the name was removed
                yield place
            return
        yield place
        hidden = True
        if is_opaque(place):
            return
