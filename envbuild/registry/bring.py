"""Bringing layers into the store: those whose bytes somebody needs here and that are only in a registry."""

from __future__ import annotations

from collections.abc import Sequence

from envbuild.errors import MachineError, RemoteError
from envbuild.image.blobs import layer_chunks
from envbuild.image.model import Layer
from envbuild.progress import Reporter, Stage
from envbuild.registry.parallel import Going, in_parallel
from envbuild.registry.places import known_places, remember_place
from envbuild.registry.refusals import lied
from envbuild.registry.registries import Registries
from envbuild.store import Store

__all__ = ["bring"]


def bring(layers: Sequence[Layer], *, store: Store, registries: Registries, reporter: Reporter) -> None:
    """Have the blobs of ``layers`` in ``store``, from where they are known to be.

    Every blob is held to its digest and its size, and what it unfolds to, to the layer's diff ID. Nobody is
    asked for what is there already.

    Raises:
        RemoteError: one cannot be had.
        MachineError: the store cannot be written.
    """
    missing = {layer.digest: layer for layer in layers if not store.has_blob(layer.digest, layer.size)}
    if not missing:
        return
    with reporter.stage("pull") as stage:
        stage.add_total(sum(layer.size for layer in missing.values()))

        def bring_one(layer: Layer, going: Going) -> None:
            _bring(layer, store, registries, going.watched(stage))

        largest_first = sorted(missing.values(), key=lambda layer: (-layer.size, layer.digest))
        in_parallel(bring_one, largest_first, jobs=registries.jobs, abort=registries.close)


def _bring(layer: Layer, store: Store, registries: Registries, stage: Stage) -> None:
    stage.detail(layer.title)
    refused: RemoteError | None = None
    vouching = (layer.place,) if layer.place else ()
    for place in dict.fromkeys((*vouching, *known_places(store, layer.digest))):
        try:
            registries.repository(place).fetch_blob(layer.digest, layer.size, store, stage)
            _check(layer, store, place)
        except RemoteError as error:
            refused = refused or error
        else:
            remember_place(store, layer.digest, place)
            return
    raise refused or RemoteError(
        f"the layer {layer.title} ({layer.digest}) is not in the cache, and no registry is known to have it",
        code="layer-nowhere",
        remedy="pull or build the image again",
    )


def _check(layer: Layer, store: Store, place: str) -> None:
    """Refuse a blob, just brought, that unfolds to something else than its layer; it is gone then."""
    try:
        for _ in layer_chunks(store, layer):
            pass
    except MachineError as error:
        if error.code not in ("bad-layer", "damaged-blob"):
            raise
        store.blob_path(layer.digest).unlink(missing_ok=True)
        raise lied(place, f"{layer.digest} is not the layer with the diff ID {layer.diff_id}") from error
