"""From images to what a report says of them: their layers are read once, and what was found is remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import msgspec
from packaging.utils import canonicalize_name

from envbuild.errors import EnvbuildError
from envbuild.image.streams import as_file
from envbuild.inspection.inside import Inside
from envbuild.inspection.inspector import SeenImage
from envbuild.inspection.medium import Medium
from envbuild.inspection.view import LayerView
from envbuild.layers import (
    REPOSITORY_TITLE,
    AdditionsLayer,
    AptLayer,
    CondaLayer,
    LayerPlan,
    OsLayer,
    WheelLayer,
)
from envbuild.lock.model import CondaPackage, Deb, Lock, Target, Wheel
from envbuild.pack import codec, recipe
from envbuild.plan import make_plan
from envbuild.progress import Reporter
from envbuild.report.installed import Found, LayerContents, PackageKind, read_contents
from envbuild.report.model import PARTS, Package, Part, PlatformReport, ReportLayer
from envbuild.source import printable
from envbuild.store import Store
from envbuild.store.store import file_digest

__all__ = ["read_platform"]

# Of what is remembered; raise it when reading the same layer gives something else.
_VERSION: Final = 3
_LARGEST_TAR: Final = 64 << 30
_PREFIXES: dict[str, Part] = {recipe.SERVER_PREFIX: "server", recipe.ENV_PREFIX: "environment"}


def read_platform(image: SeenImage, medium: Medium, store: Store, reporter: Reporter) -> PlatformReport:
    """What is in ``image``, which is on ``medium``: every layer is read that was not read before.

    Raises:
        EnvbuildError: a layer is damaged or cannot be fetched; which error depends on the medium.
    """
    view, inside = image.view, image.inside
    lock = inside.lock
    target = _target(lock, view.platform)
    asked = _Asked(inside, view.platform, is_ours=view.builder == "envbuild")
    layers = []
    with reporter.stage("read") as stage:
        stage.add_total(view.size)
        for layer in view.layers:
            stage.detail(layer.title)
            contents, known = _contents(layer, medium, store)
            stage.advance(layer.size, cached=known)
            layers.append(_layer(layer, contents, asked))
    python = (target.conda_python if target else None) or (lock.base.python if lock else None)
    return PlatformReport(
        view.platform, view.image_id, view.manifest.digest, python, tuple(layers), inside.kernels
    )


def _target(lock: Lock | None, platform: str) -> Target | None:
    return next((target for target in lock.targets if target.platform == platform), None) if lock else None


class _Asked:
    """What the lock says of packages: which ones the repository asks for, and which layer they are in."""

    def __init__(self, inside: Inside, platform: str, *, is_ours: bool) -> None:
        target = _target(inside.lock, platform)
        packages: tuple[Wheel | CondaPackage | Deb, ...] = ()
        planned: tuple[LayerPlan, ...] = ()
        if target is not None and inside.lock is not None:
            packages = (*target.wheels, *target.conda, *target.apt)
            planned = make_plan(inside.lock, platform, inside.lock_bytes or b"").layers
        projects = [built.name for built in target.built if built.is_project] if target else []
        direct = [package.name for package in packages if package.direct]
        self._direct = {canonicalize_name(name) for name in (*direct, *projects)}
        self._apt = {deb.name for deb in target.apt} if target else set()
        self._planned = {layer.key: layer for layer in planned}
        self._is_ours = is_ours

    def named(self, layer: LayerView, known: Container[str]) -> Iterator[Package]:
        """The packages that ``layer`` is said to have, without those that were found (canonical names)."""
        kind, part = _kind(self._planned.get(layer.key))
        for name, _, version in (text.partition("==") for text in layer.packages):
            if canonicalize_name(name) not in known:
                yield Package(printable(name), printable(version), kind, part)

    def part(self, found: Found) -> Part:
        """The part of the image that a package belongs to."""
        if found.kind == "deb":
            return "apt" if found.metadata.name in self._apt else "system"
        for prefix, part in _PREFIXES.items():
            if found.place == prefix or found.place.startswith(f"{prefix}/"):
                return part
        return "system" if self._is_ours else "environment"

    def package(self, found: Found) -> Package:
        """A package that was found, for the report."""
        said, part = found.metadata, self.part(found)
        return Package(
            name=said.name,
            version=said.version,
            kind=found.kind,
            part=part,
            direct=part in ("environment", "apt") and canonicalize_name(said.name) in self._direct,
            size=found.size,
            licence=said.licence,
            summary=said.summary,
            home_page=said.home_page,
        )


def _kind(planned: LayerPlan | None) -> tuple[PackageKind, Part]:
    """What the packages of a planned layer are."""
    match planned:
        case OsLayer() | AdditionsLayer():
            return "deb", "system"
        case AptLayer():
            return "deb", "apt"
        case CondaLayer():
            return "conda", "environment"
        case WheelLayer(prefix=recipe.SERVER_PREFIX):
            return "wheel", "server"
    return "wheel", "environment"


def _layer(layer: LayerView, contents: LayerContents | None, asked: _Asked) -> ReportLayer:
    packages = [asked.package(found) for found in contents.packages] if contents else []
    packages += asked.named(layer, {canonicalize_name(package.name) for package in packages})
    packages.sort(key=lambda package: (-(package.size or 0), package.name.lower()))
    sizes: dict[Part, int] = {}
    for package in packages:
        sizes[package.part] = sizes.get(package.part, 0) + (package.size or 0)
    part: Part = max(PARTS, key=lambda part: sizes.get(part, -1)) if sizes else "other"
    if layer.foreign or (not sizes and not layer.ours):
        part = "system"
    if layer.title == REPOSITORY_TITLE:
        part = "other"
    return ReportLayer(
        title=layer.title,
        part=part,
        digest=layer.digest,
        diff_id=layer.diff_id,
        stored=layer.size,
        size=contents.size if contents else None,
        packages=tuple(packages),
    )


def _contents(layer: LayerView, medium: Medium, store: Store) -> tuple[LayerContents | None, bool]:
    """What is in ``layer``, and whether that was known; None when nobody knows how it is compressed."""
    if layer.compression is None:
        return None, True
    key = hashlib.sha256(f"installed {_VERSION} {layer.compression} {layer.digest}".encode()).hexdigest()
    remembered = _remembered(store.action(key))
    if remembered is not None:
        return remembered, True
    try:
        contents = read_contents(partial(_tar, layer, medium))
    except ValueError as error:
        raise medium.broken(f"the layer {layer.digest} cannot be read ({error})") from error
    except EnvbuildError as error:
        path = store.blob_path(layer.digest)
        # Damage in the cache mends itself: what is not what its name says is removed, and made anew.
        if medium.kind == "cache" and path.exists() and f"sha256:{file_digest(path)}" != layer.digest:
            raise store.damaged_blob(layer.digest) from error
        raise
    # With the digest, pruning the cache keeps it as long as the layer is needed.
    record = {"digest": layer.digest, "contents": json.loads(msgspec.json.encode(asdict(contents)))}
    store.put_action(key, record)
    return contents, False


def _tar(layer: LayerView, medium: Medium) -> Iterator[bytes]:
    """The layer's uncompressed tar; that it is the right one is checked when its end is reached."""
    stored = as_file(medium.chunks(layer.descriptor))
    left = _LARGEST_TAR
    for chunk in codec.decode(layer.compression or "none", stored):
        left -= len(chunk)
        if left < 0:
            raise ValueError("it unpacks to too much")
        yield chunk
    while stored.read(1 << 20):
        pass


def _remembered(value: Mapping[str, Any] | None) -> LayerContents | None:
    try:
        return msgspec.convert(value["contents"], LayerContents) if value else None
    except (KeyError, msgspec.ValidationError):
        return None
