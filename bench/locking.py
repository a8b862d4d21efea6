"""Lock time: envbuild with each of its resolvers beside the bare tools; prints a table of docs/benchmarks.md.

    python -m bench.locking > lock.md

All solve ``science.in`` with hashes, for this machine's architecture and with empty caches each time. The
bare tools solve for the Python they run on. envbuild's rows are the whole command: the base's packages and
the Jupyter server are kept from a lock made beforehand, the environment is solved, files are measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from bench.measure import seconds

_PROGRAMS = Path(sys.executable).parent
_ASKED = Path(__file__).with_name("science.in")
_Contestant = Callable[[Path], tuple[Sequence[str], dict[str, str]]]


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description="lock times")
    parser.add_argument("--rounds", type=int, default=3)
    rounds: int = parser.parse_args().rounds
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_", "ENVBUILD_"))
    }
    environment |= {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    with tempfile.TemporaryDirectory(prefix="envbuild-bench-") as scratch:
        base = _locked_base(Path(scratch, "base"), environment)
        contestants: dict[str, _Contestant] = {
            "uv pip compile": _bare_uv,
            "envbuild, uv": lambda place: _envbuild(place, base, "uv"),
            "pip-compile": _bare_pip_compile,
            "envbuild, pip-tools": lambda place: _envbuild(place, base, "pip-tools"),
        }
        results: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(rounds):
            names = list(contestants)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                place = Path(scratch, "round")
                place.mkdir()
                command, own = contestants[name](place)
                results[name].append(seconds(command, {**environment, **own}))
                print(f"round {number + 1}: {name}: {results[name][-1]:.2f} s", file=sys.stderr)
                shutil.rmtree(place)
    _print(results)


def _locked_base(place: Path, environment: dict[str, str]) -> Path:
    """A repository that asks for nothing, locked: its lock has the base and the server."""
    place.mkdir()
    (place / "requirements.txt").write_text("")
    cache = {"ENVBUILD_CACHE_DIR": str(place.parent / "base-cache")}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    seconds([str(_PROGRAMS / "envbuild"), "lock", str(place), "--python", python], {**environment, **cache})
    return place / "envbuild.lock"


def _envbuild(place: Path, base: Path, resolver: str) -> tuple[Sequence[str], dict[str, str]]:
    shutil.copy2(base, place / "envbuild.lock")
    shutil.copy2(_ASKED, place / "requirements.txt")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = ["envbuild", "lock", str(place), "--python", python, "--resolver", resolver]
    return [str(_PROGRAMS / command[0]), *command[1:]], {"ENVBUILD_CACHE_DIR": str(place / "cache")}


def _bare_uv(place: Path) -> tuple[Sequence[str], dict[str, str]]:
    return [str(_PROGRAMS / "uv"), "pip", "compile", "-q", *_bare_options(place)], {}


def _bare_pip_compile(place: Path) -> tuple[Sequence[str], dict[str, str]]:
    command = [str(_PROGRAMS / "pip-compile"), "-q", "--strip-extras", "--allow-unsafe"]
    return [*command, *_bare_options(place)], {"PIP_CACHE_DIR": str(place / "pip")}


def _bare_options(place: Path) -> list[str]:
    output = str(place / "requirements.txt")
    return ["--generate-hashes", "--cache-dir", str(place / "cache"), "-o", output, str(_ASKED)]


def _print(results: dict[str, list[float]]) -> None:
    middle = {name: median(values) for name, values in results.items()}
    print("| | median | each round | bare tool ÷ envbuild |\n|---|---:|---|---:|")
    peers = {"envbuild, uv": "uv pip compile", "envbuild, pip-tools": "pip-compile"}
    for name, values in results.items():
        ratio = f"{middle[peers[name]] / middle[name]:.2f}×" if name in peers else ""
        rounds = " · ".join(f"{value:.2f} s" for value in values)
        print(f"| {name} | {middle[name]:.2f} s | {rounds} | {ratio} |")


if __name__ == "__main__":
    main()
