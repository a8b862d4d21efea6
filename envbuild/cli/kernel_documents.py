"""The documents that ``envbuild kernel ... --json`` prints (docs/schemas.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from envbuild.launch.kernelspecs import HostKernel
from envbuild.launch.prepared import read_prepared
from envbuild.store import Store

__all__ = ["installed_document", "kernels_document", "removed_document"]


def installed_document(
    installed: Iterable[HostKernel], engine: str, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``kernel install``: the kernelspecs that were written."""
    return {"kernels": [_kernel(one) for one in installed], "engine": engine, "seconds": dict(seconds)}


def kernels_document(installed: Iterable[HostKernel]) -> dict[str, Any]:
    """``kernel list``: the kernelspecs, and whether their next start is a quick one."""
    return {"kernels": [{**_kernel(one), "state": _state(one)} for one in installed]}


def removed_document(removed: Iterable[HostKernel]) -> dict[str, Any]:
    """``kernel remove``: the kernelspecs that are gone."""
    return {"removed": [str(one.directory) for one in removed]}


def _kernel(one: HostKernel) -> dict[str, Any]:
    return {
        "name": one.name,
        "display_name": one.display_name,
        "language": one.language,
        "kernel": one.kernel,
        "source": one.source[0],
        "options": list(one.source[1:]),
        "path": str(one.directory),
    }


def _state(one: HostKernel) -> str:
    prepared = read_prepared(Store(one.cache), one.key)
    if prepared is None:
        return "not prepared"
    if not prepared.repository.is_dir():
        return "repository gone"
    return "ready" if prepared.is_current() else "lock changed"
