"""What an image says about itself: its manifest and config as one record, whoever made it.

Only what is small is read. What an image does not say is None or empty, never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.errors import UsageError
from envbuild.image.annotations import described_layer
from envbuild.image.descriptor import Descriptor, parse_descriptor
from envbuild.image.model import layer_compression
from envbuild.inspection.medium import Entries, Medium, parse_document
from envbuild.source import printable

__all__ = ["ImageView", "LayerView", "chosen_manifests", "read_image"]

_MOST_LAYERS = 1000
_MADE_BY_US = "envbuild"  # the comment of our entries in a config's history


@dataclass(frozen=True, slots=True)
class LayerView:
    """A layer as its image describes it.

    ``size`` is the stored (compressed) size in bytes; ``compression`` is None when the media type is not
    known. ``title`` says what is in it: of a layer of ours its own, beside ``packages`` (``name==version``),
    else the command that made it; it is empty when the history does not say. ``key`` is that of the planned
    layer, empty when it has none; ``raw_size`` is the size of the tar if the manifest says it.
    ``foreign`` tells that it belongs to the image that the base is.
    """

    digest: str
    diff_id: str
    size: int
    media_type: str
    compression: str | None
    title: str = ""
    packages: tuple[str, ...] = ()
    ours: bool = False
    key: str = ""
    raw_size: int | None = None
    foreign: bool = False

    @property
    def descriptor(self) -> Descriptor:
        """How the manifest names it."""
        return Descriptor(self.media_type, self.digest, self.size)


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image for one platform: its ``manifest``, its ``config`` and what that says (``document``)."""

    platform: str
    manifest: Descriptor
    config: Descriptor
    document: dict[str, Any]
    layers: tuple[LayerView, ...]
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def image_id(self) -> str:
        """The digest of the config."""
        return self.config.digest

    @property
    def size(self) -> int:
        """Bytes of all layers, compressed."""
        return sum(layer.size for layer in self.layers)

    @property
    def labels(self) -> dict[str, str]:
        """Names and values, by name."""
        labels = (self.document.get("config") or {}).get("Labels")
        if not isinstance(labels, dict):
            return {}
        return {str(name): str(value) for name, value in sorted(labels.items())}

    @property
    def created(self) -> str | None:
        """When it says it was made."""
        created = self.document.get("created")
        return created if isinstance(created, str) else None

    @property
    def recipe(self) -> str | None:
        """The packing recipe it was made with; None when envbuild did not assemble it."""
        return self.labels.get("dev.envbuild.recipe")

    @property
    def builder(self) -> str | None:
        """Who made it: ``envbuild``, ``repo2docker``, or nobody it tells."""
        if self.recipe is not None:
            return "envbuild"
        return "repo2docker" if "repo2docker.version" in self.labels else None

    @property
    def lock_digest(self) -> str | None:
        """The digest of the lock it says it was made from."""
        return self.labels.get("dev.envbuild.lock.digest")

    @property
    def environment(self) -> str | None:
        """The environment's id (``env-...``) it says it has."""
        return self.labels.get("dev.envbuild.env")


def chosen_manifests(
    medium: Medium, entries: Entries, wanted: Sequence[str], preferred: str
) -> tuple[Descriptor, ...]:
    """The manifests for the platforms ``wanted``; for ``preferred`` or the first there is, if none is.

    Raises:
        UsageError: there is no image, or none for a platform that is wanted.
    """
    if not entries.images:
        raise UsageError(
            f"there is no image in {printable(medium.name)}",
            code="no-image-there",
            remedy="name an image: what is there is something else",
        )
    by_platform = {image.platform: image for image in reversed(entries.images)}
    for image in entries.images:  # whoever wants linux/arm64 will do with linux/arm64/v8
        if image.platform is not None:
            by_platform.setdefault("/".join(image.platform.split("/")[:2]), image)
    missing = [platform for platform in wanted if platform not in by_platform]
    if missing and not (len(entries.images) == 1 and None in by_platform):
        known = ", ".join(sorted(platform for platform in by_platform if platform))
        raise UsageError(
            f"{printable(medium.name)} has no image for {missing[0]}",
            code="no-such-platform",
            remedy=f"it is for {known}" if known else "leave out --platform",
        )
    if wanted and not missing:
        return tuple(by_platform[platform] for platform in wanted)
    return (by_platform.get(preferred, entries.images[0]),)


def read_image(medium: Medium, manifest: Descriptor) -> ImageView:
    """The image whose manifest is ``manifest``.

    Raises:
        EnvbuildError: it cannot be read, or is no image; which error depends on the medium.
    """
    try:
        document = parse_document(medium.document(manifest))
        config = parse_descriptor(document.get("config"))
        listed = document.get("layers")
        if not isinstance(listed, list) or len(listed) > _MOST_LAYERS:
            raise ValueError("its manifest has no list of layers")
        descriptors = [parse_descriptor(layer) for layer in listed]
        parsed = parse_document(medium.document(config))
        return _view(document, manifest, config, descriptors, parsed)
    except ValueError as error:
        raise medium.broken(str(error)) from error


def _view(
    document: dict[str, Any],
    manifest: Descriptor,
    config: Descriptor,
    descriptors: Sequence[Descriptor],
    parsed: dict[str, Any],
) -> ImageView:
    rootfs = parsed.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != len(descriptors):
        raise ValueError(
            "its config does not describe the layers of its manifest, so it is no container image"
        )
    if not isinstance(parsed.get("config") or {}, dict):
        raise ValueError("its config has no object `config`")
    parts = [parsed.get("os"), parsed.get("architecture"), parsed.get("variant")]
    if not all(isinstance(part, str) for part in parts[:2]):
        raise ValueError("its config names no platform")
    annotations = document.get("annotations")
    said = annotations.items() if isinstance(annotations, dict) else ()
    return ImageView(
        platform="/".join(part for part in parts if isinstance(part, str) and part),
        manifest=Descriptor(manifest.media_type, manifest.digest, manifest.size),
        config=Descriptor(config.media_type, config.digest, config.size),
        document=parsed,
        layers=_layers(descriptors, list(map(str, diff_ids)), parsed.get("history")),
        annotations=tuple(sorted((str(name), str(value)) for name, value in said)),
    )


def _layers(
    descriptors: Sequence[Descriptor], diff_ids: Sequence[str], history: object
) -> tuple[LayerView, ...]:
    listed = history if isinstance(history, list) else []
    entries = [entry for entry in listed if isinstance(entry, dict) and not entry.get("empty_layer")]
    if len(entries) != len(descriptors):  # squashed, or by a tool that keeps no history
        entries = [{} for _ in descriptors]
    return tuple(
        _layer(descriptor, diff_id, entry)
        for descriptor, diff_id, entry in zip(descriptors, diff_ids, entries, strict=True)
    )


def _layer(descriptor: Descriptor, diff_id: str, entry: dict[str, Any]) -> LayerView:
    ours = entry.get("comment") == _MADE_BY_US
    said = described_layer(descriptor)
    known = said if said is not None and said.diff_id == diff_id else None
    title, packages = str(entry.get("created_by") or ""), ""
    if ours:
        title, _, packages = title.partition(": ")
    return LayerView(
        digest=descriptor.digest,
        diff_id=diff_id,
        size=descriptor.size,
        media_type=descriptor.media_type,
        compression=layer_compression(descriptor.media_type),
        title=title,
        packages=tuple(packages.split()),
        ours=ours,
        key=known.key if known else "",
        raw_size=(known.raw_size or None) if known else None,
        foreign=known.foreign if known else False,
    )
