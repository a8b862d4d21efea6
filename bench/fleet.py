"""Many real locks for :mod:`bench.scale`: what a platform's environments would be locked to.

    python -m bench.fleet /var/tmp/scale --environments 1000

Every environment starts from one line of ``fleet_requirements.txt``. A third are that line as it is, as
repositories that were copied are; the others have one to three more requirements, drawn from all lines, so
that what is asked for often is added often. Each is locked by ``envbuild lock``, for real. The draws are
the same every time; the versions are those of the day.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["locks"]

_PROGRAM = Path(sys.executable).parent / "envbuild"
_SETS = Path(__file__).parent / "fleet_requirements.txt"
_AS_IT_IS = 1 / 3
_MOST_ADDED = 3
_TRIES = 8
_SECONDS = 300


def locks(work: Path) -> list[Path]:
    """The lock files that :func:`main` has made, in order."""
    return sorted(work.glob("locks/*/envbuild.lock"))


def main() -> None:
    """Lock what is not locked yet, and say how many could not be."""
    parser = argparse.ArgumentParser(description="real locks of drawn environments")
    parser.add_argument("work", type=Path)
    parser.add_argument("--environments", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    sets = [line.split() for line in _SETS.read_text().splitlines() if not line.startswith("#")]
    with ThreadPoolExecutor(arguments.jobs) as workers:
        refused = sum(
            workers.map(
                lambda number: _lock(arguments.work / "locks" / f"{number:04d}", number, sets),
                range(arguments.environments),
            )
        )
    print(f"{len(locks(arguments.work))} locks; {refused} draws could not be resolved and were drawn again")


def _lock(directory: Path, number: int, sets: list[list[str]]) -> int:
    """Lock environment ``number``; returns how many draws were refused before one was resolved."""
    if (directory / "envbuild.lock").exists():
        return 0
    directory.mkdir(parents=True, exist_ok=True)
    # The name is in the image, so it is the same for all: only what is installed may make a difference.
    (directory / "envbuild.toml").write_text('name = "fleet"\n')
    for attempt in range(_TRIES):
        drawn = _draw(random.Random(f"{number}/{attempt}"), sets)
        (directory / "requirements.txt").write_text("".join(f"{requirement}\n" for requirement in drawn))
        done = subprocess.run(
            [_PROGRAM, "lock", directory], capture_output=True, timeout=_SECONDS, check=False
        )
        if done.returncode == 0:
            return attempt
    raise SystemExit(f"environment {number}: none of {_TRIES} draws could be locked\n{done.stderr.decode()}")


def _draw(chance: random.Random, sets: list[list[str]]) -> list[str]:
    drawn = list(chance.choice(sets))
    if chance.random() >= _AS_IT_IS:
        everything = [requirement for one in sets for requirement in one]
        drawn += chance.sample(everything, chance.randint(1, _MOST_ADDED))
    # The first mention of a package wins: two bounds of one name may contradict each other.
    names: dict[str, str] = {}
    for requirement in drawn:
        names.setdefault(_name(requirement), requirement)
    return list(names.values())


def _name(requirement: str) -> str:
    for end in "[<>=!~ ":
        requirement = requirement.partition(end)[0]
    return requirement.lower().replace("_", "-")


if __name__ == "__main__":
    main()
