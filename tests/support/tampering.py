"""Images that somebody has changed, and made valid again: every digest in them is right."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from envbuild.image.annotations import layer_descriptor
from envbuild.image.blobs import layer_chunks
from envbuild.image.config import canonical, image_manifest
from envbuild.image.model import Image, Layer
from envbuild.inspection.layout import CachedImage
from envbuild.pack.blob import pack_stream
from envbuild.registry.registries import Registries
from envbuild.store import Store
from envbuild.store.images import StoredImage

__all__ = ["Draft", "Member", "as_medium", "edit_tar"]


@dataclass
class Member:
    """An entry of a layer, to be changed in its place."""

    info: tarfile.TarInfo
    content: bytes


@dataclass
class Draft:
    """An image taken apart: change ``config``, ``layers`` and ``tars`` (uncompressed, bottom to top).

    Of a large image ``only`` the layers with these titles are read; the others stay as they are.
    """

    store: Store
    image: Image
    compression: str = "zstd"
    only: Sequence[str] = ()
    config: dict[str, Any] = field(init=False)
    layers: list[Layer] = field(init=False)
    tars: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.config = json.loads(self.store.blob_path(self.image.config.digest).read_bytes())
        self.layers = list(self.image.layers)
        self.tars = [
            b"".join(layer_chunks(self.store, layer)) if not self.only or layer.title in self.only else b""
            for layer in self.image.layers
        ]

    def at(self, title: str) -> int:
        """The place of the layer with this title."""
        return [layer.title for layer in self.layers].index(title)

    def edit(self, title: str, change: Callable[[dict[str, Member]], None]) -> None:
        """Change the entries of a layer: by name, in order."""
        place = self.at(title)
        self.tars[place] = edit_tar(self.tars[place], change)

    def move(self, order: Sequence[int]) -> None:
        """Put the layers, with what the history says about them, into another order."""
        self.layers = [self.layers[at] for at in order]
        self.tars = [self.tars[at] for at in order]
        self.config["history"] = [self.config["history"][at] for at in order]

    def published(self, *, honest: bool = True) -> Image:
        """The image, in the store; without ``honest`` the config still has the diff IDs it had."""
        made = []
        for layer, tar in zip(self.layers, self.tars, strict=True):
            if not tar:
                made.append(layer)
                continue
            packed = pack_stream(self.store, [tar], self.compression)
            made.append(Layer.of(packed, layer.title, layer.packages, key=layer.key))
        if honest:
            self.config["rootfs"]["diff_ids"] = [layer.diff_id for layer in made]
        blob = self.store.put_blob(canonical(self.config))
        manifest = image_manifest(self.config, made, config_digest=blob.digest, config_size=blob.size)
        manifest["layers"] = [layer_descriptor(layer).to_json() for layer in made]
        return Image(self.image.platform, blob, self.store.put_blob(canonical(manifest)), tuple(made))


def edit_tar(tar: bytes, change: Callable[[dict[str, Member]], None]) -> bytes:
    """A tar file with changed entries; nothing is different in those that are not changed."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        members = {}
        for info in archive:
            content = archive.extractfile(info)
            members[info.name] = Member(info, content.read() if content is not None else b"")
    change(members)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for member in members.values():
            member.info.size = len(member.content)
            archive.addfile(member.info, io.BytesIO(member.content))
    return sink.getvalue()


def as_medium(store: Store, *images: Image, name: str = "demo:latest") -> CachedImage:
    """The images of one name, as the cache would have them, without naming them there."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    stored = tuple(StoredImage(name, image.platform, image.manifest, now) for image in images)
    return CachedImage(store, stored, lambda: Registries({}))
