"""The document that ``envbuild verify-image --json`` prints (docs/schemas.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envbuild.conformance.model import Result, Subject

__all__ = ["verify_image_document"]


def verify_image_document(
    subject: Subject, engine: str, results: Sequence[Result], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``verify-image``: the image, and what came of each test."""
    return {
        "image": subject.name,
        "image_id": subject.image_id,
        "engine": engine,
        "places": list(subject.places),
        "passed": all(result.outcome.state == "passed" for result in results),
        "tests": [
            {
                "id": result.test.id,
                "title": result.test.title,
                "state": result.outcome.state,
                "seen": result.outcome.seen,
                "relied_on_by": result.test.relied_on_by,
                "remedy": result.test.remedy,
                "seconds": round(result.seconds, 3),
                "log": result.log or None,
            }
            for result in results
        ],
        "seconds": dict(seconds),
    }
