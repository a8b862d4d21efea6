"""Pushing and pulling the scientific image, first and after one package changed, side by side.

    bench/prepare /var/tmp/bench
    python -m bench.transfer /var/tmp/bench

envbuild's own push, and what pulls its image compressed with zstd and with gzip, beside `docker push` and
`docker pull` of the image that Dockerfile.uv makes, on the same registry. bench/README.md has the rest.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from bench.contestants import Contestant, Dockerfile, Envbuild
from bench.measure import memory_of, seconds, stored_bytes
from bench.report import Measurements, print_report, shown
from bench.run import FIRST_PIN, NEXT_PIN, arguments, import_base
from bench.workspace import (
    PROGRAMS,
    base_only_cache,
    docker_environment,
    docker_programs,
    output_of,
    repository,
)
from tests.support.servers import containerd, docker_daemon, docker_registry

_WRITTEN = re.compile(r"http\.response\.written=(\d+)")


def main() -> None:
    """Run the rounds and print the tables."""
    chosen = arguments("pushing and pulling, side by side")
    work: Path = chosen.directory.resolve()
    load = os.getloadavg()[0]
    first = repository(work / "repository", FIRST_PIN)
    repositories = [first, repository(work / "bumped", NEXT_PIN, first)]
    base = base_only_cache(work / "envbuild-base")
    with docker_daemon(programs=docker_programs(work)) as host:
        environment = docker_environment(host, work)
        daemon = import_base(host, work, environment)
        uv = work / "uv"
        uv.mkdir(exist_ok=True)
        shutil.copy2(PROGRAMS / "uv", uv / "uv")
        contestants: list[Contestant] = [
            Envbuild(PROGRAMS / "envbuild", work / "envbuild-zstd", base),
            Envbuild(PROGRAMS / "envbuild", work / "envbuild-gzip", base, compression="gzip"),
            Dockerfile("uv", environment, daemon=daemon, contexts={"uv": uv}),
        ]
        results = _compare(contestants, repositories, work, chosen)
        docker = output_of(["docker", "version", "--format", "{{.Server.Version}}"], environment)
    pins = sum("==" in line for line in (first / "pins.txt").read_text().splitlines())
    print_report(results, rounds=chosen.rounds, pins=pins, docker=docker, load=load)


def _compare(
    contestants: list[Contestant], repositories: list[Path], work: Path, chosen: argparse.Namespace
) -> dict[str, Measurements]:
    """All measurements of the chosen contestants, by their names."""
    contestants = [one for one in contestants if one.name.startswith(tuple(chosen.only or [""]))]
    results: dict[str, Measurements] = {one.name: {} for one in contestants}
    for one in contestants:
        one.forget_everything()
    for number in range(chosen.rounds):
        for one in contestants[number % len(contestants) :] + contestants[: number % len(contestants)]:
            for key, value in _round(one, repositories, work):
                results[one.name].setdefault(key, []).append(value)
                print(f"{number + 1} {one.name:16} {key:40} {shown(key, value)}", file=sys.stderr)
    for one in contestants:
        seconds(one.build(repositories[0]), one.environment)
        with _empty_registry(work) as registry:
            one.offer_base(registry)
            # Apart from the timed rounds, because looking costs time.
            memory = memory_of(one.push(registry), one.environment, one.daemons)
        results[one.name]["first push: peak memory, largest process"] = [memory.largest]
        results[one.name]["first push: peak memory, all processes"] = [memory.tree]
    return results


def _round(one: Contestant, repositories: list[Path], work: Path) -> Iterator[tuple[str, float]]:
    """All measurements of one contestant once: a registry that has the base, machines that have nothing."""
    with ExitStack() as stack:
        registry = stack.enter_context(_empty_registry(work))
        host = stack.enter_context(docker_daemon(programs=docker_programs(work)))
        socket = stack.enter_context(containerd())
        one.offer_base(registry)
        docker = ["docker", "pull", "--quiet", one.reference(registry)]
        ctr = ["ctr", "--address", str(socket), "images", "pull", "--plain-http", one.reference(registry)]
        for title, directory in zip(("first", "one package changed"), repositories, strict=True):
            seconds(one.build(directory), one.environment)
            before = stored_bytes(_storage(work))
            yield f"{title}: push", seconds(one.push(registry), one.environment)
            yield f"{title}: pushed", stored_bytes(_storage(work)) - before
            if title == "first":
                yield "nothing changed: push", seconds(one.push(registry), one.environment)
            for name, command, environment in (
                ("Docker", docker, docker_environment(host, work)),
                ("containerd", ctr, os.environ),
            ):
                before = _served(work)
                yield f"{title}: {name} pulls", seconds(command, environment)
                yield f"{title}: pulled by {name}", _served(work) - before


def _storage(work: Path) -> Path:
    return work / "registry"


def _log(work: Path) -> Path:
    return work / "registry.log"


def _empty_registry(work: Path) -> AbstractContextManager[str]:
    shutil.rmtree(_storage(work), ignore_errors=True)
    return docker_registry(_storage(work), access_log=_log(work))


def _served(work: Path) -> int:
    """Bytes of bodies that the registry has sent so far, by its own log."""
    return sum(map(int, _WRITTEN.findall(_log(work).read_text())))


if __name__ == "__main__":
    main()
