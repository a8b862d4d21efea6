"""Locking a registry's image as a base: which one it is, and what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from envbuild.base.recipe import BaseRecipe
from envbuild.errors import RepoError
from envbuild.image.base_config import BaseConfig
from envbuild.image.finding import Bring
from envbuild.image.model import Layer, layer_compression
from envbuild.image.reference import Reference, parse_reference
from envbuild.lock.model import Base, BaseImage, ImageLayer, PlatformImage
from envbuild.progress import Reporter
from envbuild.registry.places import remember_place
from envbuild.registry.registries import Registries
from envbuild.registry_base.dpkg import Installed
from envbuild.registry_base.inspect import Findings, inspect
from envbuild.registry_base.manifests import ImageManifest, lost_base, read_config, resolve_platforms
from envbuild.registry_base.python import Unfit
from envbuild.registry_base.root import Root
from envbuild.spec.model import BaseRequest
from envbuild.spec.variables import kept_of_base
from envbuild.store import Store

__all__ = ["ImageLocker", "image_recipe", "manylinux"]

_VERSION: Final = 2  # of what is remembered about an image
# The manylinux policies that resolvers know (uv's --python-platform).
_POLICIES: Final = (17, 28, *range(31, 41))
# What is taken from Debian's packages is linked to nothing.
_EXCLUDED: Final = {
    "debconf": "nothing is asked",
    "libc6": "tini-static is linked statically",
    "openssl": "the bundle of authorities is written without it",
}


@dataclass(frozen=True, slots=True)
class ImageLocker:
    """Looks at images in registries.

    Parameters:
        registries: made when somebody has to be asked.
        bring: gets layers into the store.
    """

    store: Store
    registries: Callable[[], Registries]
    bring: Bring
    reporter: Reporter

    def lock(
        self, request: BaseRequest, platforms: Sequence[str], kept: Base | None, newest: BaseRecipe
    ) -> BaseRecipe:
        """The recipe of the base that ``request`` asks for.

        Parameters:
            kept: the base of an earlier lock: what its name stood for then counts, if the name is the same.
            newest: the recipe whose server, and suite for what is added, it gets.

        Raises:
            RepoError: there is no such image, or it cannot be a base; with the place where it is asked for.
            RemoteError: the registry failed.
        """
        earlier = kept.image if kept is not None and kept.image is not None else None
        if earlier is not None and earlier.reference != request.reference:
            earlier = None
        with _placed(request):
            reference = parse_reference(request.reference)
            if kept is not None and earlier is not None and set(platforms) <= earlier.platforms.keys():
                images = {platform: earlier.platforms[platform] for platform in platforms}
                image = BaseImage(request.reference, earlier.digest, images)
                return image_recipe(image, kept.python, kept.glibc, newest)
            wanted = sorted(platforms)
            if earlier is not None:
                digest, manifests = self._kept(reference, earlier.digest, wanted)
            else:
                repository = self.registries().repository(reference)
                digest, manifests = resolve_platforms(reference, repository, wanted, self.store)
            seen = {
                platform: self._look_at(manifest, reference, platform)
                for platform, manifest in manifests.items()
            }
            pythons = {platform: findings.python for platform, (_, findings) in seen.items()}
            if len(set(pythons.values())) > 1:
                said = ", ".join(f"{version} on {platform}" for platform, version in sorted(pythons.items()))
                raise RepoError(
                    f"the base {request.reference} has different Pythons: {said}",
                    code="base-platforms-differ",
                    remedy="use another image, or lock for one platform (--platform)",
                )
            images = {platform: image for platform, (image, _) in seen.items()}
            glibc = min((manylinux(findings.glibc) for _, findings in seen.values()), key=_minor)
            image = BaseImage(request.reference, digest, images)
            return image_recipe(image, next(iter(pythons.values())), glibc, newest)

    def packages(self, base: BaseImage, platform: str) -> tuple[Installed, ...]:
        """What dpkg administers in the image that ``base`` is for ``platform``.

        Raises: as :meth:`lock`.
        """
        image = base.platforms[platform]
        known = self._remembered(image.digest)
        if known is not None:
            return known[1].packages
        reference = parse_reference(base.reference)
        _, manifests = self._kept(reference, image.digest, [platform])
        return self._look_at(manifests[platform], reference, platform)[1].packages

    def _kept(
        self, reference: Reference, digest: str, platforms: Sequence[str]
    ) -> tuple[str, dict[str, ImageManifest]]:
        """As :func:`resolve_platforms`, for the image ``digest`` that a lock has."""
        repository = self.registries().repository(reference)
        try:
            return resolve_platforms(reference.with_digest(digest), repository, platforms, self.store)
        except RepoError as error:
            if error.code != "base-missing":
                raise
            raise lost_base(reference, digest) from error

    def _look_at(
        self, manifest: ImageManifest, reference: Reference, platform: str
    ) -> tuple[PlatformImage, Findings]:
        """What is in an image: as remembered, or found now."""
        known = self._remembered(manifest.manifest.digest)
        if known is None:
            known = self._inspect(manifest, reference, platform)
            image, findings = known
            record = {"image": asdict(image), "findings": asdict(findings)}
            self.store.put_action(_key(manifest.manifest.digest), record)
        self.store.put_blob(manifest.data)
        for layer in manifest.layers:
            remember_place(self.store, layer.digest, reference.name)
        return known

    def _inspect(
        self, manifest: ImageManifest, reference: Reference, platform: str
    ) -> tuple[PlatformImage, Findings]:
        # Slow to import, and what is remembered needs no unpacking.
        from envbuild.engine.trees import unpack_foreign

        repository = self.registries().repository(reference)
        config = read_config(manifest, reference, repository, self.store)
        if config.platform != platform:
            raise RepoError(
                f"{reference} says it is for {platform}, and is for {config.platform}",
                code="base-wrong-architecture",
                remedy="tell who makes the image, and use another one",
            )
        for descriptor in manifest.layers:
            remember_place(self.store, descriptor.digest, reference.name)
        layers = _layers(manifest, config, str(reference))
        self.bring(layers, self.reporter)
        root, sizes = unpack_foreign(layers, self.store, self.reporter)
        try:
            findings = inspect(Root(root), config, platform)
        except Unfit as unfit:
            raise RepoError(
                f"the base {reference} {unfit.reason}", code=unfit.code, remedy=unfit.remedy
            ) from unfit
        return _platform_image(manifest, config, findings, sizes), findings

    def _remembered(self, digest: str) -> tuple[PlatformImage, Findings] | None:
        record = self.store.action(_key(digest))
        if record is None:
            return None
        image, findings = record["image"], record["findings"]
        layers = tuple(ImageLayer(**layer) for layer in image["layers"])
        variables = tuple((name, value) for name, value in image["variables"])
        packages = tuple(_installed(package) for package in findings["packages"])
        return (
            PlatformImage(**{**image, "layers": layers, "variables": variables}),
            Findings(**{**findings, "packages": packages}),
        )


def image_recipe(image: BaseImage, python: str, glibc: str, newest: BaseRecipe) -> BaseRecipe:
    """The recipe of the base that ``image`` is.

    Parameters:
        python, glibc: the exact version, and the newest manylinux policy it fits.
        newest: the recipe whose server, and suite for what is added, it gets.
    """
    without = any(not one.certificates for one in image.platforms.values())
    return replace(
        newest,
        name=image.reference,
        python=python,
        glibc=glibc,
        platforms=tuple(sorted(image.platforms)),
        packages=("ca-certificates", "tini") if without else ("tini",),
        excluded=_EXCLUDED,
        scripts={},
        digest="",
        image=image,
    )


def manylinux(glibc: str) -> str:
    """The newest manylinux policy (``2.36``) that resolvers know and the C library ``glibc`` fits.

    >>> manylinux("2.41"), manylinux("2.36"), manylinux("2.27")
    ('2.40', '2.36', '2.17')

    Raises:
        Unfit: it is older than any.
    """
    fitting = [policy for policy in _POLICIES if policy <= _minor(glibc)]
    if not fitting:
        raise RepoError(
            f"the base's C library, glibc {glibc}, is too old for today's wheels",
            code="base-old-glibc",
            remedy=f"use an image with glibc 2.{_POLICIES[0]} or newer",
        )
    return f"2.{fitting[-1]}"


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def _layers(manifest: ImageManifest, config: BaseConfig, title: str) -> list[Layer]:
    """The image's layers, the sizes of whose tars are not known yet."""
    return [
        Layer(
            title,
            diff_id,
            descriptor.digest,
            descriptor.size,
            0,
            layer_compression(descriptor.media_type) or "none",
            foreign=True,
        )
        for descriptor, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    ]


