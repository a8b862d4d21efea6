"""Cells and outputs for tests."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL import Image, ImageDraw

from envbuild.outputs.compare import Rules
from envbuild.outputs.notebook import Outputs, read_cells
from envbuild.outputs.pictures import PictureRules
from envbuild.outputs.text import TextRules
from envbuild.outputs.tokens import Window

STARTED = datetime(2026, 11, 21, 15, 50, 20, tzinfo=UTC)
WINDOW = Window(STARTED, STARTED + timedelta(seconds=30))
TEXT = TextRules(WINDOW)
RULES = Rules(TEXT, PictureRules())


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def display(**data: Any) -> dict[str, Any]:
    """An output with representations: ``text_plain="..."``, ``image_png=b"..."``; ``__`` is ``+``."""
    bundle = {}
    for key, value in data.items():
        kind = key.replace("__", "+").replace("_", "/", 1)
        bundle[kind] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return {"output_type": "display_data", "metadata": {}, "data": bundle}


def error(name: str, message: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": name, "evalue": message, "traceback": ["…"]}


def code(
    source: str, *outputs: dict[str, Any], count: int | None = 1, tags: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": {"tags": list(tags)} if tags else {},
        "outputs": list(outputs),
        "source": source,
    }


def notebook(*cells: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def content(*cells: dict[str, Any], **metadata: Any) -> bytes:
    return json.dumps(notebook(*cells, **metadata)).encode()


def outputs(*given: dict[str, Any]) -> Outputs:
    """What a cell with these outputs gave."""
    return read_cells(notebook(code("1", *given)))[0].outputs


def plot(colour: str = "blue", size: tuple[int, int] = (60, 40), kind: str = "PNG", **options: Any) -> bytes:
    """A line on white."""
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).line((5, 5, size[0] - 5, size[1] - 5), fill=colour, width=2)
    made = io.BytesIO()
    picture.save(made, kind, **options)
    return made.getvalue()
