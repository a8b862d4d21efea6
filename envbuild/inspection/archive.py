"""Images in tar files: OCI layouts in one file, and what ``docker save`` has written since ever.

Our own archives are both at once (:mod:`envbuild.image.archive`); of such, the OCI half is read.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from envbuild.errors import EnvbuildError, UsageError
from envbuild.image.config import CONFIG_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.descriptor import Descriptor
from envbuild.image.model import MEDIA_TYPES
from envbuild.inspection.layout import choose_entry, named_entries
from envbuild.inspection.medium import (
    Entries,
    MediumKind,
    checked_chunks,
    checked_document,
    parse_document,
)
from envbuild.source import printable

__all__ = ["ArchiveImage"]

_MOST_MEMBERS = 10_000
_LARGEST_DOCUMENT = 4 << 20


@dataclass(frozen=True)
class ArchiveImage:
    """The only image in the tar file ``path``, or the one called ``wanted``."""

    path: Path
    wanted: str | None = None

    @property
    def name(self) -> str:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return f"archive:{self.path}" + (f":{self.wanted}" if self.wanted else "")

    @property
    def kind(self) -> MediumKind:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return "archive"

    def entries(self) -> Entries:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        try:
            if self._docker is not None:
                return Entries(None, (self._docker.manifest,))
            top = choose_entry(self._read("index.json"), self.wanted)
            return named_entries(top, self.document(top))
        except ValueError as error:
            raise self.broken(str(error)) from error

    def document(self, descriptor: Descriptor) -> bytes:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        if self._docker is not None and descriptor == self._docker.manifest:
            return self._docker.data
        try:
            return checked_document(self.chunks(descriptor), descriptor)
        except ValueError as error:
            raise self.broken(str(error)) from error

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        member = "blobs/sha256/" + descriptor.digest.removeprefix("sha256:")
        if self._docker is not None:
            member = self._docker.members.get(descriptor.digest, member)
        try:
            with self._open() as archive:
                stream = archive.extractfile(self._member(member))
                if stream is None:
                    raise ValueError(f"{member} is no file")
                yield from checked_chunks(stream, descriptor)
        except (OSError, EOFError, tarfile.TarError, ValueError) as error:
            raise self.broken(str(error)) from error

    def is_file(self, descriptor: Descriptor) -> bool:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return True

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return ()

    def broken(self, trouble: str) -> EnvbuildError:
        """See :class:`~envbuild.inspection.medium.Medium`."""
        return UsageError(
            f"the image in {printable(str(self.path))} cannot be read: {trouble}",
            code="bad-image",
            remedy="write it anew, as `envbuild build -o archive:FILE` or `docker save` does",
        )

    def _open(self) -> tarfile.TarFile:
        return tarfile.open(self.path, "r:", encoding="utf-8", errors="surrogateescape")

    @cached_property
    def _members(self) -> dict[str, tarfile.TarInfo]:
        members: dict[str, tarfile.TarInfo] = {}
        try:
            with self._open() as archive:
                for member in archive:
                    members[member.name.removeprefix("./")] = member
                    if len(members) > _MOST_MEMBERS:
                        raise self.broken("there are too many files in it")
        except FileNotFoundError as error:
            raise UsageError(
                f"there is no file {printable(str(self.path))}",
                code="no-image-there",
                remedy="name a file that `envbuild build -o archive:FILE` or `docker save` has written",
            ) from error
        except tarfile.TarError as error:
            raise self.broken(f"it is no uncompressed tar file ({error})") from error
        except OSError as error:
            raise self.broken(error.strerror or str(error)) from error
        return members

    def _member(self, name: str) -> tarfile.TarInfo:
        member = self._members.get(name)
        for _ in range(8):  # Docker 24 and before link layers that are equal to each other
            if member is None or not (member.issym() or member.islnk()):
                break
            target = member.linkname
            if member.issym():
                target = _joined(member.name, target)
            member = self._members.get(target.removeprefix("./"))
        if member is None or not member.isreg():
            raise ValueError(f"{printable(name)} is missing")
        return member

    def _read(self, name: str) -> bytes:
        member = self._member(name)
        if member.size > _LARGEST_DOCUMENT:
            raise ValueError(f"{printable(name)} is too large")
        with self._open() as archive:
            stream = archive.extractfile(member)
            return stream.read() if stream is not None else b""

    @cached_property
    def _docker(self) -> _DockerArchive | None:
        """What ``manifest.json`` says, for archives without an OCI layout."""
        if "index.json" in self._members:
            return None
        return _docker_archive(self)


def _joined(place: str, target: str) -> str:
    """A relative link's target, from the top of the archive; what leads out of it is nowhere."""
    parts = place.split("/")[:-1]
    for part in target.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in (".", ""):
            parts.append(part)
    return "/".join(parts)


@dataclass(frozen=True, slots=True)
class _DockerArchive:
    """An archive without digests, as a manifest of ours: ``members`` are the files of its blobs."""

    manifest: Descriptor
    data: bytes
    members: dict[str, str]


def _docker_archive(archive: ArchiveImage) -> _DockerArchive:
    try:
        listed = json.loads(archive._read("manifest.json"))
    except RecursionError as error:
        raise ValueError("its manifest.json is not JSON") from error
    images = (
        [image for image in listed if _is_called(image, archive.wanted)] if isinstance(listed, list) else []
    )
    if len(images) != 1:
        raise ValueError(f"its manifest.json has {len(images)} images of that name")
    image = images[0]
    config_file, files = image.get("Config"), image.get("Layers")
    if not isinstance(config_file, str) or not isinstance(files, list):
        raise ValueError("its manifest.json names no config and layers")
    config = archive._read(config_file)
    diff_ids = parse_document(config).get("rootfs", {}).get("diff_ids")
    if not isinstance(diff_ids, list) or len(diff_ids) != len(files):
        raise ValueError("its manifest.json has other layers than its config")
    config_digest = "sha256:" + hashlib.sha256(config).hexdigest()
    layers = []
    members = {config_digest: config_file}
    for diff_id, file in zip(map(str, diff_ids), map(str, files), strict=True):
        # They are uncompressed, so a layer's digest is its diff ID: if not, its bytes do not fit when read.
        layers.append(
            {"digest": diff_id, "mediaType": MEDIA_TYPES["none"], "size": archive._member(file).size}
        )
        members[diff_id] = file
    manifest: dict[str, Any] = {
        "config": {"digest": config_digest, "mediaType": CONFIG_TYPE, "size": len(config)},
        "layers": layers,
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
    }
    data = canonical(manifest)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return _DockerArchive(Descriptor(MANIFEST_TYPE, digest, len(data)), data, members)


def _is_called(image: object, wanted: str | None) -> bool:
    if not isinstance(image, dict):
        return False
    names = image.get("RepoTags")
    return wanted is None or (isinstance(names, list) and wanted in names)
