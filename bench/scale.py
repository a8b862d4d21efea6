"""A fleet of environments on many nodes, by simulation with real locks; prints tables of docs/benchmarks.md.

    python -m bench.fleet /var/tmp/scale && python -m bench.scale /var/tmp/scale > scale.md

Real are the locks (:mod:`bench.fleet`), the layers that envbuild plans from them with their keys and their
order, and the sizes of the artifacts in them. Simulated is the rest: a layer is ``--layer-factor`` times as
large as its artifacts and unpacks to ``--unpacked-factor`` times them, and nodes pull and unpack at the
rates given. A node pulls a blob once, but shares an unpacked layer only between images that have the same
layers below it, too. Three ways are compared:

- **envbuild**: a layer for each big package, buckets for the others, the largest at the bottom;
- **by name**: the same layers, the big ones in the order of their names, as before packing recipe 7;
- **one layer**: the same operating system below, and all that is installed in one layer, as `RUN pip
  install -r requirements.txt` gives. Environments with equal locks share that layer, which is more than a
  Dockerfile does.

As nobody locks a thousand environments on one day, they are also looked at as if they had been locked over
a year: in each quarter a package has a new release with the probability of ``--released``, and an
environment has those of its own quarter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench.fleet import locks
from envbuild.fleet.model import Fleet, Pool
from envbuild.image.reference import Reference
from envbuild.layers import GlueLayer, LayerPlan, OsLayer, WheelLayer
from envbuild.lock.lockfile import load_lock
from envbuild.lock.model import Lock, Wheel
from envbuild.pack import recipe
from envbuild.plan import make_plan
from envbuild.quantities import byte_size, count
from envbuild.warm.daemonset import Settings, daemonset_objects
from envbuild.warm.planner import Piece, WarmImage, plan_pool

_PLATFORM = "linux/amd64"
_QUARTERS = 4
_POOLS = 5
_FLEETS = (30, 100, 300, 1000)
_BUMPED = ("urllib3", "pillow", "numpy")
# Kernelspecs, entry point and the lock itself; the repository's own files come on top of all ways alike.
_GLUE_BYTES = 60_000

Image = tuple[tuple[str, int], ...]
"""The layers of an image, bottom to top: key, and bytes of the artifacts in it."""


@dataclass(frozen=True, slots=True)
class Load:
    """What images are together, in bytes of artifacts: in different blobs, in different unpacked layers."""

    blobs: Mapping[str, int]
    unpacked: Mapping[str, int]

    def beyond(self, other: Load) -> Load:
        """What is not in ``other``."""
        return Load(
            {key: size for key, size in self.blobs.items() if key not in other.blobs},
            {key: size for key, size in self.unpacked.items() if key not in other.unpacked},
        )


@dataclass(frozen=True, slots=True)
class Platform:
    """Nodes and their registry: factors of size, and rates in bytes a second."""

    nodes: int
    layer_factor: float
    unpacked_factor: float
    disk: float
    node_rate: float
    unpack_rate: float
    registry_rate: float

    def pulled(self, load: Load) -> float:
        """Bytes that come over the network."""
        return self.layer_factor * sum(load.blobs.values())

    def stored(self, load: Load) -> float:
        """Bytes on a node's disk: the blobs and what is unpacked of them."""
        return self.pulled(load) + self._unpacked(load)

    def seconds(self, load: Load) -> float:
        """How long it takes when all nodes do it at the same time: the slowest of three things."""
        each = self.pulled(load)
        return max(
            each / self.node_rate,
            each * self.nodes / self.registry_rate,
            self._unpacked(load) / self.unpack_rate,
        )

    def _unpacked(self, load: Load) -> float:
        return self.unpacked_factor * sum(load.unpacked.values())


