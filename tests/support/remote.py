"""Images in a registry of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from envbuild.image.model import Image
from envbuild.image.reference import parse_reference
from envbuild.inspection.remote import RemoteImage
from envbuild.progress import Silent
from envbuild.registry.push import push_images
from envbuild.registry.registries import Registries
from envbuild.store import Store
from tests.support.registry import FakeRegistry, fake_registry

__all__ = ["fetched", "pushed"]


@contextmanager
def pushed(
    store: Store, images: Sequence[Image], **options: Any
) -> Iterator[tuple[FakeRegistry, RemoteImage]]:
    """A registry (with ``options``) that has ``images`` as ``team/demo:1``; what came before is forgotten."""
    with fake_registry(**options) as registry, Registries({}) as registries:
        reference = parse_reference(f"{registry.address}/team/demo:1")
        push_images(images, [reference], store=store, registries=registries, reporter=Silent())
        registry.forget()
        yield registry, RemoteImage(reference, registries.repository(reference))


def fetched(registry: FakeRegistry) -> set[str]:
    """The digests of the blobs that were asked for."""
    return {request.target.rpartition("/")[2] for request in registry.asked("get-blob")}
