"""Where an image comes from: an in-toto statement (v1) with SLSA provenance (v1).

What is in it is described in docs/attestations.md, whose address is the build type. There is nothing in it of
the machine that builds, so the same build gives the same bytes everywhere; only a CI system adds what it says
about its run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import envbuild
from envbuild.attest.document import ImageDescription, document_bytes
from envbuild.attest.invocation import Invocation
from envbuild.attest.package_url import base_image_url, conda_url, deb_url, image_url, sdist_url, wheel_url
from envbuild.image.reference import parse_reference
from envbuild.layers import AdditionsLayer, AptLayer, CondaLayer, LayerPlan, OsLayer, WheelLayer
from envbuild.lock.model import Artifact, Built, Lock
from envbuild.pack import recipe
from envbuild.plan import make_plan
from envbuild.source import Origin
from envbuild.source.text import redact

__all__ = ["BUILD_TYPE", "PREDICATE_TYPE", "STATEMENT_TYPE", "provenance"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
_PROJECT = "https://github.com/envbuild/envbuild"
BUILD_TYPE = f"{_PROJECT}/blob/main/docs/attestations.md#build-type-v1"

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_Resource = dict[str, Any]


def provenance(
    lock: Lock,
    lock_bytes: bytes,
    images: Sequence[ImageDescription],
    *,
    index: str | None = None,
    compression: str,
    origin: Origin | None = None,
    invocation: Invocation | None = None,
) -> bytes:
    """The statement that ``images`` were made from ``lock``.

    Parameters:
        lock_bytes: the lock file as written.
        index: the digest of the index over the images, when there is one.
        origin: where the repository's files were fetched from; None when they are a directory's.
        invocation: the run of a CI system that this is part of.
    """
    lock_digest = {"sha256": hashlib.sha256(lock_bytes).hexdigest()}
    platforms = sorted(image.platform for image in images)
    parameters: dict[str, Any] = {
        "compression": compression,
        "lock": {"name": "envbuild.lock", "digest": lock_digest},
        "platforms": platforms,
    }
    if origin is not None:
        parameters["source"] = _source(origin)
        if origin.subdirectory:
            parameters["subdirectory"] = origin.subdirectory
    internal: dict[str, Any] = {"recipe": recipe.VERSION}
    run: dict[str, Any] = {"builder": {"id": _PROJECT, "version": {"envbuild": envbuild.__version__}}}
    if invocation is not None:
        internal["ci"] = {"system": invocation.system, **dict(invocation.details)}
        run["metadata"] = {"invocationId": invocation.url}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": _subjects(lock, images, index),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": parameters,
                "internalParameters": internal,
                "resolvedDependencies": _dependencies(lock, lock_bytes, platforms, origin),
            },
            "runDetails": run,
        },
    }
    return document_bytes(statement)


def _subjects(lock: Lock, images: Sequence[ImageDescription], index: str | None) -> list[_Resource]:
    manifests = [(image.manifest.digest, image.platform) for image in images]
    digests = {image_url(lock.name, digest, platform): digest for digest, platform in manifests}
    if index is not None:
        digests[image_url(lock.name, index)] = index
    return [
        {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
        for name, digest in sorted(digests.items())
    ]


def _source(origin: Origin) -> _Resource:
    """Where the repository is, and which state of it."""
    url = redact(origin.url)
    if _COMMIT.fullmatch(origin.revision):
        return {"uri": f"git+{url}", "digest": {"gitCommit": origin.revision}}
    if origin.revision.startswith("sha256:"):
        return {"uri": url, "digest": {"sha256": origin.revision.removeprefix("sha256:")}}
    return {"uri": url, "annotations": {"version": origin.revision}}


def _dependencies(
    lock: Lock, lock_bytes: bytes, platforms: Sequence[str], origin: Origin | None
) -> list[_Resource]:
    """Everything that was fetched: each once, by name and sha256."""
    found = [_source(origin)] if origin is not None else []
    for platform in platforms:
        for layer in make_plan(lock, platform, lock_bytes).layers:
            found += _of_layer(layer, lock)
        found += _base_image(lock, platform)
        target = lock.target(platform)
        for built in target.built:
            found += _of_built(built, target.versions.get(built.name, ""))
    unique = {document_bytes(resource): resource for resource in found}
    return [unique[key] for key in sorted(unique)]


def _base_image(lock: Lock, platform: str) -> Iterator[_Resource]:
    """The registry's image that the base is: its index, or the manifest it stands for, and the platform's."""
    image = lock.base.image
    if image is not None:
        reference, found = parse_reference(image.reference), image.platforms[platform].digest
        for digest, of in {image.digest: None, found: platform}.items():
            uri = base_image_url(reference, digest, of)
            yield {"uri": uri, "digest": {"sha256": digest.removeprefix("sha256:")}}


def _of_layer(layer: LayerPlan, lock: Lock) -> Iterator[_Resource]:
    match layer:
        case OsLayer(debs=debs) | AdditionsLayer(debs=debs):
            for deb in debs:
                yield _file(deb.artifact, deb_url(deb, lock.base.suite))
        case AptLayer(debs=debs, platform=platform):
            image = lock.base.image.platforms[platform] if lock.base.image is not None else None
            told = image.distribution if image is not None else f"debian {lock.base.suite}"
            distribution, _, suite = told.partition(" ")
            for deb in debs:
                yield _file(deb.artifact, deb_url(deb, suite, distribution))
        case CondaLayer(conda=packages):
            for package in packages:
                yield _file(package.artifact, conda_url(package))
        case WheelLayer(wheels=wheels):
            for wheel in wheels:
                if wheel.artifact.source != "built":  # what that was made from is said instead
                    yield _file(wheel.artifact, wheel_url(wheel))


def _of_built(built: Built, version: str) -> Iterator[_Resource]:
    """What a wheel of this version was built from and with."""
    location = redact(built.location)
    if built.kind == "vcs":
        yield {"uri": f"git+{location}@{built.commit}", "digest": {"gitCommit": built.commit}}
    elif built.kind == "sdist" and built.archive is not None:
        yield _file(built.archive, sdist_url(built.name, version, built.archive.filename))
    elif built.archive is not None:
        yield _file(built.archive, location)
    for wheel in built.requires:
        if wheel.artifact.source != "built":
            yield _file(wheel.artifact, wheel_url(wheel))


def _file(artifact: Artifact, uri: str) -> _Resource:
    return {"name": artifact.filename, "uri": uri, "digest": {"sha256": artifact.sha256}}
