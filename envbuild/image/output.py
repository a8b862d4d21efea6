"""Where users want an image: ``oci:DIRECTORY`` or ``archive:FILE``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import MachineError, UsageError
from envbuild.image.archive import write_archive
from envbuild.image.layout import write_layout
from envbuild.image.model import Image
from envbuild.store import Store

__all__ = ["Output", "parse_output", "write_output"]

_KINDS = ("oci", "archive")


@dataclass(frozen=True, slots=True)
class Output:
    """One place to write to; ``kind`` is ``oci`` (a directory) or ``archive`` (a tar file)."""

    kind: str
    path: Path

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"

    def require_room_for(self, platforms: int) -> None:
        """Raise :class:`UsageError` unless images of so many platforms can be written here."""
        if self.kind == "archive" and platforms > 1:
            raise UsageError(
                "an archive holds the image of one platform",
                code="archive-of-several",
                remedy="name one with --platform, or write oci:DIRECTORY",
            )


def parse_output(text: str) -> Output:
    """What ``text`` names.

    >>> str(parse_output("oci:build/image"))
    'oci:build/image'

    Raises:
        UsageError: it names nothing we can write.
    """
    kind, colon, path = text.partition(":")
    if kind not in _KINDS or not colon or not path or "\0" in path:
        raise UsageError(
            f"{text!r} is not a place for an image",
            code="bad-output",
            remedy="write oci:DIRECTORY or archive:FILE",
        )
    return Output(kind, Path(path))


def write_output(images: Sequence[Image], store: Store, output: Output, names: Sequence[str]) -> None:
    """Write ``images`` (one per platform) under ``names``; what is there appears whole or not at all.

    Raises:
        UsageError: the place is taken, or cannot hold several platforms.
        MachineError: a blob is damaged, the disk is full, or the place cannot be written.
    """
    output.require_room_for(len(images))
    try:
        if output.kind == "oci":
            write_layout(images, store, output.path, names)
        else:
            _write_archive(images[0], store, output.path, names)
    except OSError as error:
        raise MachineError(
            f"{output} cannot be written: {error.strerror or error}",
            code="output-not-writable",
            remedy="check permissions and free space there, or name another place",
        ) from error


def _write_archive(image: Image, store: Store, path: Path, names: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink:
            write_archive(image, store, sink, names)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
