"""The shared cache: layers that somebody else made and put into a registry.

What is looked at, until every layer that is wanted is known::

    the store                     what this machine has made, or brought here before
    REGISTRY:env-<hex>            the environment's image, under the environment's id
    images that will be replaced  those under the names that are about to be pushed
    REGISTRY:layer-<hex>          a manifest for each layer, by its key

A manifest says what each of its layers is (:mod:`envbuild.image.annotations`), so an image that differs in
one package costs one request. Nothing is fetched but manifests. Whoever may write to these repositories may
decide what is in an image (docs/security.md); a registry that fails only means that layers are made here.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final

from envbuild.errors import EnvbuildError, RemoteError
from envbuild.image.annotations import described_layer
from envbuild.image.config import INDEX_TYPE
from envbuild.image.descriptor import Descriptor, parse_descriptor
from envbuild.image.finding import Found, LayersLost, StoredLayers
from envbuild.image.model import Layer
from envbuild.image.reference import Reference
from envbuild.pack import recipe
from envbuild.pack.blob import Packed, keep_packed
from envbuild.progress import Reporter
from envbuild.registry.bring import bring
from envbuild.registry.places import remember_place
from envbuild.registry.registries import Registries
from envbuild.registry.repository import DOCKER_INDEX_TYPE, Manifest
from envbuild.registry.retry import Retries
from envbuild.source.text import printable, redact

__all__ = ["IMPATIENT", "LOOKUP_SECONDS", "SharedLayers", "described_layers", "descriptors", "layer_tag"]

# Whoever asks whether work can be spared does not wait long for the answer. (All questions together.)
LOOKUP_SECONDS: Final = 60.0
IMPATIENT: Final = Retries(attempts=2, first_pause=0.2, longest_pause=1.0, longest_wait=3.0)
_SLOW: Final = "registry-slow"
_QUESTIONS_AT_ONCE: Final = 8
_MOST_PLATFORMS: Final = 8
_MOST_LAYERS: Final = 1000
_Claims = list[tuple[Layer, str]]  # a layer, and which repository says what it is


def layer_tag(key: str, compression: str) -> str:
    """The tag under which the layer with this plan key is in a shared cache, in this compression.

    >>> layer_tag("0" * 64, "zstd")
    'layer-c6c665dbd0ef8cffa0c5c45c1ad7cf77'
    """
    text = f"layer {key} {recipe.ENCODERS[compression]}"
    return "layer-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def described_layers(manifest: Manifest) -> tuple[Layer, ...]:
    """The planned layers that a manifest describes (not an index); whatever else is in it is passed over."""
    found = []
    for descriptor in descriptors(manifest, "layers")[:_MOST_LAYERS]:
        layer = described_layer(descriptor)
        if layer is not None and layer.key and layer.raw_size:
            found.append(layer)
    return tuple(found)


class SharedLayers:
    """Layers of the store and of registries; see :class:`envbuild.image.finding.Layers`.

    Parameters:
        stored: finds those of the store.
        repository: the shared cache, None when there is none.
        trusting: whether what registries say about layers counts.
        offline: what they said counts, but they are not asked.
        ask: registries for questions: impatient ones, and nobody else's.
        fetch: those for bytes.
    """

    def __init__(
        self,
        stored: StoredLayers,
        *,
        repository: Reference | None,
        trusting: bool,
        offline: bool,
        ask: Registries,
        fetch: Registries,
        reporter: Reporter,
    ) -> None:
        self._stored = stored
        self._repository = repository
        self._trusting = trusting
        self._asking = trusting and not offline
        self._ask = ask
        self._fetch = fetch
        self._reporter = reporter
        self._unread: list[Reference] = []
        self._known: dict[str, tuple[Layer, str]] = {}  # by key: what it is, and which repository says so
        self._asked: set[str] = set()
        self._guard = threading.Lock()
        if repository is not None:
            self._trust([repository])

    def consult(self, images: Iterable[Reference]) -> None:
        """Before any layer is looked for by its key, look at what these images consist of. Their repositories
        may say what a layer is, as the shared cache may.
        """
        wanted = list(images)
        self._unread += wanted
        self._trust(wanted)

    def _trust(self, repositories: Iterable[Reference]) -> None:
        if self._trusting:
            trusted = {*self._stored.trusted, *(one.name for one in repositories)}
            self._stored = replace(self._stored, trusted=trusted)

    def find(self, keys: Iterable[str]) -> dict[str, Found]:
        """See :meth:`envbuild.image.finding.Layers.find`."""
        wanted = tuple(dict.fromkeys(keys))
        found = self._stored.find(wanted)
        missing = [key for key in wanted if key not in found]
        with self._guard:
            if missing and self._asking:
                self._look_up(missing)
            for key in missing if self._asking else ():
                if key in self._known:
                    packed = self._believed(key, *self._known[key])
                    if packed is not None:
                        found[key] = Found(packed, "registry")
        return found

    def bring(self, layers: Sequence[Layer], reporter: Reporter) -> None:
        """See :meth:`envbuild.image.finding.Layers.bring`."""
        store = self._stored.store
        missing = [layer for layer in layers if not store.has_blob(layer.digest, layer.size)]
        if not missing:
            return
        try:
            bring(missing, store=store, registries=self._fetch, reporter=reporter)
        except RemoteError as error:
            self.lost(missing, error)
            raise

    def lost(self, layers: Iterable[Layer], error: EnvbuildError) -> None:
        """``error`` kept somebody from using ``layers``.

        Raises:
            LayersLost: one of them was found in a registry only, and can be made here instead.
        """
        store = self._stored.store
        if any(layer.key and not store.has_blob(layer.digest, layer.size) for layer in layers):
            with self._guard:
                self._give_up(error)
            raise LayersLost from error

    def _give_up(self, error: EnvbuildError) -> None:
        """Say so once. Whatever else registries say is not worth another attempt."""
        if self._asking:
            self._asking = False
            remedy = f"; {error.remedy}" if error.remedy else ""
            self._reporter.warn(redact(f"the shared cache is not used: {error.message}{remedy}"))

    def _believed(self, key: str, layer: Layer, place: str) -> Packed | None:
        """What a registry says a layer is, remembered; None when this machine knows better."""
        store = self._stored.store
        record = store.action(key) or {}
        made_here = str(record["diff_id"]) if record and not record.get("place") else None
        if made_here not in (None, layer.diff_id):
            return None
        packed = Packed(
            layer.diff_id,
            layer.raw_size,
            layer.digest,
            layer.size,
            layer.compression,
            tuple(printable(redact(note)) for note in layer.notes),
            "" if made_here else place,
        )
        keep_packed(store, key, packed)
        remember_place(store, layer.digest, place)
        return packed

    # Questions

    def _look_up(self, keys: Sequence[str]) -> None:
        """Learn what registries have of ``keys``, asking as little as possible."""
        unread, self._unread = list(dict.fromkeys(self._unread)), []
        repository = self._repository
        if not unread and (repository is None or self._asked.issuperset(keys)):
            return
        deadline = time.monotonic() + LOOKUP_SECONDS
        registries = self._ask
        pool = ThreadPoolExecutor(_QUESTIONS_AT_ONCE, thread_name_prefix="look-up")

        def of_image(reference: Reference) -> _Claims:
            manifests = _image_manifests(registries, reference)
            layers = [layer for manifest in manifests for layer in described_layers(manifest)]
            return [(layer, reference.name) for layer in layers]

        def of_key(key: str) -> _Claims:
            assert repository is not None
            tag = layer_tag(key, self._stored.compression)
            manifest = registries.repository(repository).manifest(tag)
            layers = described_layers(manifest) if manifest is not None else ()
            return [(layer, repository.name) for layer in layers if layer.key == key]

        try:
            with self._reporter.stage("look up", unit="layers") as stage:
                stage.add_total(len(keys))
                running = [pool.submit(of_image, reference) for reference in unread]
                self._learn(_results(running, deadline))
                stage.advance(len(self._known.keys() & set(keys)))
                left = [key for key in keys if key not in self._known and key not in self._asked]
                if repository is not None and left:
                    self._asked.update(left)
                    self._learn(_results([pool.submit(of_key, key) for key in left], deadline))
                    stage.advance(len(left))
        except EnvbuildError as error:  # also of a credential helper
            self._give_up(error)
            if error.code == _SLOW:
                registries.close()  # whoever still waits for an answer wakes up
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _learn(self, answers: Iterable[_Claims]) -> None:
        """The first to say what a layer is counts."""
        for answer in answers:
            for layer, place in answer:
                if layer.compression == self._stored.compression:
                    self._known.setdefault(layer.key, (layer, place))


def _results(running: Sequence[Future[_Claims]], deadline: float) -> list[_Claims]:
    """What all of ``running`` returned.

    Raises:
        RemoteError: of the first that failed, or because it is too late.
    """
    finished, late = wait(running, max(deadline - time.monotonic(), 0), FIRST_EXCEPTION)
    for future in running:
        if future in finished and (error := future.exception()) is not None:
            raise error
    if late:
        raise RemoteError(
            f"registries have not said within {LOOKUP_SECONDS:.0f} seconds what they have",
            code=_SLOW,
            remedy="check the connection to the registry",
        )
    return [future.result() for future in running]


def _image_manifests(registries: Registries, reference: Reference) -> Iterator[Manifest]:
    """The manifest of an image, or those that an index names."""
    repository = registries.repository(reference)
    manifest = repository.manifest(reference.version)
    if manifest is None:
        return
    if manifest.media_type not in (INDEX_TYPE, DOCKER_INDEX_TYPE):
        yield manifest
        return
    for descriptor in descriptors(manifest, "manifests")[:_MOST_PLATFORMS]:
        part = repository.manifest(descriptor.digest)
        if part is not None:
            yield part


def descriptors(manifest: Manifest, name: str) -> list[Descriptor]:
    """The list of descriptors that a manifest has under ``name``, or the one; what is none is left out."""
    try:
        entries = json.loads(manifest.data)[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        try:
            found.append(parse_descriptor(entry))
        except ValueError:
            continue
    return found
