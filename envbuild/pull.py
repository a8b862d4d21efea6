"""Bringing images into the cache, from whatever medium they are on: pulled from a registry, read from files.

In the cache every image is an OCI image. The manifest of one in Docker's older format is translated; config
and layers, and so the image ID, stay what they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from envbuild.errors import UsageError
from envbuild.image.annotations import layer_descriptor
from envbuild.image.config import CONFIG_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.descriptor import Descriptor
from envbuild.image.model import Image, Layer
from envbuild.image.reference import Reference
from envbuild.inspection.medium import Medium
from envbuild.inspection.remote import RemoteImage
from envbuild.inspection.view import ImageView, LayerView, chosen_manifests, read_image
from envbuild.pack import codec
from envbuild.progress import Reporter, Stage
from envbuild.registry.parallel import Going, in_parallel
from envbuild.registry.places import remember_place
from envbuild.registry.registries import Registries
from envbuild.source.text import clean
from envbuild.store import Blob, Store

__all__ = ["Pulled", "pull_image", "take_images"]

_LARGEST_RAW = 1 << 37  # bytes of a layer's tar: what unfolds to more is there to do harm
_Fetch = Callable[[Descriptor, Stage], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was pulled: ``digest`` is what the registry knows it by, an image's or that of several."""

    digest: str
    images: tuple[Image, ...]


def pull_image(
    reference: Reference,
    *,
    platforms: Sequence[str],
    native: str,
    store: Store,
    registries: Registries,
    reporter: Reporter,
) -> Pulled:
    """Bring the image that ``reference`` names into ``store``.

    Parameters:
        platforms: which ones are wanted; when empty, ``native`` (this machine's), or the only one there is.

    Raises:
        UsageError: there is no such image, or none for a platform.
        RemoteError: the registry failed, or what it has is damaged or no image.
        MachineError: the cache cannot be written.
    """
    repository = registries.repository(reference)
    medium = RemoteImage(reference, repository)
    entries = medium.entries()
    several = any(entry.platform is not None for entry in entries.images)
    wanted = platforms or ((native,) if several else ())
    views = [read_image(medium, entry) for entry in chosen_manifests(medium, entries, wanted, native)]
    _require(views, platforms, medium)

    def fetch(blob: Descriptor, stage: Stage) -> None:
        repository.fetch_blob(blob.digest, blob.size, store, stage)
        remember_place(store, blob.digest, repository.name)

    with reporter.stage("pull") as stage:
        images = _take(medium, views, fetch, stage, store, registries.jobs, registries.close)
    for image in images:
        remember_place(store, image.config.digest, repository.name)
    top = entries.top or entries.images[0]
    return Pulled(top.digest, images)


def take_images(
    medium: Medium, *, platforms: Sequence[str], store: Store, jobs: int, reporter: Reporter
) -> tuple[Image, ...]:
    """Bring what is on ``medium`` (files, or the cache itself) into ``store``.

    Of an image in the cache a layer may be in a registry only, and stays there: a push needs no bytes that a
    registry has.

    Parameters:
        platforms: which ones are wanted; all there are when empty.
        jobs: how many layers at once.

    Raises: as :func:`pull_image`; UsageError also for files that are damaged.
    """
    entries = medium.entries()
    chosen = chosen_manifests(medium, entries, platforms, "") if platforms else entries.images
    views = [read_image(medium, entry) for entry in chosen]
    _require(views, platforms, medium)

    def copy(blob: Descriptor, stage: Stage) -> None:
        if medium.kind == "cache" or store.has_blob(blob.digest, blob.size):
            stage.advance(blob.size, cached=True)
            return
        with store.blob_writer() as writer:
            for chunk in medium.chunks(blob):
                writer.write(chunk)
                stage.advance(len(chunk))

    with reporter.stage("read") as stage:
        return _take(medium, views, copy, stage, store, jobs, lambda: None)


