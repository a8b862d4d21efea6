"""A document as the program makes it."""

from __future__ import annotations

from typing import Any

import pytest

from envbuild.fingerprint.program import fingerprint


@pytest.fixture(scope="session")
def _taken() -> dict[str, Any]:
    return fingerprint()


@pytest.fixture
def document(_taken: dict[str, Any]) -> dict[str, Any]:
    """The fingerprint of this Python, to be changed at will."""
    return {**_taken, "image": {"lock": "sha256:1", "image_id": None, "digest": None}}
