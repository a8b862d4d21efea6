"""Small images made of files in memory, or of this machine's own programs, so that they can be started."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from envbuild.image.config import canonical, image_manifest
from envbuild.image.model import Image, Layer
from envbuild.pack.blob import pack_entries
from envbuild.pack.tar import Entry, complete, directory, file
from envbuild.store import Store
from tests.support.registry import FakeRegistry

__all__ = ["hold_image", "host_image", "make_image"]


def make_image(
    store: Store,
    layers: Sequence[Iterable[Entry]],
    *,
    compression: str = "zstd",
    entrypoint: Sequence[str] = (),
    env: Sequence[str] = (),
    platform: str = "linux/amd64",
) -> Image:
    """An image in ``store`` with one layer per collection of entries, bottom to top."""
    made = []
    for number, entries in enumerate(layers):
        packed = pack_entries(store, complete(entries), compression)
        made.append(
            Layer(f"layer {number}", packed.diff_id, packed.digest, packed.size, packed.raw_size, compression)
        )
    config = {
        "architecture": platform.partition("/")[2],
        "config": {
            "Entrypoint": list(entrypoint),
            "Env": ["PATH=/usr/bin", "HOME=/home/jovyan", *env],
            "Labels": {},
            "User": "1000:100",
            "WorkingDir": "/srv/repo",
        },
        "os": "linux",
        "rootfs": {"diff_ids": [layer.diff_id for layer in made], "type": "layers"},
    }
    blob = store.put_blob(canonical(config))
    manifest = image_manifest(config, made, config_digest=blob.digest, config_size=blob.size)
    return Image(platform, blob, store.put_blob(canonical(manifest)), tuple(made))


def hold_image(registry: FakeRegistry, repository: str, store: Store, image: Image) -> str:
    """Have ``registry`` hold an image of ``store``; returns its reference with the digest."""
    for blob in (image.config, *image.layers):
        registry.put_blob(repository, store.blob_path(blob.digest).read_bytes())
    digest = registry.put_manifest(repository, store.blob_path(image.manifest.digest).read_bytes())
    return f"{registry.address}/{repository}@{digest}"


def host_image(store: Store, *programs: str, added: Iterable[Entry] = (), env: Sequence[str] = ()) -> Image:
    """An image with these programs of this machine (and ``sh``) in ``/usr/bin``, what they link to, and
    ``added``.
    """
    entries = {name: directory(name) for name in ("home/jovyan", "srv/repo", "tmp", "dev", "proc", "etc")}
    entries |= {os.fsdecode(entry.path): entry for entry in added}
    libraries: dict[str, Entry] = {}
    for name in ("sh", *programs):
        place = shutil.which(name)
        assert place is not None, f"{name} is not installed"
        entries[f"usr/bin/{name}"] = file(f"usr/bin/{name}", Path(place).read_bytes(), executable=True)
        linked = subprocess.run(["ldd", place], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(/\S+) \(0x", linked):
            libraries[path] = file(path.lstrip("/"), Path(path).read_bytes(), executable=True)
    return make_image(
        store,
        [libraries.values(), entries.values(), [file("etc/layer", json.dumps("top").encode())]],
        env=env,
    )