def _platform_image(
    manifest: ImageManifest, config: BaseConfig, findings: Findings, sizes: Sequence[int]
) -> PlatformImage:
    described = zip(manifest.layers, config.diff_ids, sizes, strict=True)
    return PlatformImage(
        digest=manifest.manifest.digest,
        media_type=manifest.manifest.media_type,
        size=manifest.manifest.size,
        config=manifest.config.digest,
        config_size=manifest.config.size,
        layers=tuple(
            ImageLayer(layer.digest, layer.media_type, layer.size, diff_id, size)
            for layer, diff_id, size in described
        ),
        python=findings.executable,
        shell=findings.shell,
        certificates=findings.certificates,
        distribution=findings.distribution,
        passwd=findings.passwd,
        group=findings.group,
        variables=kept_of_base(config.variables),
    )


def _installed(values: dict[str, Any]) -> Installed:
    fields = tuple((name, value) for name, value in values["fields"])
    return Installed(values["name"], values["version"], values["architecture"], fields)


def _key(digest: str) -> str:
    return hashlib.sha256(f"base findings {_VERSION} {digest}".encode()).hexdigest()


@contextmanager
def _placed(request: BaseRequest) -> Iterator[None]:
    """Errors about the image name the place where the repository asks for it."""
    try:
        yield
    except RepoError as error:
        if error.file is None and request.file is not None:
            error.file, error.line = request.file, request.line
        raise