def main() -> None:
    """Read the locks and print the tables."""
    parser = argparse.ArgumentParser(description="a fleet on many nodes")
    parser.add_argument("work", type=Path)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--layer-factor", type=float, default=1.1)
    parser.add_argument("--unpacked-factor", type=float, default=3.9)
    parser.add_argument("--released", type=float, default=0.5, help="probability of a release in a quarter")
    parser.add_argument("--disk", type=float, default=500e9, help="bytes of images that a node may keep")
    parser.add_argument("--node-rate", type=float, default=125e6)
    parser.add_argument("--unpack-rate", type=float, default=50e6, help="of unpacked bytes")
    parser.add_argument("--registry-rate", type=float, default=1.25e9, help="of all that it sends")
    given = vars(parser.parse_args())
    work, released = given.pop("work"), given.pop("released")
    platform = Platform(**given)
    fleet = [load_lock(path.read_bytes(), str(path)) for path in locks(work)]
    random.Random("the order in which environments were added").shuffle(fleet)
    print(_census(fleet))
    aged = [_aged(lock, number % _QUARTERS, released) for number, lock in enumerate(fleet)]
    for title, environments in (("Locked on one day", fleet), ("Locked over a year", aged)):
        print(f"\n### {title}\n")
        _tables(environments, platform)


def _census(fleet: Sequence[Lock]) -> str:
    packages = [len(_wheels(lock)) for lock in fleet]
    different = len({_digest(wheel.artifact.sha256 for wheel in _wheels(lock)) for lock in fleet})
    popular = Counter(wheel.name for lock in fleet for wheel in _wheels(lock)).most_common(12)
    names = ", ".join(f"{name} ({number:,})" for name, number in popular)
    return (
        f"{count(len(fleet), 'environment')}, {different:,} different; {median(packages):.0f} packages "
        f"in the middle one, {max(packages)} in the largest; most often: {names}."
    )


def _tables(fleet: Sequence[Lock], platform: Platform) -> None:
    made = {way: [image(lock) for lock in fleet] for way, image in _WAYS.items()}
    _print_row("environments", *(f"registry, {way}" for way in made), "layers: middle, most")
    _print_rule(len(made) + 2)
    for size in (*(size for size in _FLEETS if size < len(fleet)), len(fleet)):
        kept = [platform.pulled(_load(images[:size])) for images in made.values()]
        depths = sorted(len(image) for image in made["envbuild"][:size])
        _print_row(f"{size:,}", *_against(kept), f"{median(depths):.0f}, {depths[-1]}")
    print(f"\n{platform.nodes} nodes in {_POOLS} pools; all of them pull at the same time:\n")
    _print_row("on each node", *(f"{what}, {way}" for what in ("pulled", "disk", "seconds") for way in made))
    _print_rule(3 * len(made) + 1)
    shares: dict[str, Callable[[list[Image]], list[Image]]] = {
        "the 20 most used": lambda images: images[:20],
        f"a pool's {len(fleet) // _POOLS:,}": lambda images: images[::_POOLS],
        f"all {len(fleet):,}": lambda images: images,
    }
    for name, share in shares.items():
        _print_loads(
            f"first: {name}", [_load(share(images)) for images in made.values()], platform, disk=True
        )
    for package in _BUMPED:
        bumped = [_bumped(lock, package) for lock in fleet]
        touched = sum(1 for old, new in zip(fleet, bumped, strict=True) if old is not new)
        for name, share in list(shares.items())[1:]:
            loads = [
                _load(share([image(lock) for lock in bumped])).beyond(_load(share(made[way])))
                for way, image in _WAYS.items()
            ]
            _print_loads(f"{package} bumped in {touched:,}: {name}", loads, platform, disk=False)
    print(f"\nA node with {byte_size(round(platform.disk))} for images keeps:\n")
    for way, images in made.items():
        print(f"- {way}: {_fitting(images, platform)}")


def _print_loads(name: str, loads: Sequence[Load], platform: Platform, *, disk: bool) -> None:
    pulled = [platform.pulled(load) for load in loads]
    stored = [platform.stored(load) for load in loads]
    seconds = [f"{platform.seconds(load):,.0f}" for load in loads]
    _print_row(name, *_against(pulled), *(_against(stored) if disk else [""] * len(loads)), *seconds)


def _against(amounts: Sequence[float]) -> list[str]:
    """The sizes, with how many times the first one each is."""
    first = amounts[0]
    return [
        byte_size(round(amount)) + (f" ({amount / first:.1f}×)" if number else "")
        for number, amount in enumerate(amounts)
    ]


def _print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def _print_rule(columns: int) -> None:
    print("|" + "---|" * columns)


def _fitting(images: Sequence[Image], platform: Platform) -> str:
    """What `envbuild warm plan` keeps of them on a node, and how large the objects become that it applies."""
    pool = Pool("nodes", disk=round(platform.disk))
    plan = plan_pool(pool, [_warm(number, image, platform) for number, image in enumerate(images)])
    fleet = Fleet("fleet", Path("fleet.toml"), (), (pool,))
    largest = max(len(json.dumps(one)) for one in daemonset_objects(fleet, [plan], Settings()))
    return f"{len(plan.images):,} of {len(images):,} environments; largest object {byte_size(largest)}"


