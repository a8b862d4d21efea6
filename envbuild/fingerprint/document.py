"""Documents of :mod:`envbuild.fingerprint.program`, read by us.

What ran in an image, or lay in a file, is not trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envbuild.errors import UsageError
from envbuild.fingerprint.program import VERSION, canonical, digest
from envbuild.source.text import printable

__all__ = ["LARGEST", "Fingerprint", "parse_fingerprint", "read_fingerprint"]

LARGEST = 1 << 26
_DEEPEST = 8
_PARTS = {"environment": dict, "machine": dict, "image": dict, "files_checked": bool}
_DIGESTS = ("lock", "image_id", "digest")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an environment is (``environment``), where that was seen (``machine``), and in which ``image``.

    ``files_checked``: installed files were compared with their RECORD. ``image`` has digests by name, those
    that are known: ``lock`` from inside, ``image_id`` and ``digest`` (the manifest's) from outside.
    """

    environment: Mapping[str, Any]
    machine: Mapping[str, Any]
    files_checked: bool
    image: Mapping[str, str | None]

    @property
    def digest(self) -> str:
        """What two environments are compared by: the digest of ``environment`` alone."""
        return digest(canonical(self.environment))

    def of_image(self, image_id: str, manifest: str) -> Fingerprint:
        """The same, with the image it was taken in."""
        return replace(self, image={**self.image, "image_id": image_id, "digest": manifest})

    def to_json(self) -> dict[str, Any]:
        """The document, with the digest that it really has."""
        return {
            "version": VERSION,
            "digest": self.digest,
            "environment": self.environment,
            "files_checked": self.files_checked,
            "image": self.image,
            "machine": self.machine,
        }


def parse_fingerprint(data: bytes) -> Fingerprint:
    """The fingerprint that ``data`` is.

    Raises:
        ValueError: it is none, or one of another version.
    """
    try:
        document = json.loads(data)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if not isinstance(document, dict) or not all(
        isinstance(document.get(name), kind) for name, kind in _PARTS.items()
    ):
        raise ValueError("is not a fingerprint")
    if document.get("version") != VERSION:
        raise ValueError(f"is not a fingerprint of version {VERSION}")
    if not _is_flat(document, _DEEPEST) or not _has_packages(document["environment"]):
        raise ValueError("is not a fingerprint")
    image = {name: value for name in _DIGESTS if isinstance(value := document["image"].get(name), str | None)}
    return Fingerprint(document["environment"], document["machine"], document["files_checked"], image)


def read_fingerprint(path: Path) -> Fingerprint:
    """The fingerprint that was saved at ``path``.

    Raises:
        UsageError: there is none.
    """
    try:
        with path.open("rb") as stream:
            return parse_fingerprint(stream.read(LARGEST))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        readable = isinstance(error, OSError) or not isinstance(
            error, json.JSONDecodeError | UnicodeDecodeError
        )
        raise UsageError(
            f"{printable(str(path))}: {reason if readable else 'is not JSON'}",
            code="bad-fingerprint",
            remedy="save one with `envbuild fingerprint > FILE`, or `envbuild-fingerprint` in a container",
        ) from error


def _is_flat(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_flat(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_flat(item, depth - 1) for item in value)
    return True


def _has_packages(environment: Mapping[str, Any]) -> bool:
    kinds = [environment.get("packages"), environment.get("conda", {})]
    return all(isinstance(kind, dict) for kind in kinds) and all(
        isinstance(package, dict) and isinstance(package.get("altered", {}), dict)
        for kind in kinds
        for package in kind.values()
    )
