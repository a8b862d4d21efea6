"""podman for the tests, as root and as a user without rights, with all that it keeps in a scratch directory.

What real machines have, and virtual machines for tests may lack, is provided here: limits that may be set, a
runtime for cgroups of either version, ``/dev/net/tun`` for everybody.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import missing, scratch_directory

__all__ = ["ROOTLESS_USER", "Podman", "podman", "podman_missing"]

# Made by scripts/install-servers, because only an administrator can give a user subordinate IDs.
ROOTLESS_USER = "envbuild-tests"

_AS_USER = """
tun=$1 user=$2
shift 2
if [ -e /dev/net/tun ]; then mount --bind "$tun" /dev/net/tun; fi
exec setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
"""


@dataclass(frozen=True, slots=True)
class Podman:
    """How podman is started: ``prefix`` comes before a command, ``environment`` on top of this process's."""

    prefix: tuple[str, ...]
    environment: Mapping[str, str]

    def output(self, *arguments: str | Path) -> str:
        """What ``podman`` prints; a failure raises with what it said."""
        done = subprocess.run(
            [*self.prefix, "podman", *map(str, arguments)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def podman_missing(*, rootless: bool = False) -> str | None:
    """Why podman cannot be started here, None when it can."""
    reason = missing("podman", "runc", root=True)
    if reason is None and rootless:
        reason = missing("newuidmap", "slirp4netns", "unshare", "setpriv")
        if reason is None and not _exists(ROOTLESS_USER):
            reason = f"not installed: the user {ROOTLESS_USER} (scripts/install-servers makes it)"
    return reason


@contextlib.contextmanager
def podman(*, rootless: bool = False) -> Iterator[Podman]:
    """A podman without images, as root or as :data:`ROOTLESS_USER`; nothing of it is left in the end."""
    with scratch_directory() as directory:
        environment = _configured(directory)
        prefix: tuple[str, ...] = ()
        if rootless:
            _give(directory)
            os.mknod(directory / "tun", 0o020666, os.makedev(10, 200))
            (directory / "tun").chmod(0o666)
            prefix = ("unshare", "--mount", "sh", "-c", _AS_USER, "sh", str(directory / "tun"), ROOTLESS_USER)
        made = Podman(prefix, environment)
        try:
            yield made
        finally:
            made.output("rm", "--all", "--force", "--time", "0")
            if rootless:
                _end_pause(directory)
            else:
                made.output("rmi", "--all", "--force")


def _configured(directory: Path) -> dict[str, str]:
    for name in ("home", "run"):
        (directory / name).mkdir(mode=0o700)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (directory / "containers.conf").write_text(
        f'[containers]\ndefault_ulimits = ["nofile={soft}:{hard}", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{directory}/run/libpod"\n'
    )
    (directory / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/home/storage"\n'
        f'rootless_storage_path = "{directory}/home/storage"\nrunroot = "{directory}/run/storage"\n'
    )
    return {
        "CONTAINERS_CONF": str(directory / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        "HOME": str(directory / "home"),
        "XDG_RUNTIME_DIR": str(directory / "run"),
    }


def _give(directory: Path) -> None:
    for path in (directory, *directory.iterdir()):
        shutil.chown(path, ROOTLESS_USER, ROOTLESS_USER)


def _end_pause(directory: Path) -> None:
    """End the process with which podman keeps a user's namespace for the next command."""
    for file in (directory / "run").rglob("pause.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
