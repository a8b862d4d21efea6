"""How an object in the cluster differs from what it is to become, for people."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from envbuild.cluster.api import Object

__all__ = ["changed", "difference"]

# What the server keeps books with; it changes without anything having changed.
_BOOKKEEPING = frozenset(
    {"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
)
_KEPT_BY_OTHERS = frozenset(
    {
        "deployment.kubernetes.io/revision",
        "deprecated.daemonset.template.generation",
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)


def changed(before: Object | None, after: Object | None) -> bool:
    """Whether anything differs that somebody has set."""
    return _told(before) != _told(after)


def difference(before: Object | None, after: Object | None, title: str) -> str:
    """A unified diff of both as YAML, empty when nothing differs.

    None is an object that is not there. Values of Secrets are not shown.

    Parameters:
        title: what the diff is of, for its head.
    """
    old, new = _told(before), _told(after)
    if old == new:
        return ""
    if "Secret" in {(each or {}).get("kind") for each in (before, after)}:
        _hide(old, new)
    lines = difflib.unified_diff(
        _lines(old), _lines(new), f"{title} (cluster)", f"{title} (wanted)", lineterm=""
    )
    return "\n".join(lines) + "\n"


def _told(item: Object | None) -> Object:
    """What somebody has set: without the server's bookkeeping and without what happens to be."""
    if item is None:
        return {}
    told = {key: value for key, value in item.items() if key != "status"}
    metadata = {key: value for key, value in (item.get("metadata") or {}).items() if key not in _BOOKKEEPING}
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _KEPT_BY_OTHERS
    }
    metadata.pop("annotations", None)
    return {**told, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}


def _hide(old: Object, new: Object) -> None:
    """Replace the values of a Secret so that only whether they differ can be seen."""
    for key in ("data", "stringData"):
        before, after = dict(old.get(key) or {}), dict(new.get(key) or {})
        for name in {*before, *after}:
            same = before.get(name) == after.get(name)
            if name in before:
                before[name] = "***" if same else "*** (before)"
            if name in after:
                after[name] = "***" if same else "*** (after)"
        for side, hidden in ((old, before), (new, after)):
            if hidden:
                side[key] = hidden


def _lines(item: Mapping[str, Any]) -> list[str]:
    import yaml

    # A line is not folded: a value that changed is one line less and one more.
    text: str = yaml.safe_dump(dict(item), sort_keys=True, allow_unicode=True, width=10**6) if item else ""
    return text.splitlines()
