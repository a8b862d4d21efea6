"""Whether an image is what its lock makes: layer by layer, and where it is not, file by file.

The image is compared with one that was just made. Of an image in a registry only those layers are fetched
whose digests are not the expected ones; the others are what they should be: that is what a digest means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from envbuild.errors import EnvbuildError, RemoteError
from envbuild.image.blobs import layer_chunks
from envbuild.image.comparison import Content, Difference, differences, file_content
from envbuild.image.finding import Bring, all_here
from envbuild.image.model import Image, Layer
from envbuild.inspection.medium import Medium
from envbuild.inspection.view import ImageView, LayerView
from envbuild.pack import codec, recipe
from envbuild.progress import Reporter
from envbuild.proof.configuration import ConfigChange, config_difference
from envbuild.proof.explanation import LOOKED_AT, explain
from envbuild.proof.matching import Pair, match
from envbuild.store import Store

__all__ = ["FileVerdict", "ImageVerdict", "LayerVerdict", "State", "verify_image"]

State = Literal["same", "encoded", "differs", "missing", "extra", "moved"]

_MOST_FILES = 20
_NO_FILES = bytes(1024)  # a tar file
_OTHER_DIFF_ID = "the image's config has another diff ID for it"
_ROOM = 1 << 30  # bytes that a layer may have more than it should, before it is not read any further


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """A file that is not as it should be: its path (printable) and how, for people."""

    path: str
    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LayerVerdict:
    """What became of one layer.

    ``state`` is ``same``, ``encoded`` (the same files, compressed otherwise), ``differs``, ``missing`` (from
    the image), ``extra`` (in the image) or ``moved``. ``expected`` and ``found`` are diff IDs, of the layer
    that was made and of the image's. ``files`` are the first of the ``differing`` files, ``trouble`` says
    what else is wrong. ``executed`` tells that something ran for it.
    """

    title: str
    state: State
    packages: tuple[str, ...] = ()
    expected: str | None = None
    found: str | None = None
    executed: bool = False
    files: tuple[FileVerdict, ...] = ()
    differing: int = 0
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class ImageVerdict:
    """What became of the image for one platform.

    ``image_id`` and ``digest`` are the image's, ``expected_id`` and ``expected_digest`` those of what was
    made. ``config`` are the statements of its config that differ; ``recipe`` the packing recipe it names.
    """

    platform: str
    image_id: str
    digest: str
    expected_id: str
    expected_digest: str
    layers: tuple[LayerVerdict, ...]
    config: tuple[ConfigChange, ...]
    recipe: str | None

    @property
    def identical(self) -> bool:
        """Whether it is the same, byte for byte."""
        return self.proven and self.digest == self.expected_digest

    @property
    def proven(self) -> bool:
        """Whether whoever runs it gets exactly what the lock says."""
        return self.image_id == self.expected_id and self.same_files

    @property
    def hint(self) -> str | None:
        """Why it may differ without being forged; None when nothing is known."""
        if self.proven:
            return None
        if self.recipe != str(recipe.VERSION):
            return (
                f"it was made with packing recipe {self.recipe}, this envbuild has {recipe.VERSION}:"
                " verify it with the envbuild that made it"
            )
        if any(layer.executed and layer.state == "differs" for layer in self.layers):
            return (
                "what was executed may not give the same files each time:"
                " `envbuild build --check-reproducible` tells"
            )
        return None

    @property
    def same_files(self) -> bool:
        """Whether every layer has exactly the files it should have, whatever the config says."""
        return all(layer.state in ("same", "encoded") for layer in self.layers)


def verify_image(
    medium: Medium,
    image: ImageView,
    made: Image,
    store: Store,
    reporter: Reporter,
    bring: Bring = all_here,
) -> ImageVerdict:
    """Compare ``image`` on ``medium`` with ``made``, which is in ``store``.

    Parameters:
        bring: has layers of ``made`` in the store that were not made, but are the base's in a registry.

    Raises:
        RemoteError: the registry fails.
        MachineError: the disk is full.
    """
    pairs = match(made.layers, image.layers)
    comparison = _Comparison(medium, store, lambda layers: bring(layers, reporter))
    with reporter.stage("compare", unit="layers") as stage:
        stage.add_total(len(pairs))
        verdicts = []
        for pair in pairs:
            stage.detail(_title(pair))
            verdicts.append(comparison.verdict(pair))
            stage.advance(1)
    config = json.loads(store.read_blob(made.config.digest))
    return ImageVerdict(
        platform=image.platform,
        image_id=image.image_id,
        digest=image.manifest.digest,
        expected_id=made.image_id,
        expected_digest=made.manifest.digest,
        layers=tuple(verdicts),
        config=config_difference(config, image.document),
        recipe=image.recipe,
    )


def _title(pair: Pair) -> str:
    made, found = pair.made, pair.found
    return made.title if made is not None else found.title if found is not None else ""


@dataclass(frozen=True, slots=True)
class _Comparison:
    medium: Medium
    store: Store
    bring: Callable[[Sequence[Layer]], None]

    def verdict(self, pair: Pair) -> LayerVerdict:
        made, found = pair.made, pair.found
        if found is None:
            assert made is not None
            return _of(made, None, "missing")
        if made is None:
            return self._extra(found)
        if made.digest == found.digest:
            return self._same_digest(made, found, moved=pair.moved)
        return self._other_digest(made, found, moved=pair.moved)

    def _same_digest(self, made: Layer, found: LayerView, *, moved: bool) -> LayerVerdict:
        if made.diff_id != found.diff_id:
            trouble = "it is not in the place that the config says" if moved else _OTHER_DIFF_ID
            return replace(_of(made, found, "differs"), trouble=trouble)
        if self.medium.is_file(found.descriptor):
            # A registry's bytes are checked by whoever pulls them; a file's by nobody else.
            try:
                for _ in self.medium.chunks(found.descriptor):
                    pass
            except EnvbuildError as error:
                return replace(_of(made, found, "differs"), trouble=error.message)
        return _of(made, found, "moved" if moved else "same")

    def _other_digest(self, made: Layer, found: LayerView, *, moved: bool) -> LayerVerdict:
        with self._fetched(found) as (content, trouble):
            if content is None:
                return replace(_of(made, found, "differs"), trouble=trouble)
            expected = partial(layer_chunks, self.store, made)
            content = partial(_limited, content, made.raw_size + _ROOM)
            try:
                if _digest(content) == made.diff_id == found.diff_id:
                    return _of(made, found, "moved" if moved else "encoded")
                return self._differing(made, found, expected, content)
            except ValueError as error:
                return replace(_of(made, found, "differs"), trouble=f"it cannot be unpacked: {error}")

    def _differing(self, made: Layer, found: LayerView, expected: Content, content: Content) -> LayerVerdict:
        self.bring([made])
        differing = differences(expected, content)
        files = tuple(
            FileVerdict(one.path, _how(one, expected, content, first=number == 0))
            for number, one in enumerate(differing[:_MOST_FILES])
        )
        trouble = None
        if not differing:
            trouble = (
                "its files are the same; their order, or what unpacking does not show, is not"
                if _digest(content) != made.diff_id
                else _OTHER_DIFF_ID
            )
        return replace(_of(made, found, "differs"), files=files, differing=len(differing), trouble=trouble)

    def _extra(self, found: LayerView) -> LayerVerdict:
        verdict = LayerVerdict(found.title, "extra", found.packages, found=found.diff_id)
        with self._fetched(found) as (content, trouble):
            if content is None:
                return replace(verdict, trouble=trouble)
            try:
                differing = differences(lambda: (_NO_FILES,), partial(_limited, content, _ROOM))
            except ValueError as error:
                return replace(verdict, trouble=f"it cannot be unpacked: {error}")
        files = tuple(FileVerdict(one.path, ("extra",)) for one in differing[:_MOST_FILES])
        return replace(verdict, files=files, differing=len(differing))

    @contextmanager
    def _fetched(self, layer: LayerView) -> Iterator[tuple[Content | None, str | None]]:
        """The layer's content, which can be read several times; None, and why, when there is none."""
        compression = layer.compression
        if compression is None:
            yield None, f"its media type {layer.media_type!r} is not known"
            return
        with self.store.temporary_file() as path:
            try:
                with path.open("wb") as sink:
                    for chunk in self.medium.chunks(layer.descriptor):
                        sink.write(chunk)
            except RemoteError:
                raise
            except EnvbuildError as error:
                yield None, error.message
                return
            yield partial(_decoded, path, compression), None


def _of(made: Layer, found: LayerView | None, state: State) -> LayerVerdict:
    return LayerVerdict(
        made.title,
        state,
        made.packages,
        expected=made.diff_id,
        found=found.diff_id if found is not None else None,
        executed=made.captured,
    )


def _decoded(path: Path, compression: str) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from codec.decode(compression, stream)


def _limited(content: Content, limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in content():
        size += len(chunk)
        if size > limit:
            raise ValueError("it unpacks to far more than it should")
        yield chunk


def _digest(content: Content) -> str:
    hashed = hashlib.sha256()
    for chunk in content():
        hashed.update(chunk)
    return "sha256:" + hashed.hexdigest()


def _how(difference: Difference, expected: Content, found: Content, *, first: bool) -> tuple[str, ...]:
    """In words; of the ``first`` file of a layer also what is different inside."""
    said = []
    for aspect in difference.aspects:
        if aspect.what == "content" and first:
            one, two = (file_content(layer, difference.name, LOOKED_AT) for layer in (expected, found))
            said.append(f"content: {explain(difference.name, one or b'', two or b'')}")
        else:
            said.append(str(aspect))
    return tuple(said)
