"""The documents that ``envbuild hub --json`` prints (docs/schemas.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envbuild.fleet.model import Fleet, Pin

__all__ = ["config_document"]


def config_document(
    form: str, fleet: Fleet, pins: Mapping[str, Pin], text: str, output: Path | None
) -> dict[str, Any]:
    """``hub config``: which image each environment is, and the configuration."""
    return {
        "fleet": fleet.name,
        "format": form,
        "output": str(output) if output else None,
        "digest": "sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        "environments": [{"name": name, "image": str(pin.reference)} for name, pin in pins.items()],
        "configuration": text,
    }
