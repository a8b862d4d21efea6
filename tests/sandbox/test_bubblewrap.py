"""Steps in the real bubblewrap. Needs user namespaces, and the mirror unless the host has bwrap."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from envbuild.engine.model import Mount
from envbuild.errors import MachineError, RepoError
from envbuild.image.model import Image
from envbuild.pack.tar import Entry
from envbuild.progress import Silent
from envbuild.sandbox.bubblewrap import BubblewrapSandbox
from envbuild.sandbox.model import Limits, Step

pytestmark = pytest.mark.network


@dataclass(frozen=True)
class Result:
    code: int
    exceeded: str | None
    entries: dict[str, Entry]
    contents: dict[str, bytes]
    log: str


Run = Callable[..., Result]


@pytest.fixture
def run(bubblewrap: BubblewrapSandbox, image: Image, log: Path) -> Run:
    """Runs a shell script as a step and tells what became of it."""

    def run(script: str, **more: object) -> Result:
        step = Step("test", ("bash", "-c", script), log, **more)  # type: ignore[arg-type]
        with bubblewrap.execute(image, step, Silent()) as outcome:
            contents = {
                os.fsdecode(entry.path): b"".join(entry.chunks())
                for entry in outcome.changes
                if entry.kind == "file"
            }
        entries = {os.fsdecode(entry.path): entry for entry in outcome.changes}
        return Result(outcome.code, outcome.exceeded, entries, contents, log.read_text("utf-8", "replace"))

    return run


def _shown(result: Result) -> dict[str, str]:
    return {
        path: f"{entry.kind} {entry.mode:o} {entry.uid}:{entry.gid}" for path, entry in result.entries.items()
    }


def test_output_and_exit_code_come_back(run: Run) -> None:
    result = run("echo out; echo err >&2; exit 7")
    assert (result.code, result.exceeded, result.log, result.entries) == (7, None, "out\nerr\n", {})


def test_a_program_that_is_not_there_is_no_exit_code_of_the_step(
    bubblewrap: BubblewrapSandbox, image: Image, log: Path
) -> None:
    with (
        pytest.raises(MachineError, match=r"cannot run test: .*absent"),
        bubblewrap.execute(image, Step("test", ("absent",), log), Silent()),
    ):
        pass


def test_the_users_step_may_write_where_the_user_may(run: Run) -> None:
    result = run(
        "echo 1 > made; echo x > /home/jovyan/.rc; mkdir -p /srv/env/share/sub;"
        "echo 3 > /srv/env/share/sub/y; chmod 700 made;"
        "id -u; id -g; pwd; touch /etc/no /opt/no /usr/bin/no; exit 0"
    )
    assert result.log.startswith("1000\n100\n/srv/repo\n"), result.log
    assert _shown(result) == {
        "home/jovyan/.rc": "file 666 1000:100",
        "srv/env/share": "dir 775 1000:0",
        "srv/env/share/sub": "dir 775 1000:0",
        "srv/env/share/sub/y": "file 644 0:0",
        "srv/repo/made": "file 777 1000:100",
    }
    assert result.contents["srv/repo/made"] == b"1\n"


def test_roots_step_may_write_everywhere_and_chown_does_nothing(run: Run) -> None:
    result = run(
        "set -e; id -u; echo new > /etc/new; chown 33:33 /etc/new /etc/passwd; chgrp 5 /etc/first;"
        "chmod 4755 /etc/new; mkdir -m 0 /opt/closed; touch /opt/closed/x;"
        "mknod /dev-null c 1 3; mkfifo /pipe",
        user="root",
    )
    assert (result.code, result.log) == (0, "0\n")
    assert _shown(result) == {
        "etc/new": "file 755 0:0",
        "opt/closed": "dir 755 0:0",
        "opt/closed/x": "file 644 0:0",
    }


def test_what_was_removed_is_a_whiteout_and_what_is_the_same_is_nothing(run: Run) -> None:
    result = run(
        "set -e; rm /etc/first; touch /etc/second; echo -n 2 > /etc/second; mv /opt/many /tmp/;"
        "mkdir /opt/many; echo -n 1 > /opt/many/one; mkdir /opt/many/sub;"
        "touch /tmp/x /var/tmp/y /run/z /dev/shm/s",
        user="root",
    )
    assert _shown(result) == {
        "etc/.wh.first": "file 644 0:0",
        "opt/many/.wh.two": "file 644 0:0",
        "opt/many/sub": "dir 755 0:0",
    }, result.log


def test_kinds_may_change(run: Run) -> None:
    result = run(
        "set -e; rm -r /opt/many; ln -s /etc /opt/many; rm /opt/link; mkdir /opt/link; touch /opt/link/x",
        user="root",
    )
    assert _shown(result) == {
        "opt/link": "dir 755 0:0",
        "opt/link/x": "file 644 0:0",
        "opt/many": "symlink 777 0:0",
    }


def test_bytecode_goes_when_its_source_changes_and_none_stays_that_goes_by_time(run: Run) -> None:
    result = run(
        "cd /srv/env/lib; echo 'new = 1' > module.py;"
        "printf 'abcd\\0\\0\\0\\0xxxx' > __pycache__/n.cpython-311.pyc;"
        "printf 'abcd\\1\\0\\0\\0xxxx' > __pycache__/checked.cpython-311.pyc"
    )
    assert sorted(result.entries) == [
        "srv/env/lib/__pycache__/.wh.module.cpython-311.pyc",
        "srv/env/lib/__pycache__/checked.cpython-311.pyc",
        "srv/env/lib/module.py",
    ]


def test_environment_is_the_images_and_fixed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "ours")
    result = run("env; hostname; nproc", env={"THEIRS": "a b"}, limits=Limits(cpus=1))
    lines = result.log.splitlines()
    assert lines[-2:] == ["envbuild", "1"]
    assert {"SOURCE_DATE_EPOCH=315532801", "TZ=UTC", "PYTHONHASHSEED=0", "THEIRS=a b"} <= set(lines)
    assert not [line for line in lines if "SECRET" in line]


def test_a_mount_is_seen_and_nothing_of_it_is_captured(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "given"
    source.mkdir()
    (source / "in").write_text("given")
    result = run(
        "cat /mnt/deep/in; echo out > /mnt/deep/out",
        mounts=(Mount(source, "/mnt/deep", writable=True),),
        user="root",
    )
    assert (result.log, result.entries, (source / "out").read_text()) == ("given", {}, "out\n")


def test_nothing_of_the_host_is_there(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    result = run(
        f"cat {secret}; ls /; ls -a /root /home; for p in /proc/[0-9]*; do echo $p; done;"
        "echo core > /proc/sys/kernel/core_pattern; echo 1 > /proc/sysrq-trigger; cat /proc/net/dev;"
        "echo > /dev/tcp/127.0.0.1/22; mknod /tmp/sda b 8 0; ls /tmp",
        user="root",
    )
    assert "hidden" not in result.log
    assert "core_pattern: Read-only file system" in result.log
    assert "eth" not in result.log
    assert "Connection refused" in result.log  # there is nothing on the loopback of its own
    assert "sda" not in result.log


@pytest.mark.parametrize("user", ["root", "user"])
def test_memory_is_limited_over_all_processes(run: Run, user: str) -> None:
    result = run(
        "grow() { x=x; while :; do x=$x$x; [ ${#x} -gt 60000000 ] && sleep 300; done; }; grow & grow & wait",
        user=user,
        limits=Limits(memory=100 << 20, seconds=600),
    )
    assert result.exceeded == "more than 0.0977 GiB of memory"
    assert result.code != 0


def test_an_endless_loop_ends(run: Run) -> None:
    result = run("trap '' TERM; while :; do :; done", limits=Limits(seconds=0.5))
    assert (result.exceeded, result.code) == ("more than 0.5 seconds", 137)


def test_a_fork_bomb_ends(run: Run) -> None:
    result = run("bomb() { bomb | bomb & }; bomb; sleep 600", limits=Limits(processes=200, seconds=600))
    assert result.exceeded == "more than 200 processes"


def test_what_runs_in_the_background_ends_with_the_step(run: Run) -> None:
    result = run("(sleep 1000; touch late) & exit 0")
    assert (result.code, result.entries) == (0, {})


def test_hostile_trees_are_captured_without_following(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    result = run(
        f"ln -s {secret} link; ln -s / /srv/env/root; mkdir -m 0 shut; echo a > .wh.notebook;"
        "rm -r /srv/env/lib; ln -s /etc /srv/env/lib; mkfifo fifo;"
        "touch unreadable; chmod 0 unreadable; touch $'new\\nline\\xff'"
    )
    assert {path: entry.target for path, entry in result.entries.items() if entry.kind == "symlink"} == {
        "srv/repo/link": os.fsencode(secret),
        "srv/env/root": b"/",
        "srv/env/lib": b"/etc",
    }
    assert sorted(result.entries) == sorted(
        [
            "srv/env/lib",
            "srv/env/root",
            "srv/repo/link",
            "srv/repo/new\nline\udcff",
            "srv/repo/shut",
            "srv/repo/unreadable",
        ]
    )


def test_trees_that_are_too_deep_are_refused(run: Run) -> None:
    with pytest.raises(RepoError, match="longer than"):
        run(
            "for i in {1..100}; do n=d123456789012345678901234567890123456789012345678; mkdir $n; cd $n; done"
        )
