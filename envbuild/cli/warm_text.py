"""What ``envbuild warm`` prints for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envbuild.cli.text import byte_size, columns, count, escape

if TYPE_CHECKING:
    from envbuild.cluster.apply import Change
    from envbuild.warm.planner import PoolPlan

__all__ = [
    "change_line",
    "difference_lines",
    "left_out_sentence",
    "plan_lines",
    "status_lines",
    "summary",
]


def plan_lines(document: Mapping[str, Any]) -> list[str]:
    """The plan of each pool as a table."""
    lines: list[str] = []
    for pool in document["pools"]:
        lines += ["", *_pool_lines(pool)] if lines else _pool_lines(pool)
    return lines


def _pool_lines(pool: Mapping[str, Any]) -> list[str]:
    budget = f" of {byte_size(pool['budget'])}" if pool["budget"] is not None else ""
    selector = " ".join(f"{name}={value}" for name, value in pool["selector"].items())
    about = ", ".join(filter(None, (pool["platform"], selector, pool["gpu"])))
    rows = [("", "ENVIRONMENTS", "LAUNCHES", "IMAGE", "SHARED", "PULL", "DISK")]
    for number, image in enumerate(pool["images"], 1):
        rows.append(
            (
                str(number),
                _names(image),
                f"{image['launches']:,}",
                byte_size(image["size"]),
                byte_size(image["shared"]),
                byte_size(image["pull"]),
                byte_size(image["disk"]),
            )
        )
    lines = [f"pool {pool['pool']} ({about})"]
    if pool["images"]:
        lines += columns(rows, right=frozenset({0, 2, 3, 4, 5, 6}))
    lines.append(
        f"{count(len(pool['images']), 'image')}: a new node pulls {byte_size(pool['pull'])}"
        f" ({byte_size(pool['unshared'])} without shared layers), and keeps {byte_size(pool['disk'])}{budget}"
        + (", estimated" if any(image["estimated"] for image in pool["images"]) else "")
    )
    lines += [
        f"does not fit: {_names(out)}, {byte_size(out['disk'])} more;"
        f" disk = {_needed(out['fits_within'])} holds it"
        for out in pool["left_out"]
    ]
    lines += [gone["message"] for gone in pool["gone"]]
    if pool["nodes"] is not None:
        lines += [f"{node['node']} has to pull {byte_size(node['pull'])}" for node in pool["nodes"]]
        if not pool["nodes"]:
            lines.append("there are no nodes in this pool at present")
    return lines


def _names(image: Mapping[str, Any]) -> str:
    return ", ".join(image["environments"]) + (" (previous)" if image["previous"] else "")


def _needed(amount: int) -> str:
    """A size for a fleet file that is not less than ``amount``.

    >>> _needed(1_234_000_000), _needed(40)
    ('"1.3 GB"', '"1 MB"')
    """
    if amount > 10**9:
        return f'"{-(-amount // 10**8) / 10:.1f} GB"'
    return f'"{-(-amount // 10**6)} MB"'


def left_out_sentence(plan: PoolPlan) -> str:
    """That some images of a pool do not fit, and what would hold all of them."""
    names = ", ".join(
        f"{'previous ' if out.image.previous else ''}{out.image.environments[0]}" for out in plan.left_out
    )
    return (
        f"the disk of the pool {plan.pool.name} has no room for {count(len(plan.left_out), 'image')}"
        f" ({names}); disk = {_needed(plan.everything)} holds everything"
    )


def difference_lines(changes: Sequence[Change], *, dry_run: bool) -> list[str]:
    """The differences, before anything is changed; with ``dry_run`` also what would happen to each object."""
    lines: list[str] = []
    for change in changes:
        lines += [escape(line) for line in change.difference.splitlines()]
    to_make = [change_line(change) for change in changes if change.action != "unchanged"]
    if not to_make:
        return ["nothing to change"]
    return [*lines, *to_make, "nothing was changed (--dry-run)"] if dry_run else lines


def change_line(change: Change) -> str:
    """What happened to one object."""
    return f"{change.action:9}  {change.title}"


def status_lines(document: Mapping[str, Any]) -> list[str]:
    """Each pool, its nodes that are not warm and why, and the sum."""
    lines: list[str] = []
    for pool in document["pools"]:
        lines.append(f"pool {pool['pool']}: warm on {pool['warm']}/{len(pool['nodes'])} nodes")
        if not pool["nodes"]:
            lines[-1] = f"pool {pool['pool']}: no nodes at present"
        for node in pool["nodes"]:
            if not node["warm"]:
                lines += _node_lines(node)
        lines += _previous_lines(pool)
        lines += [f"  kept, and not in the fleet any more: {image}" for image in pool["no_longer"]]
        if pool["left_out"]:
            lines.append(f"  {count(len(pool['left_out']), 'image')} left out for lack of disk")
    return [*lines, summary(document)]


def _node_lines(node: Mapping[str, Any]) -> list[str]:
    """The node's own reason, then those of its images."""
    lines, own = _causes(node, previous=False), _cause(node)
    if lines.keys() == {own}:
        return [f"  {node['node']}  {lines[own]}"]
    return [f"  {node['node']}  {own}", *(f"    {line}" for line in lines.values())]


def _previous_lines(pool: Mapping[str, Any]) -> list[str]:
    """On how many nodes the images are that environments had before, and why not on the others."""
    kept = len(pool["previous"])
    everything = kept + len(pool["previous_not_kept"])
    if not everything:
        return []
    where = f", on {pool['previous_nodes']}/{len(pool['nodes'])} nodes" if kept and pool["nodes"] else ""
    lines = [f"  previous images: {kept} of {everything} kept{where}"]
    for node in pool["nodes"]:
        lines += [f"    {node['node']}  {line}" for line in _causes(node, previous=True).values()]
    return lines


def _causes(node: Mapping[str, Any], *, previous: bool) -> dict[str, str]:
    """Why images are not on a node: a line for each cause, with the environments that it is true of."""
    groups: dict[str, list[str]] = {}
    for image in node["images"]:
        if not image["warm"] and image["previous"] == previous:
            groups.setdefault(_cause(image), []).extend(image["environments"])
    return {cause: f"{', '.join(names)}: {cause}" for cause, names in groups.items()}


def _cause(of: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (of["reason"], of["message"])))


def summary(document: Mapping[str, Any]) -> str:
    """``warm on 7/8 nodes``."""
    return f"warm on {document['warm']}/{document['nodes']} nodes"
