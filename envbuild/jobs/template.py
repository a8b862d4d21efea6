"""Pod templates of the user's: what a cluster needs beside what every build has (selectors, tolerations).

A file is a partial PodTemplateSpec in YAML. It is merged as Kubernetes merges: mappings key by key, lists
whose elements have names by these, other lists as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from envbuild.errors import UsageError

__all__ = ["merge", "read_template"]

_MOST_BYTES: Final = 1 << 20
# Elements of these lists are told apart by another key than their name.
_KEYS: Final = {"volumeMounts": "mountPath", "ports": "containerPort", "hostAliases": "ip"}
_PARTS: Final = frozenset({"metadata", "spec"})


def read_template(path: Path) -> dict[str, Any]:
    """What is in the file at ``path``.

    Raises:
        UsageError: it cannot be read, is no YAML, or is no partial PodTemplateSpec.
    """
    import yaml

    remedy = "write a partial PodTemplateSpec: `spec:` with what pods of builds need, and nothing else"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"this cannot be read: {error.strerror}",
            code="bad-pod-template",
            file=str(path),
            remedy="name the file with --pod-template",
        ) from error
    if len(data) > _MOST_BYTES:
        raise UsageError("this is too large", code="bad-pod-template", file=str(path), remedy=remedy)
    try:
        found = yaml.safe_load(data)
    except Exception as error:  # PyYAML lets through whatever its parts raise, ValueError for 2026-13-01
        mark = getattr(error, "problem_mark", None)
        raise UsageError(
            f"this is not YAML: {getattr(error, 'problem', None) or 'it cannot be decoded'}",
            code="bad-pod-template",
            file=str(path),
            line=mark.line + 1 if mark is not None else None,
            remedy=remedy,
        ) from error
    wrong = sorted(str(key) for key in found if key not in _PARTS) if isinstance(found, dict) else []
    if not isinstance(found, dict) or wrong or not all(isinstance(part, dict) for part in found.values()):
        what = f"{wrong[0]!r} does not belong here" if wrong else "this is not a pod template"
        raise UsageError(what, code="bad-pod-template", file=str(path), remedy=remedy)
    return found


def merge(ours: dict[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """``ours`` with what ``template`` adds or replaces; null takes away.

    >>> merge({"spec": {"tolerations": [], "hostNetwork": False}}, {"spec": {"hostNetwork": True}})
    {'spec': {'tolerations': [], 'hostNetwork': True}}
    """
    merged = dict(ours)
    for key, value in template.items():
        before = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(before, dict):
            merged[key] = merge(before, value)
        elif isinstance(value, list) and isinstance(before, list):
            merged[key] = _merged_lists(before, value, _KEYS.get(key, "name"))
        else:
            merged[key] = value
    return merged


def _merged_lists(before: list[Any], after: list[Any], key: str) -> list[Any]:
    if not all(isinstance(one, dict) and key in one for one in (*before, *after)):
        return after
    found = {one[key]: one for one in before}
    for one in after:
        found[one[key]] = merge(found.get(one[key], {}), one)
    return list(found.values())
