"""The bill of materials: everything that was put into an image, as CycloneDX 1.6 JSON.

A pure function of the lock and the image: the same bytes on every machine, today and next year. So it has
neither the time it was made nor a random number, nor what is known only where some file happens to be.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import envbuild
from envbuild.attest.document import ImageDescription, LayerDescription, document_bytes
from envbuild.attest.package_url import base_image_url, conda_url, deb_url, generic_url, image_url, wheel_url
from envbuild.image.reference import parse_reference
from envbuild.layers import AdditionsLayer, AptLayer, CondaLayer, LayerPlan, OsLayer, WheelLayer
from envbuild.lock.model import Built, CondaPackage, Deb, Lock, Wheel
from envbuild.pack import recipe
from envbuild.plan import environment_id, make_plan
from envbuild.spec.post_build import STEP as POST_BUILD

__all__ = ["sbom"]

_IMAGE = "image"
_SYSTEM = "operating-system"
_BASE_IMAGE = "base-image"
_PYTHON = "python"
_Component = dict[str, Any]


def sbom(lock: Lock, lock_bytes: bytes, platform: str, image: ImageDescription | None = None) -> bytes:
    """What is in the image that ``lock`` describes, as a CycloneDX 1.6 document.

    Parameters:
        lock_bytes: the lock file as written.
        image: the image that was made from it for ``platform``. Without one the document describes the lock:
            it says neither which layer a package is in, nor what the image's digest is.

    Raises:
        KeyError: the lock has no section for the platform.
    """
    parts = _Parts(lock, lock_bytes, platform, image)
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": lock.cutoff,
            "lifecycles": [{"phase": "build"}],
            "tools": {
                "components": [
                    {"type": "application", "name": "envbuild", "version": envbuild.__version__},
                ]
            },
            "component": parts.subject(),
        },
        "components": sorted(parts.components, key=lambda component: str(component["bom-ref"])),
        "dependencies": parts.dependencies(),
    }
    if parts.more:
        document["compositions"] = [{"aggregate": "incomplete", "assemblies": [_IMAGE]}]
    # Equal contents have equal numbers, different ones different numbers: what a serial number is for.
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, document_bytes(document).decode()).urn
    return document_bytes(document)


class _Parts:
    """The components of one image, and what is known of how they depend on each other.

    ``more`` tells that there is more in the image than the lock lists: what a script has left, or what
    somebody else has put into the image that the base is.
    """

    def __init__(self, lock: Lock, lock_bytes: bytes, platform: str, image: ImageDescription | None) -> None:
        self._lock = lock
        self._lock_bytes = lock_bytes
        self._platform = platform
        self._image = image
        self._target = lock.target(platform)
        self._built = {built.name: built for built in self._target.built}
        self._plan = make_plan(lock, platform, lock_bytes)
        layers = image.layers if image is not None else ()
        self._layers = {layer.key: layer for layer in layers if layer.key}
        self.components = [*self._system(), *self._pythons()]
        for planned in self._plan.layers:
            self.components += self._of_layer(planned, self._layers.get(planned.key))
        locked = {package for planned in self._plan.layers for package in planned.packages}
        for layer in layers:
            self.components += [_project(layer, name) for name in layer.packages if name not in locked]
        executed = any(layer.title == POST_BUILD for layer in layers)
        self.more = executed or lock.base.image is not None

    def subject(self) -> _Component:
        """The image itself."""
        component: _Component = {
            "type": "container",
            "bom-ref": _IMAGE,
            "name": self._lock.name,
            "version": environment_id(self._lock),
        }
        properties = {
            "envbuild:env": environment_id(self._lock),
            "envbuild:lock:digest": self._plan.lock_digest,
            "envbuild:platform": self._platform,
            "envbuild:recipe": str(recipe.VERSION),
        }
        if self._image is not None:
            digest = self._image.manifest.digest
            component["version"] = digest
            component["purl"] = image_url(self._lock.name, digest, self._platform)
            component["hashes"] = _hashes(digest.removeprefix("sha256:"))
            properties["envbuild:image-id"] = self._image.image_id
        component["properties"] = _properties(properties)
        return component

    def dependencies(self) -> list[dict[str, Any]]:
        """Who needs whom, as far as the lock knows: what is left out here is not known.

        A lock names what the user asked for and the dependencies of conda packages; those of wheels and of
        Debian packages are in their metadata only.
        """
        references = {component["bom-ref"] for component in self.components}
        direct = [component["bom-ref"] for component in self.components if _is_direct(component)]
        pythons = [reference for reference in references if reference.startswith(_PYTHON)]
        base = [reference for reference in references if reference.startswith("base/")]
        systems = references & {_SYSTEM, _BASE_IMAGE}
        known = {_IMAGE: sorted([*systems, *pythons, *direct])}
        if self._lock.base.image is None:
            known[_SYSTEM] = sorted(base)
        by_name = {package.name: f"conda/{conda_url(package)}" for package in self._target.conda}
        for package in self._target.conda:
            names = {text.split()[0] for text in package.depends if text.strip()}
            known[by_name[package.name]] = sorted(by_name[name] for name in names & by_name.keys())
        return [{"ref": reference, "dependsOn": known[reference]} for reference in sorted(known)]

    def _system(self) -> Iterator[_Component]:
        """The operating system, and the image it is from if somebody else made that.

        Scanners take the release from here, to know which fixes it has.
        """
        base = self._lock.base
        name, suite = self._distribution
        if base.image is not None:
            found = base.image.platforms[self._platform]
            reference = parse_reference(base.image.reference)
            yield {
                "type": "container",
                "bom-ref": _BASE_IMAGE,
                "name": reference.name,
                "version": found.digest,
                "purl": base_image_url(reference, found.digest, self._platform),
                "hashes": _hashes(found.digest.removeprefix("sha256:")),
                "properties": _properties({"envbuild:section": "base"}),
            }
        if not name:
            return  # what is in the image does not say which system it is
        properties = {"envbuild:base": base.name, "envbuild:suite": suite}
        component: _Component = {
            "type": "operating-system",
            "bom-ref": _SYSTEM,
            "name": name,
            "properties": _properties(properties),
        }
        for deb in base.debs[self._platform] if base.image is None else ():
            if deb.name == "base-files":  # 12.4+deb12u11: which point release this is
                component["version"] = deb.version.partition(".")[0]
        yield component

    @property
    def _distribution(self) -> tuple[str, str]:
        """Name and release of the system (``debian``, ``bookworm``); empty when they are not known."""
        base = self._lock.base
        if base.image is None:
            return "debian", base.suite
        name, _, suite = base.image.platforms[self._platform].distribution.partition(" ")
        return name, suite

    def _pythons(self) -> Iterator[_Component]:
        """The interpreters: the base's, and the environment's if it brings its own."""
        version = self._target.conda_python
        yield _python("base", self._lock.base.python)
        if version is not None:
            yield _python("environment", version)

    def _of_layer(self, planned: LayerPlan, layer: LayerDescription | None) -> Iterator[_Component]:
        match planned:
            case OsLayer(debs=debs):
                yield from (_deb(deb, "base", layer, self._lock.base.suite) for deb in debs)
            case AdditionsLayer(debs=debs):
                yield from (_deb(deb, "additions", layer, self._lock.base.suite) for deb in debs)
            case AptLayer(debs=debs):
                name, suite = self._distribution
                yield from (_deb(deb, "apt", layer, suite, name) for deb in debs)
            case CondaLayer(conda=packages):
                yield from (_conda(package, layer) for package in packages)
            case WheelLayer(prefix=prefix, wheels=wheels):
                section = "server" if prefix == recipe.SERVER_PREFIX else "environment"
                sources: Mapping[str, Built] = self._built if section == "environment" else {}
                yield from (_wheel(wheel, section, layer, sources.get(wheel.name)) for wheel in wheels)


def _deb(
    deb: Deb, section: str, layer: LayerDescription | None, suite: str, distribution: str = "debian"
) -> _Component:
    url = deb_url(deb, suite, distribution)
    component = _component(section, url, deb.name, deb.version, layer, direct=deb.direct)
    return component | {"hashes": _hashes(deb.artifact.sha256)}


def _python(section: str, version: str) -> _Component:
    return {
        "type": "platform",
        "bom-ref": f"{_PYTHON}/{section}",
        "name": "python",
        "version": version,
        "properties": _properties({"envbuild:section": section}),
    }


def _conda(package: CondaPackage, layer: LayerDescription | None) -> _Component:
    url = conda_url(package)
    component = _component("conda", url, package.name, package.version, layer, direct=package.direct)
    return component | {"hashes": _hashes(package.artifact.sha256)}


def _wheel(wheel: Wheel, section: str, layer: LayerDescription | None, built: Built | None) -> _Component:
    url = wheel_url(wheel, built)
    component = _component(section, url, wheel.name, wheel.version, layer, direct=wheel.direct, built=built)
    return component | {"hashes": _hashes(wheel.artifact.sha256)}


def _project(layer: LayerDescription, package: str) -> _Component:
    """A project of the repository (``name==version``): made with the image, so no lock has it."""
    name, _, version = package.partition("==")
    return _component("project", generic_url(name, version), name, version, layer)


def _component(
    section: str,
    url: str,
    name: str,
    version: str,
    layer: LayerDescription | None,
    *,
    direct: bool = False,
    built: Built | None = None,
) -> _Component:
    """A package: what it is, in which part of the image, in which layer."""
    properties = {"envbuild:section": section}
    if direct:
        properties["envbuild:direct"] = "true"
    if built is not None:
        properties["envbuild:built-from"] = built.kind
    if layer is not None:
        properties |= {"envbuild:layer:diff-id": layer.diff_id, "envbuild:layer:digest": layer.digest}
    return {
        "type": "library",
        "bom-ref": f"{section}/{url}",
        "name": name,
        "version": version,
        "purl": url,
        "properties": _properties(properties),
    }


def _is_direct(component: _Component) -> bool:
    return {"name": "envbuild:direct", "value": "true"} in component.get("properties", ())


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _properties(values: Mapping[str, str]) -> Sequence[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(values.items())]