def _require(views: Sequence[ImageView], platforms: Sequence[str], medium: Medium) -> None:
    """An image that is the only one tells its platform only itself."""
    for view in views:
        if platforms and _platform(view) not in platforms:
            raise UsageError(
                f"{medium.name} has no image for {platforms[0]}",
                code="no-such-platform",
                remedy=f"it is for {clean(view.platform)}",
            )


def _platform(view: ImageView) -> str:
    return "/".join(view.platform.split("/")[:2])


def _take(
    medium: Medium,
    views: Sequence[ImageView],
    fetch: _Fetch,
    stage: Stage,
    store: Store,
    jobs: int,
    abort: Callable[[], None],
) -> tuple[Image, ...]:
    layers = {(layer.digest, layer.diff_id): layer for view in views for layer in view.layers}
    for layer in layers.values():
        if layer.compression is None:
            raise medium.broken(f"a layer is of the type {clean(layer.media_type)}, which is not known")
    stage.add_total(sum(layer.size for layer in layers.values()))

    def work(layer: LayerView, going: Going) -> Layer:
        found = store.has_blob(layer.digest, layer.size)
        fetch(layer.descriptor, going.watched(stage))
        raw_size = layer.raw_size or 0
        if not raw_size and store.has_blob(layer.digest, layer.size):
            raw_size = _raw_size(medium, layer, store, going)
        return _layer(layer, raw_size, found=found)

    largest_first = sorted(layers, key=lambda key: (-layers[key].size, key))
    taken = in_parallel(work, [layers[key] for key in largest_first], jobs=jobs, abort=abort)
    by_digest = dict(zip(largest_first, taken, strict=True))
    return tuple(
        _image(medium, view, [by_digest[layer.digest, layer.diff_id] for layer in view.layers], store)
        for view in views
    )


def _layer(layer: LayerView, raw_size: int, *, found: bool) -> Layer:
    return Layer(
        title=clean(layer.title),
        diff_id=layer.diff_id,
        digest=layer.digest,
        size=layer.size,
        raw_size=raw_size,
        compression=layer.compression or "none",
        packages=layer.packages,
        key=layer.key,
        found="store" if found else "",
    )


def _raw_size(medium: Medium, layer: LayerView, store: Store, going: Going) -> int:
    """The size of a layer's tar whose image does not say it; found out once."""
    key = hashlib.sha256(f"unpacked {layer.digest} {layer.compression}".encode()).hexdigest()
    record = store.action(key)
    if record is not None and record.get("diff_id") == layer.diff_id:
        return int(record["raw_size"])
    hashed, size = hashlib.sha256(), 0
    try:
        with store.blob_path(layer.digest).open("rb") as stream:
            for chunk in codec.decode(layer.compression or "none", stream):
                going.check()
                hashed.update(chunk)
                size += len(chunk)
                if size > _LARGEST_RAW:
                    raise ValueError("it unfolds without end")
    except ValueError as error:
        raise medium.broken(f"the layer {layer.digest} cannot be unpacked: {error}") from error
    if f"sha256:{hashed.hexdigest()}" != layer.diff_id:
        raise medium.broken(f"the layer {layer.digest} is not the one that its config names")
    store.put_action(key, {"digest": layer.digest, "diff_id": layer.diff_id, "raw_size": size})
    return size


def _image(medium: Medium, view: ImageView, layers: Sequence[Layer], store: Store) -> Image:
    config = store.put_blob(medium.document(view.config))
    if view.manifest.media_type == MANIFEST_TYPE:
        manifest = store.put_blob(medium.document(view.manifest))
    else:
        manifest = store.put_blob(canonical(_translated(view, config, layers)))
    return Image(_platform(view), config, manifest, tuple(layers))


def _translated(view: ImageView, config: Blob, layers: Sequence[Layer]) -> dict[str, object]:
    """The OCI manifest for an image that has one of Docker's."""
    return {
        "annotations": dict(view.annotations),
        "config": Descriptor(CONFIG_TYPE, config.digest, config.size).to_json(),
        "layers": [layer_descriptor(layer).to_json() for layer in layers],
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
    }
