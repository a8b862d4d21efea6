"""The runbook knows every error of the platform, and none that there is not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_PROJECT = Path(__file__).parents[1]
_ROOMS = ("audit.py", "binder", "cluster", "conformance", "fleet", "hub", "jobs", "metrics", "probe", "warm")


def _codes(places: list[Path]) -> set[str]:
    """The codes that errors are made with in these modules."""
    return {
        constant.value
        for place in places
        for path in ([place] if place.suffix else sorted(place.rglob("*.py")))
        if "code=" in (text := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.keyword) and node.arg == "code"
        for constant in ast.walk(node.value)
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    }


def _explained() -> set[str]:
    """What is in the first column of the runbook's tables of codes."""
    rows = re.findall(
        r"^\| ((?:`[a-z-]+`(?:, | \(\d\))?)+) \|", (_PROJECT / "docs" / "runbook.md").read_text("utf-8"), re.M
    )
    return {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}


def test_every_error_of_the_platform_is_in_the_runbook() -> None:
    platform = _codes([place for name in _ROOMS if (place := _PROJECT / "envbuild" / name).exists()])

    text = (_PROJECT / "docs" / "runbook.md").read_text("utf-8")
    assert len(platform) > 40
    assert [] == sorted(code for code in platform if f"`{code}`" not in text)


def test_every_error_in_the_runbook_exists() -> None:
    explained = _explained()

    assert len(explained) > 40
    assert [] == sorted(explained - _codes([_PROJECT / "envbuild"]))
