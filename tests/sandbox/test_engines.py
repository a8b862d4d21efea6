"""The same steps in every engine: the same layer, to the byte; and the limits of Docker's and podman's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from envbuild.engine import Docker, Podman
from envbuild.engine.model import Mount
from envbuild.image.model import Image
from envbuild.pack.blob import pack_entries
from envbuild.pack.tar import complete, file
from envbuild.progress import Silent
from envbuild.sandbox.bubblewrap import BubblewrapSandbox
from envbuild.sandbox.docker import DockerSandbox
from envbuild.sandbox.model import Limits, Sandbox, Step
from envbuild.store import Store
from tests.support.images import host_image
from tests.support.podman import podman, podman_missing
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


@pytest.fixture(scope="module", params=["docker", "podman"])
def keeper(request: pytest.FixtureRequest, shared_store: Store) -> Iterator[DockerSandbox]:
    """The sandbox in an engine that keeps images."""
    reason = missing("dockerd", root=True) if request.param == "docker" else podman_missing()
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as servers:
        engine: Docker
        if request.param == "docker":
            engine = Docker(shared_store, {"DOCKER_HOST": servers.enter_context(docker_daemon())})
        else:
            environment = servers.enter_context(podman()).environment
            engine = Podman(shared_store, {**os.environ, **environment})
        servers.callback(engine.close)
        sandbox = DockerSandbox(engine, shared_store, {})
        assert sandbox.unavailable() is None
        yield sandbox


def _diff_id(sandbox: Sandbox, image: Image, step: Step, store: Store) -> tuple[str, list[str]]:
    with sandbox.execute(image, step, Silent()) as outcome:
        assert outcome.succeeded, step.output.read_text()
        entries = complete(outcome.changes)
        shown = [f"{entry.path!r} {entry.kind} {entry.mode:o} {entry.uid}:{entry.gid}" for entry in entries]
        return pack_entries(store, entries, "none").diff_id, shown


@pytest.mark.parametrize("name", sorted(STEPS))
def test_all_give_the_same_layer(
    bubblewrap: BubblewrapSandbox,
    keeper: DockerSandbox,
    image: Image,
    shared_store: Store,
    log: Path,
    name: str,
) -> None:
    user, script = STEPS[name]
    step = Step(name, ("bash", "-c", script), log, user=user, mounts=())  # type: ignore[arg-type]
    one, two = (_diff_id(sandbox, image, step, shared_store) for sandbox in (bubblewrap, keeper))
    assert one[1] == two[1]
    assert one[0] == two[0]


def _run(sandbox: Sandbox, image: Image, log: Path, script: str, **more: object) -> tuple[int, str | None]:
    with sandbox.execute(image, Step("test", ("bash", "-c", script), log, **more), Silent()) as outcome:  # type: ignore[arg-type]
        return outcome.code, outcome.exceeded


def test_users_that_the_image_does_not_name_are_no_change(
    keeper: DockerSandbox, shared_store: Store, log: Path
) -> None:
    """podman names them in the container."""
    users = [file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"), file("etc/group", b"root:x:0:\n")]
    image = host_image(shared_store, "env", "true", added=users)
    with keeper.execute(image, Step("test", ("true",), log), Silent()) as outcome:
        assert (outcome.code, outcome.changes) == (0, ())


def test_an_attached_program_sees_only_the_variables_it_is_given(
    keeper: DockerSandbox, shared_store: Store
) -> None:
    """Not the image's, and not those of the service that have the names of the image's."""
    image = host_image(shared_store, "env", env=["LOGNAME=image", "CONTAINERS_CONF=image"])
    argv, variables = ("/usr/bin/env",), {"GIVEN": "yes"}
    command, environment = keeper.attached(image, argv, variables, Limits(), Silent())
    done = subprocess.run(command, env=environment, input=b"", capture_output=True, check=True)
    seen = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert seen.pop("GIVEN") == "yes"
    assert seen.keys() <= {"PATH", "HOME", "HOSTNAME", "TERM"}  # what Docker sets of its own


def test_keeper_output_and_exit_code(keeper: DockerSandbox, image: Image, log: Path) -> None:
    assert _run(keeper, image, log, "echo out; echo err >&2; exit 7") == (7, None)
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_keeper_ends_what_takes_too_long(keeper: DockerSandbox, image: Image, log: Path) -> None:
    limits = Limits(seconds=1)
    assert _run(keeper, image, log, "trap '' TERM; while :; do :; done", limits=limits) == (
        137,
        "more than 1 seconds",
    )


def test_keeper_limits_memory(keeper: DockerSandbox, image: Image, log: Path) -> None:
    script = "x=x; while :; do x=$x$x; done"
    _, exceeded = _run(keeper, image, log, script, limits=Limits(memory=100 << 20))
    assert exceeded == "more than 0.0977 GiB of memory"


def test_keeper_limits_processes_and_cpus(keeper: DockerSandbox, image: Image, log: Path) -> None:
    script = "nproc; for i in {1..100}; do sleep 100 & done"
    _run(keeper, image, log, script, limits=Limits(processes=20, cpus=1))
    assert log.read_text().startswith("1\n")
    assert "fork" in log.read_text()


def test_keeper_sees_nothing_else(keeper: DockerSandbox, image: Image, log: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("given")
    script = (
        "cat /mnt/deep/in; cat /proc/net/dev; echo > /dev/tcp/127.0.0.1/22; echo > /mnt/deep/in;"
        "echo core > /proc/sys/kernel/core_pattern; true"
    )
    step = Step("test", ("bash", "-c", script), log, user="root", mounts=(Mount(tmp_path, "/mnt/deep"),))
    with keeper.execute(image, step, Silent()) as outcome:
        assert outcome.changes == ()
    said = log.read_text()
    assert "given" in said  # first, but engines carry output and errors apart
    assert "eth0" not in said
    assert said.count("Read-only file system") == 2
