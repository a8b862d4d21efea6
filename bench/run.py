"""envbuild and two hand-written Dockerfiles, side by side; prints the tables of docs/benchmarks.md.

    bench/prepare /var/tmp/bench
    python -m bench.run /var/tmp/bench

bench/README.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.contestants import Contestant, Dockerfile, Envbuild
from bench.measure import drop_page_cache, memory_of, seconds, stored_bytes
from bench.report import Measurements, print_report, shown
from bench.workspace import (
    PROGRAMS,
    base_only_cache,
    docker_environment,
    docker_programs,
    output_of,
    repository,
)
from tests.support.servers import docker_daemon, docker_registry

# What is built first, and what changes then.
FIRST_PIN, NEXT_PIN = "seaborn==0.13.1", "seaborn==0.13.2"
_FIRST_REPLY = Path(__file__).with_name("first_reply.py")


def main() -> None:
    """Run the rounds and print the tables."""
    chosen = arguments("envbuild and Dockerfiles, side by side")
    work: Path = chosen.directory.resolve()
    load = os.getloadavg()[0]
    first = repository(work / "repository", FIRST_PIN)
    repositories = [first, repository(work / "bumped", NEXT_PIN, first)]
    with docker_daemon(programs=docker_programs(work)) as host:
        environment = docker_environment(host, work)
        daemon = import_base(host, work, environment)
        uv = work / "uv"
        uv.mkdir(exist_ok=True)
        shutil.copy2(PROGRAMS / "uv", uv / "uv")
        contestants: list[Contestant] = [
            Envbuild(PROGRAMS / "envbuild", work / "envbuild", base_only_cache(work / "envbuild-base")),
            Dockerfile("uv", environment, daemon=daemon, contexts={"uv": uv}),
            Dockerfile("pip", environment, daemon=daemon, contexts={"uv": uv}),
        ]
        results = compare(contestants, repositories, environment, work / "registry", chosen)
        docker = output_of(["docker", "version", "--format", "{{.Server.Version}}"], environment)
    pins = sum("==" in line for line in (first / "pins.txt").read_text().splitlines())
    print_report(results, rounds=chosen.rounds, pins=pins, docker=docker, load=load)


def arguments(description: str) -> argparse.Namespace:
    """The command line: ``directory``, ``rounds``, ``only``; and what has to be set up first."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("directory", type=Path, help="made by bench/prepare")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="only contestants whose names begin with these")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped then, too
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # envbuild itself is compiled, as after `pip install`
    return parser.parse_args()


def import_base(host: str, work: Path, environment: Mapping[str, str]) -> int:
    """Give the Docker at ``host`` the peers' base image; returns the daemon's process id."""
    output_of(["docker", "import", str(work / "base.tar"), "bench-base"], environment)
    return int(Path(host.removeprefix("unix://")).with_name("docker.pid").read_text())


def compare(
    contestants: list[Contestant],
    repositories: list[Path],
    docker: Mapping[str, str],
    storage: Path,
    chosen: argparse.Namespace,
) -> dict[str, Measurements]:
    """All measurements of those contestants that were chosen, by their names.

    Parameters:
        repositories: before and after one package changed.
        docker: variables of the Docker that pulls and runs every image; ``storage`` is the registry's.
    """
    contestants = [one for one in contestants if one.name.startswith(tuple(chosen.only or [""]))]
    results: dict[str, Measurements] = {one.name: {} for one in contestants}
    for number in range(chosen.rounds):
        # Another one goes first each time, so that none profits from the order.
        for one in contestants[number % len(contestants) :] + contestants[: number % len(contestants)]:
            for key, value in _round(one, repositories, docker, storage):
                results[one.name].setdefault(key, []).append(value)
                print(f"{number + 1} {one.name:16} {key:40} {shown(key, value)}", file=sys.stderr)
    for one in contestants:
        one.forget_everything()
        # Apart from the timed rounds, because looking costs time.
        memory = memory_of(one.build(repositories[0]), one.environment, one.daemons)
        results[one.name]["peak memory, largest process"] = [memory.largest]
        results[one.name]["peak memory, all processes"] = [memory.tree]
    return results


def _round(
    one: Contestant, repositories: list[Path], docker: Mapping[str, str], storage: Path
) -> Iterator[tuple[str, float]]:
    """All measurements of one contestant once, with an empty registry."""
    shutil.rmtree(storage, ignore_errors=True)
    repository, bumped = repositories  # before and after one package changed
    with docker_registry(storage) as registry:
        one.offer_base(registry)
        one.forget_everything()
        before = stored_bytes(storage)
        built = seconds(one.build(repository), one.environment)
        pushed = seconds(one.push(registry), one.environment)
        yield "cold: repository → image", built
        yield "cold: repository → registry", built + pushed
        yield "cold: pushed", stored_bytes(storage) - before
        yield "image and base in the registry", stored_bytes(storage)
        for _ in range(3):
            yield "nothing changed", seconds(one.build(repository), one.environment)

        image = one.reference(registry)
        seconds(["docker", "pull", "--quiet", image], docker)
        size = output_of(["docker", "image", "inspect", "--format", "{{.Size}}", image], docker)
        yield "image, unpacked", float(size)
        run = ["docker", "run", "--rm", "--volume", f"{_FIRST_REPLY}:/tmp/first_reply.py:ro", image]
        drop_page_cache()
        yield "first kernel reply, cold page cache", seconds([*run, "python3", "/tmp/first_reply.py"], docker)

        before = stored_bytes(storage)
        built = seconds(one.build(bumped), one.environment)
        pushed = seconds(one.push(registry), one.environment)
        yield "one package changed → image", built
        yield "one package changed → registry", built + pushed
        yield "one package changed: pushed", stored_bytes(storage) - before

        one.forget_layers()
        yield "downloads cached: repository → image", seconds(one.build(repository), one.environment)
        output_of(["docker", "image", "rm", "--force", image], docker)


if __name__ == "__main__":
    main()
