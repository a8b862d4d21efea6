"""The real bubblewrap on a tiny image. Needs user namespaces, and the mirror unless the host has bwrap."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from envbuild.engine import Bubblewrap, Command, Mount, bubblewrap_container
from envbuild.errors import RepoError
from envbuild.image.model import Image
from envbuild.pack.tar import file
from envbuild.progress import Silent
from envbuild.store import Store
from tests.support.images import host_image, make_image
from tests.support.waiting import wait_until

pytestmark = pytest.mark.network

FOREVER = "trap exit TERM; echo ready; while :; do sleep 0.05; done"


class Shell:
    """Runs shell scripts in the image with the repository mounted; output goes to a file."""

    def __init__(self, engine: Bubblewrap, image: Image, repository: Path) -> None:
        engine.prepare(image, reporter=Silent())
        self.engine, self.image, self.repository = engine, image, repository
        self.output = repository.parent / "output"

    def command(self, script: str, **more: object) -> Command:
        mounts = (Mount(self.repository, "/srv/repo", writable=True),)
        return Command(("sh", "-c", script), mounts=mounts, output=self.output, **more)  # type: ignore[arg-type]

    def __call__(self, script: str, **more: object) -> tuple[int, str]:
        self.output.unlink(missing_ok=True)
        with self.engine.start(self.image, self.command(script, **more)) as running:
            return running.wait(), self.output.read_text()


@pytest.fixture
def shell(bubblewrap: Bubblewrap, image: Image, repository: Path) -> Shell:
    return Shell(bubblewrap, image, repository)


def test_output_and_exit_code_come_back(shell: Shell) -> None:
    assert shell("echo out; echo err >&2; exit 7") == (7, "out\nerr\n")


def test_it_is_user_1000_of_group_100_in_the_repository(shell: Shell) -> None:
    assert shell("id -u; id -g; pwd") == (0, "1000\n100\n/srv/repo\n")


def test_files_it_makes_belong_to_the_caller(shell: Shell) -> None:
    shell("echo made > made")
    made = shell.repository / "made"
    assert (made.read_text(), made.stat().st_uid) == ("made\n", os.geteuid())


def test_the_environment_is_the_images_and_the_commands_and_nothing_of_ours(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "secret")
    _, output = shell("export", env={"THEIRS": "a b"})
    assert "THEIRS='a b'" in output
    assert "HOME='/home/jovyan'" in output
    assert "OURS" not in output


def test_values_do_not_show_in_a_process_list(shell: Shell) -> None:
    with shell.engine.start(shell.image, shell.command(FOREVER, env={"TOKEN": "hush-hush"})):
        wait_until(shell.output.exists)
        shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "hush-hush" not in shown


def test_a_variable_cannot_become_options(shell: Shell) -> None:
    """bubblewrap reads its options separated by NUL, and an image's variables are among them."""
    with pytest.raises(RepoError, match="NUL"):
        shell.engine.start(shell.image, shell.command("true", env={"A": "x\0--bind\0/\0/mnt"}))


def test_the_image_can_be_written_to_and_is_the_same_afterwards(shell: Shell) -> None:
    assert shell("touch /usr/bin/new /tmp/x /home/jovyan/y; ls /usr/bin/new") == (0, "/usr/bin/new\n")
    assert shell("ls /usr/bin/new /tmp /home/jovyan 2>/dev/null")[1] == "/home/jovyan:\n\n/tmp:\n"


