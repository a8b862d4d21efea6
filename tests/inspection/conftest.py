"""An image as envbuild makes it, without building one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from envbuild.image.config import canonical, image_config, image_manifest
from envbuild.image.model import Image, Layer
from envbuild.layers import GLUE_TITLE
from envbuild.lock.lockfile import dump_lock
from envbuild.lock.model import Lock
from envbuild.pack.blob import pack_entries
from envbuild.pack.glue import glue_entries
from envbuild.pack.tar import Entry, complete, file
from envbuild.store import Store
from tests.support.locks import small_lock, small_wheel

LOCK = small_lock(small_wheel("numpy", "2.0"), small_wheel("pandas", "3.0"))


@dataclass
class Studio:
    """Makes images in a store."""

    store: Store

    def image(
        self,
        lock: Lock = LOCK,
        *,
        platform: str = "linux/amd64",
        compression: str = "zstd",
        glue: Sequence[Entry] | None = None,
        lock_digest: str | None = None,
    ) -> Image:
        """An image with a layer for each package of ``lock``, and the one that has the lock."""
        data = dump_lock(lock)
        if glue is None:
            glue = glue_entries(
                name=lock.name,
                display_name=lock.display_name,
                python=lock.base.python,
                executable=lock.base.executable(platform),
                kernels=lock.kernels,
                lock=data,
                environment="env-0123456789abcdef",
                own_server=False,
            )
        packages = [(wheel.name, wheel.version) for wheel in lock.targets[0].wheels]
        contents = [
            (name, (f"{name}=={version}",), [file(f"srv/{name}", f"{name} {version}".encode())])
            for name, version in packages
        ]
        layers = [
            Layer.of(
                pack_entries(self.store, complete(entries), compression),
                title,
                own,
                key=hashlib.sha256(repr((title, own)).encode()).hexdigest(),
            )
            for title, own, entries in [*contents, (GLUE_TITLE, (), list(glue))]
        ]
        config = image_config(
            lock,
            platform=platform,
            env="env-0123456789abcdef",
            lock_digest=lock_digest or "sha256:" + hashlib.sha256(data).hexdigest(),
            layers=layers,
        )
        blob = self.store.put_blob(canonical(config))
        manifest = image_manifest(config, layers, config_digest=blob.digest, config_size=blob.size)
        return Image(platform, blob, self.store.put_blob(canonical(manifest)), tuple(layers))


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    store = Store(tmp_path / "cache")
    store.prepare()
    return Studio(store)
