"""The real Docker and the real podman (whatever versions are installed) on tiny images."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest

from envbuild.engine import Command, Docker, Mount, Podman
from envbuild.errors import MachineError
from envbuild.image.model import Image
from envbuild.pack.tar import file
from envbuild.progress import Silent, Stage
from envbuild.store import Store
from tests.engine.conftest import PROGRAMS
from tests.support.images import host_image, make_image
from tests.support.podman import podman, podman_missing
from tests.support.servers import docker_daemon, missing
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker


class Counting(Silent):
    """Counts the bytes that are sent, and keeps notes."""

    def __init__(self) -> None:
        self.sent = 0
        self.notes: list[str] = []

    @contextmanager
    def stage(self, name: str, *, unit: str = "B") -> Iterator[Stage]:
        with super().stage(name) as stage:
            stage.advance = self._advance  # type: ignore[method-assign]
            yield stage

    def _advance(self, amount: int, *, cached: bool = False) -> None:
        self.sent += 0 if cached else amount

    def note(self, message: str) -> None:
        self.notes.append(message)


@dataclass(frozen=True, slots=True)
class Installed:
    """An engine of this machine: its class, and the variables that say where it is."""

    kind: type[Docker]
    environment: dict[str, str]


@pytest.fixture(scope="module", params=["docker", "podman"])
def installed(request: pytest.FixtureRequest) -> Iterator[Installed]:
    if request.param == "docker":
        reason = missing("dockerd", root=True)
        if reason is not None:
            pytest.skip(reason)
        with docker_daemon() as address:
            yield Installed(Docker, {"DOCKER_HOST": address})
        return
    reason = podman_missing()
    if reason is not None:
        pytest.skip(reason)
    with podman() as started:
        yield Installed(Podman, {**os.environ, **started.environment})


@pytest.fixture
def client(engine: Docker) -> docker.DockerClient:
    return engine.client


@pytest.fixture
def engine(shared_store: Store, installed: Installed) -> Iterator[Docker]:
    made = installed.kind(shared_store, installed.environment)
    assert made.unavailable() is None
    yield made
    made.close()


def _layers(*contents: bytes) -> list[list[object]]:
    return [[file(f"srv/{number}", content)] for number, content in enumerate(contents)]


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_the_image_id_is_ours_and_the_loopback_name_is_gone(
    engine: Docker, client: docker.DockerClient, shared_store: Store, compression: str
) -> None:
    image = make_image(shared_store, _layers(b"a", compression.encode()), compression=compression)  # type: ignore[arg-type]
    engine.load(image, [f"test/{compression}:one", f"test/{compression}:two"], reporter=Silent())
    loaded = client.images.get(f"test/{compression}:one")
    assert loaded.id == image.image_id
    tags = [tag.removeprefix("docker.io/") for tag in loaded.tags]  # podman says whose short names they are
    assert sorted(tags) == [f"test/{compression}:one", f"test/{compression}:two"]
    assert [name for name in loaded.attrs["RepoDigests"] if "127.0.0.1" in name] == []


def test_only_what_is_missing_is_sent(engine: Docker, shared_store: Store) -> None:
    big, small = os.urandom(2_000_000), b"small"
    first, again, bump = Counting(), Counting(), Counting()
    engine.prepare(make_image(shared_store, _layers(big, small)), reporter=first)  # type: ignore[arg-type]
    engine.prepare(make_image(shared_store, _layers(big, small)), reporter=again)  # type: ignore[arg-type]
    engine.prepare(make_image(shared_store, _layers(big, b"other")), reporter=bump)  # type: ignore[arg-type]
    assert first.sent > 2_000_000
    assert again.sent == 0
    assert 0 < bump.sent < 20_000


def test_a_change_below_other_layers(engine: Docker, shared_store: Store) -> None:
    """podman finds the layers above by their diff IDs; Docker's own store knows a layer by those below it."""
    low, changed, above = (os.urandom(size) for size in (300_000, 200_000, 400_000))
    bump = Counting()
    engine.prepare(make_image(shared_store, _layers(low, b"old", above)), reporter=Silent())  # type: ignore[arg-type]
    engine.prepare(make_image(shared_store, _layers(low, changed, above)), reporter=bump)  # type: ignore[arg-type]
    expected = 600_000 if engine.name == "docker" else 200_000
    assert expected <= bump.sent < expected + 20_000