def test_nothing_of_the_host_is_visible(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("secret")
    assert shell(f"cat {tmp_path}/private {Path(__file__)} 2>/dev/null") == (1, "")


def test_a_read_only_mount_cannot_be_written_to(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    command = Command(
        ("sh", "-c", "touch /data/x"), workdir="/", mounts=(Mount(data, "/data"),), output=shell.output
    )
    with shell.engine.start(shell.image, command) as running:
        assert running.wait() != 0
    assert list(data.iterdir()) == []


def test_it_shares_the_hosts_network(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, listening = shell("cat /proc/net/tcp")
        assert f":{listener.getsockname()[1]:04X} " in listening


def test_terminate_is_polite_first(shell: Shell) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with shell.engine.start(shell.image, shell.command(script)) as running:
        wait_until(lambda: shell.output.read_text() == "ready\n")
        running.terminate(grace=300)
        assert (running.wait(), shell.output.read_text()) == (3, "ready\nbye\n")


def test_a_signal_reaches_the_process(shell: Shell) -> None:
    script = "trap 'echo hit; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    with shell.engine.start(shell.image, shell.command(script)) as running:
        wait_until(lambda: shell.output.read_text() == "ready\n")
        running.send_signal(signal.SIGINT)
        assert (running.wait(), shell.output.read_text()) == (5, "ready\nhit\n")
        running.send_signal(signal.SIGINT)
        assert not running.ran_out_of_memory()


@pytest.mark.parametrize(("after", "told"), [(4, True), (3, False)])
def test_lack_of_memory_is_known_from_the_machines_counter(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, after: int, told: bool
) -> None:
    counts = iter((3, after))
    monkeypatch.setattr(bubblewrap_container, "killed_for_memory", lambda: next(counts))
    with shell.engine.start(shell.image, shell.command(FOREVER)) as running:
        running.kill()
        assert (137, told) == (running.wait(), running.ran_out_of_memory())


def test_who_does_not_listen_is_killed_with_all_descendants(shell: Shell) -> None:
    script = (
        "trap '' TERM; (trap '' TERM; while :; do sleep 0.05; touch alive; done)& while :; do sleep 1; done"
    )
    with shell.engine.start(shell.image, shell.command(script)) as running:
        wait_until((shell.repository / "alive").exists)
        running.terminate(grace=0.1)
        assert running.wait() == 137
    (shell.repository / "alive").unlink()
    time.sleep(0.2)
    assert not (shell.repository / "alive").exists()


def test_leaving_the_block_ends_the_process(shell: Shell) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        shell.engine.start(shell.image, shell.command(FOREVER)) as running,
    ):
        wait_until(lambda: shell.output.read_text() == "ready\n")
        raise KeyboardInterrupt
    assert running.poll() is not None


def _descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_no_descriptor_is_left_open(shell: Shell) -> None:
    shell("true")
    before = _descriptors()
    shell("true")
    assert set(_descriptors()) <= set(before)  # servers of earlier tests may close theirs meanwhile


def test_a_container_dies_with_an_envbuild_that_is_killed(
    shell: Shell, shared_store: Store, tmp_path: Path
) -> None:
    """kill -9 of the process that started it: the kernel ends everything in the container."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import pickle, sys
            engine, image, command = pickle.load(sys.stdin.buffer)
            with engine.start(image, command) as running:
                running.wait()
            """
        )
    )
    command = shell.command("while :; do touch alive; sleep 0.05; done")
    engine = Bubblewrap(shared_store, _never)
    process = subprocess.Popen(
        [sys.executable, program],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        pickle.dump((engine, shell.image, command), stdin)
    wait_until((shell.repository / "alive").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()

    def ended() -> bool:
        (shell.repository / "alive").unlink(missing_ok=True)
        time.sleep(0.5)
        return not (shell.repository / "alive").exists()

    wait_until(ended)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def _never(directory: Path) -> None:
    raise AssertionError("it is installed already")


def test_a_hundred_layers_start(
    bubblewrap: Bubblewrap, shared_store: Store, image: Image, repository: Path
) -> None:
    """More lower directories than an overlay mount's options have room for."""
    more = make_image(shared_store, [[file(f"etc/{number}", str(number).encode())] for number in range(100)])
    many = Image(image.platform, image.config, image.manifest, (*image.layers, *more.layers))
    assert Shell(bubblewrap, many, repository)("cat /etc/0 /etc/99") == (0, "099")


def test_names_with_every_kind_of_character(bubblewrap: Bubblewrap, image: Image, tmp_path: Path) -> None:
    """Commas and backslashes mean something in overlay options. (Colons do to the dynamic loader.)"""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a b,c\\d\n'\"=\xff"))
    repository = odd / "repository: x"
    repository.mkdir(parents=True)
    store = Store(odd / "cache")
    store.prepare()
    here = host_image(store, "cat")
    (repository / "file").write_text("content")
    installed = bubblewrap._store.tools.glob("*/tree")  # none when the host has its own
    engine = Bubblewrap(store, lambda tree: _copy(next(installed), tree))
    assert engine.unavailable() is None
    assert Shell(engine, here, repository)("cat file") == (0, "content")


def test_settings_of_the_kernel_cannot_be_changed_even_when_root_runs_it(shell: Shell) -> None:
    """The value that is written is the one that is there, so that a failure of this test does no harm."""
    code, output = shell(
        "for f in /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness; do"
        ' value=$(cat $f); echo "$value" > $f && echo "$f was written"; done; exit 0'
    )
    assert (code, "was written" in output) == (0, False)
