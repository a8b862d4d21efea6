"""Every metric there is. Names follow Prometheus' conventions: base units, ``_total`` for what only grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["BUCKETS", "METRICS", "Metric"]

Kind = Literal["counter", "gauge", "histogram"]

# From a cached build to one that compiles, in seconds; the same for all, so that they can be added.
BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its ``name``, ``kind``, ``help`` and the names of its ``labels``."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


_ALL: Final = (
    Metric("envbuild_info", "gauge", "The version of envbuild that wrote this.", ("version",)),
    Metric(
        "envbuild_runs_total",
        "counter",
        "Commands that ended, by how: done, failed, interrupted, and the code of the error.",
        ("verb", "outcome", "error"),
    ),
    Metric("envbuild_run_duration_seconds", "histogram", "How long commands took.", ("verb",)),
    Metric("envbuild_stage_duration_seconds", "histogram", "How long stages took.", ("stage",)),
    Metric(
        "envbuild_layers_total",
        "counter",
        "Layers of images that were built, by where they came from: store, registry, packed.",
        ("level",),
    ),
    Metric(
        "envbuild_transferred_bytes_total",
        "counter",
        "Bytes that travelled: pushed to and pulled from registries, downloaded from indexes and mirrors.",
        ("direction",),
    ),
    Metric(
        "envbuild_lock_failures_total",
        "counter",
        "Locking that failed, or locks that could not be used, by the code of the error.",
        ("cause",),
    ),
    Metric(
        "envbuild_last_run_timestamp_seconds",
        "gauge",
        "When the last command of a kind ended, in seconds since the epoch.",
        ("verb",),
    ),
    Metric(
        "envbuild_last_run_success",
        "gauge",
        "Whether the last command of a kind was done: 1 or 0.",
        ("verb",),
    ),
    Metric(
        "envbuild_last_run_duration_seconds",
        "gauge",
        "How long the last command of a kind took.",
        ("verb",),
    ),
    Metric(
        "envbuild_last_run_stage_duration_seconds",
        "gauge",
        "How long each stage of the last command of a kind took.",
        ("verb", "stage"),
    ),
    Metric(
        "envbuild_last_run_layers",
        "gauge",
        "Layers of the last command of a kind, by where they came from.",
        ("verb", "level"),
    ),
    Metric(
        "envbuild_last_run_transferred_bytes",
        "gauge",
        "Bytes that travelled in the last command of a kind.",
        ("verb", "direction"),
    ),
    Metric(
        "envbuild_kernel_start_seconds",
        "histogram",
        "How long kernels took from the start of their container until they answered, as probed.",
        ("engine",),
    ),
    Metric(
        "envbuild_probe_duration_seconds",
        "gauge",
        "The median of the last probe: until server and kernel answered, and what imports took.",
        ("environment", "engine", "phase"),
    ),
    Metric(
        "envbuild_probe_success",
        "gauge",
        "Whether the last probe kept what was asked of it: 1 or 0.",
        ("environment", "engine"),
    ),
    Metric(
        "envbuild_probe_timestamp_seconds",
        "gauge",
        "When the last probe ended, in seconds since the epoch.",
        ("environment", "engine"),
    ),
    Metric(
        "envbuild_warm_nodes",
        "gauge",
        "Nodes of a pool that have every image they are to keep.",
        ("fleet", "pool"),
    ),
    Metric("envbuild_warm_nodes_wanted", "gauge", "Nodes of a pool.", ("fleet", "pool")),
    Metric(
        "envbuild_cold_nodes",
        "gauge",
        "Nodes of a pool that lack an image, by why.",
        ("fleet", "pool", "cause"),
    ),
    Metric(
        "envbuild_warm_status_success",
        "gauge",
        "Whether the cluster could be asked about its nodes: 1 or 0.",
        ("fleet",),
    ),
)
METRICS: Final = {metric.name: metric for metric in _ALL}
