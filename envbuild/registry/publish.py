"""Publishing to the shared cache: environment images by their id, layers by their keys.

::

    REPOSITORY:env-<hex>     the environment image, or an index with those of several platforms
    REPOSITORY:layer-<hex>   an artifact manifest whose one layer is the layer; so it is found by any
                             project, and stays when environments that have it are deleted

The tag of the environment comes last: where it is, everything is. What is there and says something else under
the same key is left alone: the first one counts, and whoever comes second is told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from envbuild.errors import RemoteError
from envbuild.image.annotations import layer_descriptor
from envbuild.image.blobs import blob_chunks
from envbuild.image.config import INDEX_TYPE, MANIFEST_TYPE, canonical
from envbuild.image.descriptor import EMPTY, EMPTY_DATA, Descriptor
from envbuild.image.model import Image, Layer
from envbuild.image.reference import Reference
from envbuild.progress import Reporter
from envbuild.registry.cache import described_layers, descriptors, layer_tag
from envbuild.registry.parallel import Going, in_parallel
from envbuild.registry.places import known_places
from envbuild.registry.push import blob_content, push_images
from envbuild.registry.referrers import put_bytes
from envbuild.registry.registries import Registries
from envbuild.registry.repository import DOCKER_INDEX_TYPE, Manifest, Repository
from envbuild.store import Blob, Store

__all__ = ["Published", "publish"]

LAYER_TYPE: Final = "application/vnd.envbuild.layer.v1"
_MOST_CONFIG: Final = 4 << 20
# What a registry says that does not let a tag be set twice.
_REFUSALS: Final = frozenset({"registry-refused", "registry-denied"})


@dataclass(frozen=True, slots=True)
class Published:
    """What the shared cache has now: the environment's ``reference``, the ``digest`` under it, and how many
    ``layers`` there are that it did not have before.
    """

    reference: Reference
    digest: str
    layers: int


def publish(
    environments: Sequence[Image],
    others: Sequence[Layer],
    *,
    reference: Reference,
    store: Store,
    registries: Registries,
    reporter: Reporter,
) -> Published:
    """Have ``environments`` (one per platform) in the shared cache under ``reference``, the environment's id,
    and every layer of theirs and of ``others`` under its key.

    Raises:
        RemoteError: the registry failed or refused.
        MachineError: a blob is damaged or nowhere to be found.
    """
    repository = registries.repository(reference)
    there = _Environment.read(repository, reference.version, environments)
    known = there.has(environments)
    parts = {layer.key: layer for image in environments for layer in image.layers if layer.key}
    layers = {layer.key: layer for layer in others if layer.key and layer.key not in parts}
    if not known:
        by_digest = reference.with_digest(environments[-1].manifest.digest)
        push_images(environments, [by_digest], store=store, registries=registries, reporter=reporter)
        layers |= parts
    unique = list(layers.values())
    if unique:
        # Once, and before the rest: registries do not like to be given one blob several times at a moment.
        put_bytes(repository, EMPTY_DATA)
    with reporter.stage("publish", unit="layers") as stage:
        stage.add_total(len(unique))

        def put(layer: Layer, going: Going) -> bool | None:
            going.check()
            added = _put_layer(layer, repository, store, registries)
            stage.advance(1, cached=not added)
            return added

        outcomes = in_parallel(put, unique, jobs=registries.jobs, abort=registries.close)
    for layer, added in zip(unique, outcomes, strict=True):
        if added is None:
            reporter.note(_differs(repository, f"layer `{layer.title}`"))
    digest = there.digest
    if not known:
        digest = _name(repository, reference.version, there, environments, store, reporter)
    return Published(reference, digest, outcomes.count(True))


def _differs(repository: Repository, what: str) -> str:
    return (
        f"{repository.name} has another {what} for the same inputs, which stays there: it is not made the"
        " same way each time (`envbuild build --check-reproducible` tells more)"
    )


# Layers


def _put_layer(layer: Layer, repository: Repository, store: Store, registries: Registries) -> bool | None:
    """Have ``layer`` there by its key; True when it was not, None when something else is in its place."""
    tag = layer_tag(layer.key, layer.compression)
    found = repository.manifest(tag)
    known = [one for one in described_layers(found) if one.key == layer.key] if found else []
    if known:
        return False if known[0].diff_id == layer.diff_id else None
    content = blob_content(Blob(layer.digest, layer.size), store, registries)
    repository.upload_blob(layer.digest, layer.size, content, known_places(store, layer.digest))
    try:
        repository.put_manifest(_artifact(layer), MANIFEST_TYPE, tag)
    except RemoteError as error:
        if error.code != "registry-lacks-blob":
            raise
        # Registries that are given a blob by two runners at a moment may say that it is there too early.
        repository.upload_blob(layer.digest, layer.size, content, look=False)
        put_bytes(repository, EMPTY_DATA, look=False)
        repository.put_manifest(_artifact(layer), MANIFEST_TYPE, tag)
    return True


def _artifact(layer: Layer) -> bytes:
    """The manifest of a layer by itself: the same bytes, whoever writes it."""
    return canonical(
        {
            "artifactType": LAYER_TYPE,
            "config": EMPTY.to_json(),
            "layers": [layer_descriptor(layer).to_json()],
            "mediaType": MANIFEST_TYPE,
            "schemaVersion": 2,
        }
    )


# Environments


@dataclass(frozen=True, slots=True)
class _Environment:
    """What is under the tag of an environment: ``digest`` of manifest or index, "" when there is nothing;
    ``parts`` by platform.
    """

    digest: str
    parts: dict[str, Descriptor]

    @classmethod
    def read(cls, repository: Repository, tag: str, images: Sequence[Image]) -> _Environment:
        """Ask for it; what ``images`` are need not be asked for."""
        manifest = repository.manifest(tag)
        if manifest is None:
            return cls("", {})
        if manifest.media_type in (INDEX_TYPE, DOCKER_INDEX_TYPE):
            parts = descriptors(manifest, "manifests")
        else:
            ours = {image.manifest.digest: image.platform for image in images}
            parts = [_described(manifest, repository, ours.get(manifest.digest))]
        return cls(manifest.digest, {part.platform: part for part in parts if part.platform})

    def has(self, images: Sequence[Image]) -> bool:
        """Whether all of ``images`` are there, and so all they consist of."""
        there = {part.digest for part in self.parts.values()}
        return there.issuperset(image.manifest.digest for image in images)


def _described(manifest: Manifest, repository: Repository, platform: str | None) -> Descriptor:
    """The descriptor of an image's manifest, with the platform that its config tells if it is not known."""
    for config in descriptors(manifest, "config") if platform is None else ():
        if config.size <= _MOST_CONFIG:
            platform = _platform(b"".join(repository.blob_chunks(config.digest, config.size)))
    return Descriptor(manifest.media_type, manifest.digest, len(manifest.data), platform)