def test_a_daemon_that_cannot_reach_us_gets_an_archive(
    engine: Docker, client: docker.DockerClient, shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_pull", lambda *_: "connection refused")
    image = make_image(shared_store, _layers(b"archive"))  # type: ignore[arg-type]
    reporter = Counting()
    engine.load(image, ["test/archive:one"], reporter=reporter)
    assert client.images.get("test/archive:one").id == image.image_id
    assert "connection refused" in reporter.notes[0]


def test_a_damaged_layer_is_reported_as_that(engine: Docker, shared_store: Store) -> None:
    image = make_image(shared_store, _layers(os.urandom(1000)))  # type: ignore[arg-type]
    shared_store.blob_path(image.layers[0].digest).write_bytes(b"damaged")
    with pytest.raises(MachineError) as caught:
        engine.prepare(image, reporter=Silent())
    assert caught.value.code == "damaged-cache"


@pytest.fixture
def image(shared_store: Store, engine: Docker) -> Image:
    made = host_image(shared_store, *PROGRAMS)
    engine.prepare(made, reporter=Silent())
    return made


def _command(repository: Path, script: str, **more: object) -> Command:
    return Command(
        ("sh", "-c", script),
        mounts=(Mount(repository, "/srv/repo", writable=True),),
        output=repository.parent / "output",
        **more,  # type: ignore[arg-type]
    )


def test_output_exit_code_user_and_environment(engine: Docker, image: Image, repository: Path) -> None:
    repository.chmod(0o777)
    script = "id -u; id -g; id -G; pwd; echo $TOKEN >&2; echo made > made; exit 7"
    command = _command(repository, script, owner=4321, env={"TOKEN": "t"})
    with engine.start(image, command) as running:
        assert running.wait() == 7
    # Docker keeps no order between the two streams.
    lines = (repository.parent / "output").read_text().splitlines()
    assert sorted(lines) == ["/srv/repo", "100", "100 0", "4321", "t"]
    assert (repository / "made").stat().st_uid == 4321


def test_terminate_is_polite_and_nothing_is_left(
    engine: Docker, image: Image, repository: Path, client: docker.DockerClient
) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with engine.start(image, _command(repository, script)) as running:
        output = repository.parent / "output"
        while output.read_text() != "ready\n":
            assert running.poll() is None
            time.sleep(0.02)
        running.terminate(grace=300)
        assert running.wait() == 3
    assert output.read_text() == "ready\nbye\n"
    assert client.containers.list(all=True) == []


def test_an_exception_ends_and_removes_the_container(
    engine: Docker, image: Image, repository: Path, client: docker.DockerClient
) -> None:
    script = "trap exit TERM; while :; do sleep 0.05; done"
    with pytest.raises(KeyboardInterrupt), engine.start(image, _command(repository, script)):
        raise KeyboardInterrupt
    assert client.containers.list(all=True) == []


def test_ports_are_published_on_loopback_only(
    engine: Docker, image: Image, repository: Path, client: docker.DockerClient
) -> None:
    with engine.start(image, _command(repository, "trap exit TERM; sleep 60 & wait", ports=(18765,))):
        (container,) = client.containers.list()
        assert container.attrs["HostConfig"]["PortBindings"] == {
            "18765/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18765"}]
        }


def test_memory_is_limited_swap_included(
    engine: Docker, client: docker.DockerClient, image: Image, repository: Path
) -> None:
    command = replace(_command(repository, "trap exit TERM; sleep 60 & wait"), memory=64 << 20)
    with engine.start(image, command):
        (container,) = client.containers.list()
        host = client.api.inspect_container(container.id)["HostConfig"]
        assert (64 << 20, 64 << 20) == (host["Memory"], host["MemorySwap"])


def test_a_missing_mount_is_an_error_and_leaves_nothing(
    engine: Docker, image: Image, repository: Path, client: docker.DockerClient
) -> None:
    with pytest.raises(MachineError, match=f"{engine.daemon.title}: .* does not exist"):
        engine.start(image, _command(repository / "missing", "true"))
    assert client.containers.list(all=True) == []


