"""The document of ``envbuild fingerprint --against --json`` (docs/schemas.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envbuild.fingerprint.document import Fingerprint
from envbuild.fingerprint.program import differences

__all__ = ["against_document"]


def against_document(before: Fingerprint, after: Fingerprint, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Whether two environments are the same, every difference, and what of the machines differs."""
    return {
        "same": before.digest == after.digest,
        "before": {"digest": before.digest, "image": before.image},
        "after": {"digest": after.digest, "image": after.image},
        "changes": _changes(differences(before.environment, after.environment)),
        "machine": _changes(differences(before.machine, after.machine)),
        "seconds": dict(seconds),
    }


def _changes(found: Sequence[tuple[str, Any, Any]]) -> list[dict[str, Any]]:
    return [{"what": what, "before": before, "after": after} for what, before, after in found]
