"""A conda environment by envbuild and by a hand-written Dockerfile, side by side, from one local channel.

    bench/prepare /var/tmp/bench
    python -m bench.conda /var/tmp/bench

The peer is rattler's installer, which is what pixi uses and mamba's is like. bench/README.md has the rest.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import rattler

from bench.contestants import Contestant, Dockerfile, Envbuild
from bench.report import print_report
from bench.run import arguments, compare, import_base
from bench.workspace import PROGRAMS, base_only_cache, docker_environment, docker_programs, output_of
from envbuild.lock.lockfile import load_lock
from envbuild.pack.conda_meta import record
from tests.support.conda import make_channel, make_conda
from tests.support.conda_channel import ChannelServer
from tests.support.conda_real import real_channel
from tests.support.servers import docker_daemon

_WHEELS = ("ipykernel", "pip", "pandas", "matplotlib", "scipy", "seaborn")
# What is built first, and what changes then: a small package of the user's own.
_FIRST, _NEXT = "lab-tools=1.0", "lab-tools=1.1"
_PYTHON = "3.11"
_HERE = Path(__file__).parent


def main() -> None:
    """Run the rounds and print the tables."""
    chosen = arguments("a conda environment by envbuild and by rattler in a Dockerfile")
    work: Path = chosen.directory.resolve()
    load = os.getloadavg()[0]
    with (
        ChannelServer(_channel(work / "conda")) as channel,
        docker_daemon(programs=docker_programs(work)) as host,
    ):
        os.environ["ENVBUILD_CONDA_CHANNELS"] = f"conda-forge={channel.url}"
        first = _repository(work / "conda" / "first", _FIRST, channel.url)
        repositories = [first, _repository(work / "conda" / "bumped", _NEXT, channel.url, first)]
        environment = docker_environment(host, work)
        daemon = import_base(host, work, environment)
        contestants: list[Contestant] = [
            Envbuild(PROGRAMS / "envbuild", work / "envbuild", base_only_cache(work / "envbuild-base")),
            Dockerfile(
                "rattler", environment, daemon=daemon, contexts={"rattler": _installer(work / "rattler")}
            ),
        ]
        results = compare(contestants, repositories, environment, work / "registry", chosen)
        docker = output_of(["docker", "version", "--format", "{{.Server.Version}}"], environment)
    packages = len(load_lock((first / "envbuild.lock").read_bytes()).target("linux/amd64").conda)
    print_report(results, rounds=chosen.rounds, pins=packages, docker=docker, load=load)


def _channel(directory: Path) -> Path:
    """A real Python with a scientific set, and a small package in two versions."""
    directory.mkdir(exist_ok=True)
    channel = real_channel(directory, _WHEELS)
    source = "".join(f"def tool_{number}(x):\n    return x + {number}\n" for number in range(200))
    if not list(channel.glob("noarch/lab-tools-*")):
        make_channel(
            channel,
            [
                make_conda(
                    "lab-tools",
                    version,
                    noarch="python",
                    depends=["python"],
                    files={
                        f"site-packages/lab_tools/part{number}.py": f"V = {version!r}\n{source}".encode()
                        for number in range(20)
                    },
                )
                for version in ("1.0", "1.1")
            ],
        )
    return channel


def _repository(directory: Path, package: str, channel: str, previous: Path | None = None) -> Path:
    """A repository with one set of packages in ``envbuild.lock``, and as rattler's records for the peer."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    names = [f"python={_PYTHON}", *_WHEELS, package]
    listed = "".join(f"  - {name}\n" for name in names)
    (directory / "environment.yml").write_text(
        f"name: bench\nchannels: [conda-forge, nodefaults]\ndependencies:\n{listed}"
    )
    (directory / ".dockerignore").write_text("envbuild.lock\n")
    if previous is not None:
        shutil.copy(previous / "envbuild.lock", directory)
    output_of([str(PROGRAMS / "envbuild"), "lock", str(directory), "--platform", "linux/amd64"], os.environ)
    records = directory / "records"
    records.mkdir()
    for locked in load_lock((directory / "envbuild.lock").read_bytes()).target("linux/amd64").conda:
        name, text = record(locked, {"noarch": locked.noarch}, ())
        document = json.loads(text) | {"channel": channel, "url": f"{channel}/{locked.artifact.path}"}
        (records / name).write_text(json.dumps(document))
    return directory


def _installer(directory: Path) -> Path:
    """What the peer's container needs of rattler: the library and the few lines that call it."""
    shutil.rmtree(directory, ignore_errors=True)
    library = Path(rattler.__file__).parent
    shutil.copytree(library, directory / library.name)
    shutil.copy(_HERE / "install_conda.py", directory)
    return directory


if __name__ == "__main__":
    main()
