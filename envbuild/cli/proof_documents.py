"""The documents that ``--json`` prints for what is inspected and compared (docs/schemas.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from envbuild.cli.documents import changes_document
from envbuild.image.descriptor import Descriptor
from envbuild.inspection.inspector import Seen, SeenImage
from envbuild.inspection.view import LayerView
from envbuild.lock.model import Lock
from envbuild.proof.difference import Difference
from envbuild.proof.layers import LayerDifference, LayerFact
from envbuild.proof.verification import ImageVerdict
from envbuild.proof.verifier import Verification

if TYPE_CHECKING:
    from envbuild.attest.finished import Checked

__all__ = ["difference_document", "inspect_document", "signature_document", "verify_document"]


def inspect_document(seen: Seen) -> dict[str, Any]:
    """``inspect``: what is there, and of images what they say and what the lock in them says."""
    return {
        "name": seen.name,
        "kind": seen.kind,
        "digest": _digest(seen),
        "media_type": seen.top.media_type if seen.top else None,
        "platforms": list(seen.platforms),
        "lock": None if seen.images or seen.lock is None else _lock(seen.lock),
        "images": [_image(image) for image in seen.images],
        "attached": [_attached(descriptor) for descriptor in seen.attached],
    }


def _digest(seen: Seen) -> str | None:
    if not seen.images and seen.lock_bytes is not None:
        return "sha256:" + hashlib.sha256(seen.lock_bytes).hexdigest()
    return seen.top.digest if seen.top else None


def _lock(lock: Lock) -> dict[str, Any]:
    base = lock.base
    return {
        "name": lock.name,
        "cutoff": lock.cutoff,
        "inputs": lock.inputs,
        "resolver": lock.resolver,
        "recipe": lock.recipe,
        "base": {
            "recipe": base.recipe or None,
            "image": f"{base.image.reference}@{base.image.digest}" if base.image else None,
            "suite": base.suite,
            "glibc": base.glibc,
            "date": base.date,
        },
        "python": _python(lock, None),
        "kernels": sorted({lock.name, "python3", *lock.kernels, *dict(lock.other_kernels)}),
        "variables": dict(lock.variables),
        "packages": {target.platform: target.versions for target in lock.targets},
    }


def _python(lock: Lock, platform: str | None) -> str:
    of = [target.conda_python for target in lock.targets if platform in (None, target.platform)]
    return next((version for version in of if version), lock.base.python)


def _image(image: SeenImage) -> dict[str, Any]:
    view, inside = image.view, image.inside
    lock = inside.lock
    return {
        "platform": view.platform,
        "image_id": view.image_id,
        "digest": view.manifest.digest,
        "size": view.size,
        "created": view.created,
        "builder": view.builder,
        "recipe": view.recipe,
        "env": view.environment,
        "lock_digest": view.lock_digest,
        "lock": _lock(lock) if lock else None,
        "lock_matches": inside.lock_digest == view.lock_digest if inside.lock_digest else None,
        "trouble": inside.trouble,
        "python": _python(lock, view.platform) if lock else None,
        "kernels": [
            {"name": kernel.name, "display_name": kernel.display_name, "language": kernel.language}
            for kernel in inside.kernels
        ],
        "labels": view.labels,
        "layers": [_layer(layer) for layer in view.layers],
    }


def _layer(layer: LayerView) -> dict[str, Any]:
    return {
        "title": layer.title,
        "packages": list(layer.packages),
        "digest": layer.digest,
        "diff_id": layer.diff_id,
        "size": layer.size,
        "raw_size": layer.raw_size,
        "compression": layer.compression,
        "key": layer.key or None,
    }


def _attached(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "artifact_type": descriptor.artifact_type,
        "media_type": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
        "annotations": dict(descriptor.annotations),
    }


def difference_document(before: Seen, after: Seen, found: Difference) -> dict[str, Any]:
    """``diff``: every change from ``before`` to ``after``."""
    return {
        "before": _side(before),
        "after": _side(after),
        "identical": found.identical,
        "same": found.same,
        "platform": found.platform,
        "changes": None if found.lock is None else changes_document(found.lock),
        "config": None
        if found.config is None
        else [
            {"name": change.name, "before": change.before, "after": change.after} for change in found.config
        ],
        "layers": None if found.layers is None else _layers(found.layers),
    }


def _side(seen: Seen) -> dict[str, Any]:
    view = seen.images[0].view if seen.images else None
    return {
        "name": seen.name,
        "kind": seen.kind,
        "image_id": view.image_id if view else None,
        "digest": view.manifest.digest if view else None,
        "has_lock": seen.lock is not None,
    }


def _layers(found: LayerDifference) -> dict[str, Any]:
    return {
        "shared": len(found.shared),
        "moved": found.moved,
        "changed": [
            {"title": change.title, "before": _fact(change.before), "after": _fact(change.after)}
            for change in found.changed
        ],
        "pull": found.pull,
        "pull_above": found.pull_above,
    }


def _fact(fact: LayerFact | None) -> dict[str, Any] | None:
    if fact is None:
        return None
    return {"digest": fact.digest, "size": fact.size, "packages": list(fact.packages)}


def verify_document(
    found: Verification, checked: Checked | None, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``verify``: the verdict on an image, and on each of its layers; its signature, if that was checked."""
    return {
        "proven": found.proven,
        "image": found.name,
        "signature": _signature(checked) if checked is not None else None,
        "images": [_verdict(verdict) for verdict in found.verdicts],
        "seconds": dict(seconds),
    }


def signature_document(checked: Checked, seconds: Mapping[str, float]) -> dict[str, Any]:
    """``verify --signature``: as ``verify``, for an image that was not built again."""
    return {
        "proven": None,
        "image": str(checked.reference),
        "signature": _signature(checked),
        "images": [],
        "seconds": dict(seconds),
    }


def _signature(checked: Checked) -> dict[str, Any]:
    return {
        "digest": checked.digest,
        "names": list(checked.signed.names),
        "statements": list(checked.signed.statements),
    }


def _verdict(verdict: ImageVerdict) -> dict[str, Any]:
    return {
        "platform": verdict.platform,
        "proven": verdict.proven,
        "identical": verdict.identical,
        "image_id": verdict.image_id,
        "digest": verdict.digest,
        "expected": {"image_id": verdict.expected_id, "digest": verdict.expected_digest},
        "config": [
            {"name": change.name, "before": change.before, "after": change.after} for change in verdict.config
        ],
        "hint": verdict.hint,
        "layers": [
            {
                "title": layer.title,
                "state": layer.state,
                "packages": list(layer.packages),
                "expected": layer.expected,
                "found": layer.found,
                "executed": layer.executed,
                "differing": layer.differing,
                "files": [{"path": file.path, "how": list(file.how)} for file in layer.files],
                "trouble": layer.trouble,
            }
            for layer in verdict.layers
        ],
    }