def _platform(config: bytes) -> str | None:
    try:
        content = json.loads(config)
        return f"{content['os']}/{content['architecture']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _name(
    repository: Repository,
    tag: str,
    there: _Environment,
    images: Sequence[Image],
    store: Store,
    reporter: Reporter,
) -> str:
    """Put ``images`` under the tag, beside those of other platforms; the digest that is there then."""
    ours = {}
    for image in images:
        before = there.parts.get(image.platform)
        if before is not None and _contradicts(image, before, repository):
            reporter.note(_differs(repository, f"environment for {image.platform}"))
        else:
            blob = image.manifest
            ours[image.platform] = Descriptor(MANIFEST_TYPE, blob.digest, blob.size, image.platform)
    if not ours:
        return there.digest
    parts = sorted({**there.parts, **ours}.items())
    if len(parts) > 1:
        manifests = [part.to_json() for _, part in parts]
        data = canonical({"manifests": manifests, "mediaType": INDEX_TYPE, "schemaVersion": 2})
        media_type = INDEX_TYPE
    else:
        data = b"".join(blob_chunks(store, parts[0][1].digest))
        media_type = MANIFEST_TYPE
    try:
        return repository.put_manifest(data, media_type, tag)
    except RemoteError as error:
        if not there.digest or error.code not in _REFUSALS:
            raise
        reporter.note(f"{repository.name}:{tag} stays as it is: {error.message}")
        return there.digest


def _contradicts(image: Image, before: Descriptor, repository: Repository) -> bool:
    """Whether what is there has another layer under the key of one of ours."""
    manifest = repository.manifest(before.digest)
    known = {layer.key: layer.diff_id for layer in described_layers(manifest)} if manifest else {}
    return any(known.get(layer.key, layer.diff_id) != layer.diff_id for layer in image.layers if layer.key)
