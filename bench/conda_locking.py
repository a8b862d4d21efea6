"""Lock time of a conda environment: envbuild beside conda-lock; prints a table of docs/benchmarks.md.

    python -m bench.conda_locking > conda-lock.md

Both solve the same request with the same solver behind conda-lock, from one channel on loopback, with empty
caches each time. conda-lock's row is the process alone, as envbuild starts it; envbuild's is the whole
command, with the base's packages and the Jupyter server kept from a lock made beforehand.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.measure import seconds
from envbuild.lock.conda.channels import Channels
from envbuild.lock.conda.process import CondaLock
from envbuild.spec.model import CondaRequest, Requirement
from envbuild.store import Store
from tests.support.conda import make_channel
from tests.support.conda_channel import ChannelServer, demo_packages

_ENVBUILD = Path(sys.executable).parent / "envbuild"
_PACKAGES = ("python=3.11", "ipykernel", "pip", "program", "pure", "renamed", "old-format")
_PLATFORM = "linux/amd64"
_GLIBC = "2.36"


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description="lock times of a conda environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--solve", nargs=2, metavar=("DIRECTORY", "CHANNEL"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.solve:
        _solve(Path(chosen.solve[0]), chosen.solve[1])
        return
    results: dict[str, list[float]] = {"conda-lock": [], "envbuild": []}
    with tempfile.TemporaryDirectory(prefix="envbuild-bench-") as scratch:
        work = Path(scratch)
        with ChannelServer(make_channel(work / "demo", demo_packages())) as channel:
            environment = {
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("UV_", "PIP_", "CONDA_", "ENVBUILD_"))
            } | {"ENVBUILD_CONDA_CHANNELS": f"conda-forge={channel.url}"}
            base = work / "base"
            _repository(base, ("python=3.11",))
            _lock(base, work / "base-cache", environment)
            for number in range(chosen.rounds):
                names = list(results)
                for name in names[number % 2 :] + names[: number % 2]:
                    place = work / "round"
                    place.mkdir()
                    if name == "envbuild":
                        _repository(place, _PACKAGES)
                        shutil.copy2(base / "envbuild.lock", place)
                        taken = _lock(place, work / "cache", environment)
                        shutil.rmtree(work / "cache")
                    else:
                        command = [sys.executable, "-m", "bench.conda_locking", "--solve", str(place)]
                        taken = seconds([*command, channel.url], environment)
                    results[name].append(taken)
                    shutil.rmtree(place)
    _print(results)


def _repository(place: Path, packages: tuple[str, ...]) -> None:
    place.mkdir(exist_ok=True)
    listed = "".join(f"- {name}\n" for name in packages)
    (place / "environment.yml").write_text(f"channels: [conda-forge]\ndependencies:\n{listed}")


def _lock(place: Path, cache: Path, environment: dict[str, str]) -> float:
    command = [str(_ENVBUILD), "lock", str(place), "--platform", _PLATFORM]
    return seconds(command, {**environment, "ENVBUILD_CACHE_DIR": str(cache)})


def _solve(place: Path, channel: str) -> None:
    """conda-lock alone, with a cache below ``place``."""
    store = Store(place / "cache")
    store.prepare()
    packages = tuple(Requirement(text, "environment.yml") for text in _PACKAGES)
    CondaLock(store, Channels({"conda-forge": channel}, os.environ), os.environ).solve(
        CondaRequest("environment.yml", ("conda-forge",), packages),
        platforms=(_PLATFORM,),
        glibc=_GLIBC,
        preferred={_PLATFORM: ()},
    )


def _print(results: dict[str, list[float]]) -> None:
    print("| | median | each round |\n|---|---:|---|")
    for name, values in results.items():
        rounds = " · ".join(f"{value:.2f} s" for value in values)
        print(f"| {name} | {median(values):.2f} s | {rounds} |")


if __name__ == "__main__":
    main()
