"""Bringing objects of a cluster to a wanted state: everything is tried before anything is changed.

Server-side apply does the merging, so that fields of others (a replica count that an autoscaler sets, an
annotation of a policy engine) stay theirs, and two tools that want different things are told so. The dry run
is the same request, answered by the same admission: its result, compared with what is there, is the
difference, with the server's defaults on both sides. Applying the same once more changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from envbuild.cluster.api import Cluster, Object
from envbuild.cluster.difference import changed, difference
from envbuild.errors import RemoteError, UsageError

__all__ = ["MANAGER", "Change", "Prune", "apply"]

MANAGER = "envbuild"
_IN_BOOKS = "app.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one object. ``namespace`` is empty for objects in none.

    ``difference`` is a unified diff of YAML, empty when unchanged; values of Secrets are not in it.
    """

    action: Literal["created", "changed", "unchanged", "deleted"]
    api_version: str
    kind: str
    name: str
    namespace: str
    difference: str

    @property
    def title(self) -> str:
        """``Kind namespace/name``."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Prune:
    """Objects that are deleted when they are not among the wanted ones.

    Those of ``kinds`` (pairs of ``apiVersion`` and ``kind``) in ``namespace`` (None: the context's) that
    ``labels`` selects and that carry ``app.kubernetes.io/managed-by: envbuild``.
    """

    labels: str
    kinds: tuple[tuple[str, str], ...]
    namespace: str | None = None


def apply(
    cluster: Cluster,
    objects: Sequence[Object],
    *,
    dry_run: bool = False,
    force: bool = False,
    prune: Prune | None = None,
    before: Callable[[tuple[Change, ...]], object] | None = None,
    made: Callable[[Change], object] = lambda change: None,
) -> tuple[Change, ...]:
    """Create and change ``objects``, in this order, then delete what is to be pruned.

    Every object is sent as a dry run first; nothing is changed when one of them is refused. What is in a
    namespace that is itself among the objects and not there yet cannot be tried before.

    Parameters:
        objects: with ``apiVersion``, ``kind`` and ``metadata.name``; without a namespace: the context's.
        dry_run: change nothing.
        force: take over fields that somebody else has set, instead of ``cluster-conflict``.
        before: is given the changes before they are made; when it raises, none is.
        made: is given each change as soon as it is made.

    Returns:
        a change for every object, unchanged ones included, then those deleted.

    Raises:
        RemoteError: the cluster refuses or fails; when this happens after the first change, its detail says
            what has been changed. The same once more goes on from there.
        UsageError: an object is there twice, or has no name (``cluster-objects``).
    """
    wanted = _placed(cluster, objects)
    coming = {item["metadata"]["name"] for item in wanted if item["kind"] == "Namespace"}
    changes = [_try(cluster, item, coming, force) for item in wanted]
    changes += _pruned(cluster, prune, wanted)
    if before is not None:
        before(tuple(changes))
    if not dry_run:
        _make(cluster, wanted, changes, force, made)
    return tuple(changes)


def _placed(cluster: Cluster, objects: Sequence[Object]) -> list[Object]:
    """The objects with their namespaces filled in."""
    placed: list[Object] = []
    seen: set[tuple[str, ...]] = set()
    for item in objects:
        metadata = item.get("metadata") or {}
        if not (item.get("apiVersion") and item.get("kind") and metadata.get("name")):
            raise UsageError(
                "an object to apply has no apiVersion, kind or name",
                code="cluster-objects",
                remedy="give every object of the manifest all three",
            )
        resource = cluster.resource(item["apiVersion"], item["kind"])
        if resource.namespaced:
            item = {
                **item,
                "metadata": {**metadata, "namespace": metadata.get("namespace") or cluster.namespace},
            }
        key = _key(item)
        if key in seen:
            raise UsageError(
                f"{' '.join(filter(None, key))} is to be applied twice",
                code="cluster-objects",
                remedy="give each object a name of its own",
            )
        seen.add(key)
        placed.append(item)
    return placed


def _key(item: Object) -> tuple[str, ...]:
    """Kind (without the version, which is a view of the same object), namespace and name."""
    group, slash, _ = item["apiVersion"].partition("/")
    return (
        group if slash else "",
        item["kind"],
        item["metadata"].get("namespace", ""),
        item["metadata"]["name"],
    )


def _try(cluster: Cluster, item: Object, coming: set[str], force: bool) -> Change:
    metadata = item["metadata"]
    place = (item["apiVersion"], item["kind"], metadata["name"])
    live = cluster.find(*place, metadata.get("namespace"))
    try:
        after = cluster.apply(item, MANAGER, dry_run=True, force=force)
    except RemoteError as error:
        absent = error.code in ("cluster-namespace-missing", "cluster-not-found")
        if not absent or metadata.get("namespace") not in coming:
            raise
        after = item
    return _change(
        "created" if live is None else "changed" if changed(live, after) else "unchanged", live, after
    )


def _change(action: Literal["created", "changed", "unchanged"], live: Object | None, after: Object) -> Change:
    metadata = after["metadata"]
    change = Change(
        action, after["apiVersion"], after["kind"], metadata["name"], metadata.get("namespace", ""), ""
    )
    return replace(change, difference=difference(live, after, change.title))


def _pruned(cluster: Cluster, prune: Prune | None, wanted: Sequence[Object]) -> list[Change]:
    if prune is None:
        return []
    kept = {_key(item) for item in wanted}
    found = []
    for api_version, kind in prune.kinds:
        labels = f"{_IN_BOOKS}={MANAGER},{prune.labels}"
        for item in cluster.list(api_version, kind, prune.namespace, labels=labels):
            if _key(item) in kept:
                continue
            metadata = item["metadata"]
            change = Change("deleted", api_version, kind, metadata["name"], metadata.get("namespace", ""), "")
            cluster.delete(api_version, kind, change.name, change.namespace or None, dry_run=True)
            found.append(replace(change, difference=difference(item, None, change.title)))
    return found


def _make(
    cluster: Cluster,
    wanted: Sequence[Object],
    changes: Sequence[Change],
    force: bool,
    made: Callable[[Change], object],
) -> None:
    done: list[str] = []
    for index, change in enumerate(changes):
        if change.action == "unchanged":
            continue
        try:
            if change.action == "deleted":
                cluster.delete(change.api_version, change.kind, change.name, change.namespace or None)
            else:
                cluster.apply(wanted[index], MANAGER, force=force)
        except RemoteError as error:
            if done:
                error.detail = "\n".join(
                    filter(None, (error.detail, f"changed before this: {', '.join(done)}"))
                )
            raise
        done.append(change.title)
        made(change)
