"""A fleet of three environments in two pools, and the images it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.fleet.model import Environment, Fleet, ImageSource, Pool, Toleration
from envbuild.image.reference import Reference, parse_reference
from envbuild.warm.planner import Piece, PoolPlan, WarmImage, plan_pool

NAMES = ("analysis", "geo", "torch")


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
def references() -> dict[str, Reference]:
    return {name: reference(name) for name in NAMES}


@pytest.fixture
def plans(fleet: Fleet) -> tuple[PoolPlan, ...]:
    """``torch`` does not fit into the pool ``gpu``."""

    def image(name: str, size: int) -> WarmImage:
        launches = {one.name: one.launches for one in fleet.environments}[name]
        piece = Piece(f"sha256:{size:064x}", size)
        return WarmImage(reference(name), (name,), launches, (piece,), ())

    cpu, gpu = fleet.pools
    return (
        plan_pool(cpu, [image("analysis", 500), image("geo", 100)]),
        plan_pool(gpu, [image("analysis", 500), image("torch", 700)]),
    )
