"""Locks whose base is a registry's image, as values."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from envbuild.image.config import MANIFEST_TYPE
from envbuild.lock.model import BaseImage, ImageLayer, Lock, PlatformImage
from tests.support.locks import PLATFORM, small_lock

__all__ = ["REFERENCE", "lock_on_image", "platform_image"]

REFERENCE = "registry.example.org/team/python:3.12"
_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def platform_image(**changes: object) -> PlatformImage:
    """An image of two layers, with a Python in ``/usr/local``."""
    layers = tuple(
        ImageLayer(_digest(f"blob {number}"), _GZIP, 1000 + number, _digest(f"tar {number}"), 5000 + number)
        for number in range(2)
    )
    image = PlatformImage(
        digest=_digest("manifest"),
        media_type=MANIFEST_TYPE,
        size=700,
        config=_digest("config"),
        config_size=800,
        layers=layers,
        python="/usr/local/bin/python3.12",
        shell="/bin/bash",
        certificates="/etc/ssl/certs/ca-certificates.crt",
        distribution="debian bookworm",
        passwd="root:x:0:0:root:/root:/bin/bash\n",
        group="root:x:0:\nusers:x:100:\n",
        variables=(("LANG", "C.UTF-8"), ("PATH", "/usr/local/bin:/usr/bin:/bin")),
    )
    return replace(image, **changes)  # type: ignore[arg-type]


def lock_on_image(image: PlatformImage | None = None) -> Lock:
    """A lock of one package on such an image."""
    lock = small_lock()
    platforms = {PLATFORM: image or platform_image()}
    base = replace(
        lock.base,
        recipe="",
        suite="trixie",
        python="3.12.4",
        image=BaseImage(REFERENCE, _digest("index"), platforms),
    )
    return replace(lock, base=base)


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