def _warm(number: int, image: Image, platform: Platform) -> WarmImage:
    load = _load([image])
    name = f"environment-{number:04d}"
    digest = "sha256:" + _digest(key for key, _ in image)
    return WarmImage(
        Reference("registry.example.org", "team/envs", None, digest),
        (name,),
        0,
        tuple(Piece(key, round(size * platform.layer_factor)) for key, size in load.blobs.items()),
        tuple(Piece(key, round(size * platform.unpacked_factor)) for key, size in load.unpacked.items()),
    )


def _load(images: Iterable[Image]) -> Load:
    blobs: dict[str, int] = {}
    unpacked: dict[str, int] = {}
    for image in images:
        chain = ""
        for key, size in image:
            chain = _digest((chain, key))
            blobs[key] = unpacked[chain] = size
    return Load(blobs, unpacked)


def _wheels(lock: Lock) -> tuple[Wheel, ...]:
    return lock.target(_PLATFORM).wheels


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _size(layer: LayerPlan) -> int:
    if isinstance(layer, GlueLayer):
        return _GLUE_BYTES
    return sum(artifact.size for artifact in layer.artifacts)


def _layers(lock: Lock) -> tuple[LayerPlan, ...]:
    return make_plan(lock, _PLATFORM, b"").layers


def _envbuild(lock: Lock) -> Image:
    return tuple((layer.key, _size(layer)) for layer in _layers(lock))


def _by_name(lock: Lock) -> Image:
    layers = _layers(lock)
    big = [layer for layer in layers if _is_big(layer)]
    named = iter(sorted(big, key=lambda layer: (layer.wheels[0].direct, layer.title)))
    return tuple(
        (layer.key, _size(layer)) for layer in (next(named) if _is_big(one) else one for one in layers)
    )


def _is_big(layer: LayerPlan) -> bool:
    return (
        isinstance(layer, WheelLayer)
        and layer.prefix == recipe.ENV_PREFIX
        and layer.title == layer.wheels[0].name
    )


def _one_layer(lock: Lock) -> Image:
    layers = _layers(lock)
    system = tuple((layer.key, _size(layer)) for layer in layers if isinstance(layer, OsLayer))
    above = [layer for layer in layers if not isinstance(layer, OsLayer | GlueLayer)]
    everything = _digest(sorted(artifact.sha256 for layer in above for artifact in layer.artifacts))
    return (*system, (everything, sum(map(_size, above))))


_WAYS: Mapping[str, Callable[[Lock], Image]] = {
    "envbuild": _envbuild,
    "by name": _by_name,
    "one layer": _one_layer,
}


def _bumped(lock: Lock, name: str) -> Lock:
    """``lock`` with another release of one package, in the environment and in the Jupyter server."""
    return _released(lock, lambda wheel: "security release" if wheel.name == name else "")


def _aged(lock: Lock, quarters: int, probability: float) -> Lock:
    """``lock`` as it would have been that many quarters ago."""

    def releases(wheel: Wheel) -> str:
        since = (random.Random(f"{wheel.name}/{quarter}").random() for quarter in range(quarters))
        return "" if (missed := sum(chance < probability for chance in since)) == 0 else str(missed)

    return _released(lock, releases)


def _released(lock: Lock, release: Callable[[Wheel], str]) -> Lock:
    """``lock`` with other releases of wheels: which ones, by wheel, "" for the one that is there."""

    def other(wheel: Wheel) -> Wheel:
        which = release(wheel)
        if not which:
            return wheel
        return replace(
            wheel, artifact=replace(wheel.artifact, sha256=_digest((wheel.artifact.sha256, which)))
        )

    target, server = lock.target(_PLATFORM), lock.base.server[_PLATFORM]
    wheels, beside = tuple(map(other, target.wheels)), tuple(map(other, server))
    if (wheels, beside) == (target.wheels, server):
        return lock
    return replace(
        lock,
        targets=(replace(target, wheels=wheels),),
        base=replace(lock.base, server={_PLATFORM: beside}),
    )


if __name__ == "__main__":
    main()
