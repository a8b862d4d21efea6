"""What is to be verified, with what, and the verdict: what ``envbuild verify`` does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from envbuild.errors import RepoError, UsageError
from envbuild.image.descriptor import Descriptor
from envbuild.inspection.inside import read_inside
from envbuild.inspection.inspector import Inspector
from envbuild.inspection.layout import CachedImage
from envbuild.inspection.medium import Medium
from envbuild.inspection.view import chosen_manifests, read_image
from envbuild.lock.difference import PACKAGES, lock_difference
from envbuild.lock.lockfile import FILENAME
from envbuild.lock.model import Lock
from envbuild.plan import environment_id
from envbuild.progress import Reporter
from envbuild.proof.claim import Claim, Form, claim_of, require_no_source
from envbuild.proof.rebuilding import Recipe, rebuild
from envbuild.proof.verification import ImageVerdict, verify_image
from envbuild.source.text import quote
from envbuild.store.images import StoredImage, stored_images

if TYPE_CHECKING:
    from envbuild.build import Builder

__all__ = ["Verification", "Verifier"]

_MOST_CHANGES = 20


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict on an image.

    ``name`` is what the image is called; None when there was none, and the lock was built twice instead.
    """

    name: str | None
    verdicts: tuple[ImageVerdict, ...]

    @property
    def proven(self) -> bool:
        """Whether every image is what its lock makes."""
        return all(verdict.proven for verdict in self.verdicts)


@dataclass(frozen=True)
class Verifier:
    """Verifies images.

    Parameters:
        recipe: what the repository's images for these platforms are made from, with its own lock, which must
            be fresh; None without a repository.
        usual: a builder that works with the cache, as for any build.
        fresh: one that has nothing that was made before, and compresses layers in this way.
        shared: the image of an environment's id in the shared cache, None when there is none.
    """

    inspector: Inspector
    recipe: Callable[[Sequence[str]], Recipe] | None
    usual: Callable[[Recipe], Builder]
    fresh: Callable[[Recipe, str], Builder]
    shared: Callable[[str], Medium | None]
    reporter: Reporter

    def image(self, name: str, platforms: Sequence[str]) -> Verification:
        """Verify the image ``name``, for ``platforms`` or, without any, for all it has.

        Raises:
            UsageError: it is no image of ours, or the repository is needed and there is none.
            RepoError: it is of another lock, or making it fails.
            RemoteError: the registry, or where packages come from, fails.
            MachineError: it cannot be made on this machine.
        """
        medium = self.inspector.medium(self.inspector.place(name))
        return Verification(medium.name, self._verdicts(medium, platforms))

    def own(self, platforms: Sequence[str]) -> Verification:
        """Verify the repository's image that the cache or the shared cache has; else build it twice.

        Raises:
            as :meth:`image`.
        """
        assert self.recipe is not None
        recipe = self.recipe(platforms)
        medium = self._known(recipe, platforms)
        if medium is not None:
            return Verification(medium.name, self._verdicts(medium, platforms))
        self.reporter.note("there is no image of this lock: it is built twice, and the two are compared")
        built = rebuild(recipe, "complete", platforms, self.usual(recipe))
        now = datetime.now(UTC)
        stored = (StoredImage(recipe.lock.name, one.platform, one.manifest, now) for one in built.images)
        return Verification(
            None,
            self._verdicts(CachedImage(built.store, tuple(stored), self.inspector.registries), platforms),
        )

    def _known(self, recipe: Recipe, platforms: Sequence[str]) -> Medium | None:
        """An image made from this very lock: one with the repository's files if there is one."""
        store = self.inspector.store
        named: dict[str, list[StoredImage]] = {}
        for image in sorted(stored_images(store), key=lambda image: image.used, reverse=True):
            named.setdefault(image.name, []).append(image)
        found: list[tuple[bool, Medium]] = []
        for images in named.values():
            medium = CachedImage(store, tuple(images), self.inspector.registries)
            form = self._form(medium, recipe, platforms)
            if form is not None:
                found.append((form != "complete", medium))
        if found:
            return min(found, key=lambda one: one[0])[1]
        shared = self.shared(environment_id(recipe.lock))
        if shared is not None and self._form(shared, recipe, platforms) is not None:
            return shared
        return None

    def _form(self, medium: Medium, recipe: Recipe, platforms: Sequence[str]) -> Form | None:
        """What an image claims to be; None unless it is for ``platforms`` and says it is of this lock."""
        try:
            view = next(read_image(medium, one) for one in self._manifests(medium, platforms))
            digest = "sha256:" + hashlib.sha256(recipe.lock_bytes).hexdigest()
            if view.builder != "envbuild" or view.lock_digest != digest:
                return None
            return claim_of(medium.name, view, read_inside(medium, view)).form
        except (UsageError, RepoError):
            return None

    def _manifests(self, medium: Medium, platforms: Sequence[str]) -> Sequence[Descriptor]:
        entries = medium.entries()
        if platforms or not entries.images:
            return chosen_manifests(medium, entries, platforms, "")
        return entries.images

    def _verdicts(self, medium: Medium, platforms: Sequence[str]) -> tuple[ImageVerdict, ...]:
        builders: dict[tuple[bytes, str], Builder] = {}
        verdicts = []
        for manifest in self._manifests(medium, platforms):
            view = read_image(medium, manifest)
            claim = claim_of(medium.name, view, read_inside(medium, view))
            recipe = self._recipe(medium.name, claim, view.platform)
            key = recipe.lock_bytes, claim.compression
            if key not in builders:
                builders[key] = self.fresh(recipe, claim.compression)
            rebuilt = rebuild(recipe, claim.form, (view.platform,), builders[key])
            bring = builders[key].layers.bring
            made = rebuilt.images[0]
            verdicts.append(verify_image(medium, view, made, rebuilt.store, self.reporter, bring))
        return tuple(verdicts)

    def _recipe(self, name: str, claim: Claim, platform: str) -> Recipe:
        """What an image that is claimed to be ``claim`` has to be made from."""
        if all(target.platform != platform for target in claim.lock.targets):
            raise RepoError(
                f"{quote(name)} cannot be what its lock says: that has nothing for {quote(platform)}",
                code="bad-lock-inside",
                remedy="do not use it; build it anew from the repository",
            )
        if self.recipe is None:
            require_no_source(name, claim, self.inspector.store)
            return Recipe(claim.lock, claim.lock_bytes)
        recipe = self.recipe((platform,))
        if recipe.lock_bytes != claim.lock_bytes:
            raise _other_lock(name, claim.lock, recipe.lock)
        return recipe


def _other_lock(name: str, inside: Lock, own: Lock) -> RepoError:
    changes = lock_difference(inside, own)
    packages = [change for change in changes if change.kind in PACKAGES]
    lines = [
        f"{change.name}: {change.before or 'none'} in the image, {change.after or 'none'} here"
        for change in (packages or changes)[:_MOST_CHANGES]
    ]
    return RepoError(
        f"{quote(name)} was made from another lock",
        code="other-lock",
        file=FILENAME,
        remedy=f"`envbuild verify --image {name}` verifies an environment with the lock in it;"
        f" `envbuild diff {name} .` shows all that differs",
        detail="\n".join(lines) or None,
    )