def test_standard_input_is_passed_on(
    installed: Installed, shared_store: Store, image: Image, repository: Path, client: docker.DockerClient
) -> None:
    """In a process of its own, because standard input is the process's."""
    done = _in_a_process(
        installed, shared_store, image, 'Command(("cat",), stdin=True, workdir="/")', "hello"
    )
    assert (done.stdout, done.returncode) == ("hello", 0)


def test_the_container_of_a_killed_envbuild_is_removed_by_the_next(
    installed: Installed, engine: Docker, shared_store: Store, image: Image, client: docker.DockerClient
) -> None:
    _kill_when_started(installed, shared_store, image, 'Command(("sh", "-c", "echo started; sleep 600"))')
    assert len(client.containers.list()) == 1
    engine.prepare(image, reporter=Silent())
    assert client.containers.list(all=True) == []


def test_a_tied_container_ends_with_what_started_it(
    installed: Installed, engine: Docker, shared_store: Store, image: Image, client: docker.DockerClient
) -> None:
    """All but process 1, which in real images is an init that ends when the others have."""
    script = "sleep 600 & echo started; wait"
    _kill_when_started(installed, shared_store, image, f'Command(("sh", "-c", {script!r}), tied=True)')
    wait_until(lambda: not client.containers.list())
    engine.prepare(image, reporter=Silent())


def test_a_signal_reaches_a_tied_process_and_not_what_watches(
    engine: Docker, image: Image, repository: Path, client: docker.DockerClient
) -> None:
    script = "trap 'echo hit' INT; trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    output = repository.parent / "output"
    with engine.start(image, _command(repository, script, tied=True)) as running:
        for number, said in ((signal.SIGINT, "ready\n"), (signal.SIGINT, "ready\nhit\n")):
            wait_until(lambda said=said: output.read_text() == said)  # type: ignore[misc]
            running.send_signal(number)
        wait_until(lambda: output.read_text() == "ready\nhit\nhit\n")
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 4
        running.send_signal(signal.SIGTERM)
    assert client.containers.list(all=True) == []


def _kill_when_started(installed: Installed, store: Store, image: Image, command: str) -> None:
    """Start ``command``, which says so, in a process of its own, and kill that."""
    process = subprocess.Popen(
        [sys.executable, "-c", _program(installed, store, command)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(_pickled(image))
        process.stdin.close()
        assert process.stdout.readline() == b"started\n"
        process.kill()


def _pickled(image: Image) -> bytes:
    return pickle.dumps(image).hex().encode() + b"\n"


def _program(installed: Installed, store: Store, command: str) -> str:
    return textwrap.dedent(
        f"""
        import os, pickle, sys
        from pathlib import Path
        from envbuild.engine import Command, {installed.kind.__name__}
        from envbuild.store import Store
        line = b""
        while not line.endswith(b"\\n"):
            line += os.read(0, 1)
        engine = {installed.kind.__name__}(Store(Path({str(store.root)!r})), {installed.environment!r})
        with engine.start(pickle.loads(bytes.fromhex(line.decode())), {command}) as running:
            code = running.wait()
        engine.close()
        sys.exit(code)
        """
    )


def _in_a_process(
    installed: Installed, store: Store, image: Image, command: str, text: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _program(installed, store, command)],
        input=_pickled(image).decode() + text,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("host", ["unix:///nonexistent/none.sock", "what", "tcp://127.0.0.1:99999"])
def test_without_a_daemon_the_reason_says_what_to_do(store: Store, host: str) -> None:
    reason = Docker(store, {"DOCKER_HOST": host}).unavailable()
    gc.collect()  # the SDK forgets to close what it could not connect
    assert reason is not None
    assert reason.endswith("start Docker, or set DOCKER_HOST")


@pytest.mark.parametrize("host", ["ssh://me:secret@example.org", "tcp://192.0.2.1:2376"])
def test_a_daemon_elsewhere_cannot_be_given_our_files(store: Store, repository: Path, host: str) -> None:
    engine = Docker(store, {"DOCKER_HOST": host})
    with pytest.raises(MachineError) as caught:
        engine.start(make_image(store, [[]]), _command(repository, "true"))
    assert (caught.value.code, "secret" in caught.value.message) == ("engine-elsewhere", False)
