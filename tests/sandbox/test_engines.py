"""The same steps in every engine: the same layer, to the byte; and the limits of Docker's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.engine import Docker
from envbuild.engine.model import Mount
from envbuild.image.model import Image
from envbuild.pack.blob import pack_entries
from envbuild.pack.tar import complete
from envbuild.progress import Silent
from envbuild.sandbox.bubblewrap import BubblewrapSandbox
from envbuild.sandbox.docker import DockerSandbox
from envbuild.sandbox.model import Limits, Sandbox, Step
from envbuild.store import Store
from tests.support.servers import docker_daemon, missing

pytestmark = [pytest.mark.docker, pytest.mark.network]

STEPS = {
    "nothing": ("user", "true"),
    "files of the user": (
        "user",
        "echo 1 > made; chmod 755 made; mkdir -p sub/deep; echo 2 > sub/deep/file; ln -s made link;"
        "ln made hard; echo x > ~/.rc; mkdir ~/.cache; echo y > ~/.cache/z; rm notebook; mkfifo pipe",
    ),
    "environment": (
        "user",
        "cd /srv/env/lib; rm module.py; echo 'new = 1' > module.py; mkdir other; echo > other/__init__.py;"
        "touch kept.py 2> /dev/null; mkdir empty",
    ),
    "not the user's": (
        "user",
        "touch /etc/no /usr/bin/no /srv/no 2> /dev/null; rm -r /opt 2> /dev/null; true",
    ),
    "root": (
        "root",
        "set -e; rm /etc/first; echo -n 2 > /etc/second; chown 33:33 /etc/second; mkdir -m 700 /opt/closed;"
        "echo > /opt/closed/x; chmod 4755 /opt/closed/x; mknod /opt/null c 1 3; rm -r /opt/many;"
        "mkdir /opt/many; echo -n 1 > /opt/many/one; echo 3 > /opt/many/three; rm /opt/link;"
        "mkdir /opt/link; id -u > /opt/id",
    ),
    "kinds": (
        "root",
        "set -e; rm -r /opt/many; ln -s /etc /opt/many; mv /etc/passwd /etc/users; rm -r /srv/env",
    ),
    "environment variables": (
        "user",
        'for n in HOME USER LANG TZ SOURCE_DATE_EPOCH PYTHONHASHSEED HOSTNAME TERM; do echo "$n=${!n}";'
        "done > variables; hostname >> variables; umask >> variables; pwd >> variables; id >> variables",
    ),
    "root's variables": (
        "root",
        "env | while read line; do echo $line; done | cat > /root/variables; umask > /u",
    ),
    "names": ("user", "touch $'new\nline' ' space' '.wh.notebook' -- -dash; mkdir 'a b'; touch $'caf\\xe9'"),
}


@pytest.fixture(scope="module")
def docker(shared_store: Store) -> Iterator[DockerSandbox]:
    reason = missing("dockerd", root=True)
    if reason is not None:
        pytest.skip(reason)
    with docker_daemon() as address:
        engine = Docker(shared_store, {"DOCKER_HOST": address})
        assert engine.unavailable() is None
        yield DockerSandbox(engine, shared_store, {})
        engine.close()


def _diff_id(sandbox: Sandbox, image: Image, step: Step, store: Store) -> tuple[str, list[str]]:
    with sandbox.execute(image, step, Silent()) as outcome:
        assert outcome.succeeded, step.output.read_text()
        entries = complete(outcome.changes)
        shown = [f"{entry.path!r} {entry.kind} {entry.mode:o} {entry.uid}:{entry.gid}" for entry in entries]
        return pack_entries(store, entries, "none").diff_id, shown


@pytest.mark.parametrize("name", sorted(STEPS))
def test_both_give_the_same_layer(
    bubblewrap: BubblewrapSandbox,
    docker: DockerSandbox,
    image: Image,
    shared_store: Store,
    log: Path,
    name: str,
) -> None:
    user, script = STEPS[name]
    step = Step(name, ("bash", "-c", script), log, user=user, mounts=())  # type: ignore[arg-type]
    one, two = (_diff_id(sandbox, image, step, shared_store) for sandbox in (bubblewrap, docker))
    assert one[1] == two[1]
    assert one[0] == two[0]


def _run(sandbox: Sandbox, image: Image, log: Path, script: str, **more: object) -> tuple[int, str | None]:
    with sandbox.execute(image, Step("test", ("bash", "-c", script), log, **more), Silent()) as outcome:  # type: ignore[arg-type]
        return outcome.code, outcome.exceeded


def test_docker_output_and_exit_code(docker: DockerSandbox, image: Image, log: Path) -> None:
    assert _run(docker, image, log, "echo out; echo err >&2; exit 7") == (7, None)
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_docker_ends_what_takes_too_long(docker: DockerSandbox, image: Image, log: Path) -> None:
    limits = Limits(seconds=1)
    assert _run(docker, image, log, "trap '' TERM; while :; do :; done", limits=limits) == (
        137,
        "more than 1 seconds",
    )


def test_docker_limits_memory(docker: DockerSandbox, image: Image, log: Path) -> None:
    script = "x=x; while :; do x=$x$x; done"
    _, exceeded = _run(docker, image, log, script, limits=Limits(memory=100 << 20))
    assert exceeded == "more than 0.0977 GiB of memory"


def test_docker_limits_processes_and_cpus(docker: DockerSandbox, image: Image, log: Path) -> None:
    script = "nproc; for i in {1..100}; do sleep 100 & done"
    _run(docker, image, log, script, limits=Limits(processes=20, cpus=1))
    assert log.read_text().startswith("1\n")
    assert "fork" in log.read_text()


def test_docker_sees_nothing_else(docker: DockerSandbox, image: Image, log: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("given")
    script = (
        "cat /mnt/deep/in; cat /proc/net/dev; echo > /dev/tcp/127.0.0.1/22; echo > /mnt/deep/in;"
        "echo core > /proc/sys/kernel/core_pattern; true"
    )
    step = Step("test", ("bash", "-c", script), log, user="root", mounts=(Mount(tmp_path, "/mnt/deep"),))
    with docker.execute(image, step, Silent()) as outcome:
        assert outcome.changes == ()
    said = log.read_text()
    assert "given" in said  # first, but Docker carries output and errors apart
    assert "eth0" not in said
    assert said.count("Read-only file system") == 2
