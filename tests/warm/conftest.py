"""A fleet of three environments in two pools, and the images it is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.fleet.model import Environment, Fleet, ImageSource, Pin, Pool, Toleration
from envbuild.image.reference import Reference, parse_reference
from envbuild.warm.planner import Piece, PoolPlan, WarmImage, plan_pool

NAMES = ("analysis", "geo", "torch", "geo-before")


def reference(name: str) -> Reference:
    return parse_reference(f"registry.example.org/lab/{name}@sha256:" + f"{NAMES.index(name):064x}")


def _environment(name: str, pools: tuple[str, ...], launches: int) -> Environment:
    return Environment(name, ImageSource(reference(name)), pools=pools, launches=launches)


@pytest.fixture
def fleet() -> Fleet:
    """``analysis`` is for both pools, ``geo`` for ``cpu`` and ``torch`` for ``gpu``."""
    return Fleet(
        "lab",
        Path("fleet.toml"),
        (
            _environment("analysis", (), 90),
            _environment("geo", ("cpu",), 20),
            _environment("torch", ("gpu",), 40),
        ),
        (
            Pool("cpu", (("pool", "cpu"),)),
            Pool(
                "gpu",
                (("pool", "gpu"),),
                (Toleration("nvidia.com/gpu", "Exists", effect="NoSchedule"),),
                gpu="nvidia.com/gpu",
                disk=1000,
            ),
        ),
        namespace="hub",
        pull_secrets=("registry-login",),
    )


@pytest.fixture
def pins() -> dict[str, Pin]:
    return {name: Pin(name, reference(name)) for name in NAMES}


def image(fleet: Fleet, name: str, size: int, before: str | None = None) -> WarmImage:
    """An image of one blob; ``before``: the one that the environment ``name`` had before."""
    launches = {one.name: one.launches for one in fleet.environments}[name]
    piece = Piece(f"sha256:{size:064x}", size)
    return WarmImage(reference(before or name), (name,), launches, (piece,), (), previous=before is not None)


@pytest.fixture
def plans(fleet: Fleet) -> tuple[PoolPlan, ...]:
    """``torch`` does not fit into the pool ``gpu``."""
    cpu, gpu = fleet.pools
    return (
        plan_pool(cpu, [image(fleet, "analysis", 500), image(fleet, "geo", 100)]),
        plan_pool(gpu, [image(fleet, "analysis", 500), image(fleet, "torch", 700)]),
    )


@pytest.fixture
def keeping(fleet: Fleet, plans: tuple[PoolPlan, ...]) -> tuple[Fleet, dict[str, Pin], tuple[PoolPlan, ...]]:
    """The same fleet after a change of ``geo``, with its pins and plans: ``cpu`` keeps ``geo-before``."""
    cpu, gpu = fleet.pools
    cpu = replace(cpu, keep_previous=True)
    pins = {one.name: Pin(one.name, reference(one.name)) for one in fleet.environments}
    pins["geo"] = replace(pins["geo"], previous=reference("geo-before"))
    now = [image(fleet, "analysis", 500), image(fleet, "geo", 100)]
    plan = plan_pool(cpu, [image(fleet, "geo", 90, "geo-before"), *now])
    return replace(fleet, pools=(cpu, gpu)), pins, (plan, plans[1])
