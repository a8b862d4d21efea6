"""Finding bubblewrap: the host's own, or the one Debian publishes, unpacked into the cache.

The unpacked one is started through its own dynamic loader, so nothing is installed and the host's C library
does not matter. The host's own is preferred: some systems let only ``/usr/bin/bwrap`` make namespaces.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import EnvbuildError
from envbuild.store import Store
from envbuild.store.directory import checked_directory, make_directory

__all__ = ["PACKAGES", "find_bubblewrap"]

# What bwrap links to; their own dependencies are not needed to run it.
PACKAGES = ("bubblewrap", "libc6", "libcap2", "libpcre2-8-0", "libselinux1")
_OLDEST = (0, 11)  # the first with --overlay-src
_PROBE_SECONDS = 20
# EACCES: filters of system calls, and the kernel's own rules, say EPERM ("Operation not permitted").
_REFUSED = "Permission denied"
_UNMASKED = (
    "in Docker `--security-opt systempaths=unconfined` uncovers them, in Kubernetes `procMount: Unmasked`"
)
_UNCONFINED = (
    "AppArmor or SELinux forbids it: in Docker `--security-opt apparmor=unconfined` or `label=disable` allows"
    " it, in Kubernetes an `appArmorProfile` or `seLinuxOptions` of pods that may mount"
)
_UNFILTERED = (
    "in Docker `--security-opt seccomp=unconfined --security-opt apparmor=unconfined` allows it, in"
    " Kubernetes a `seccompProfile` of type Localhost that allows clone, unshare, mount, umount2, pivot_root"
    " and sethostname"
)


def find_bubblewrap(store: Store, install: Callable[[Path], None]) -> tuple[tuple[str, ...], str | None]:
    """The first bubblewrap that works here.

    Parameters:
        install: unpacks :data:`PACKAGES` into the directory it is given; called when the cache has no
            bubblewrap.

    Returns:
        ``(argv, None)``, or ``((), reason)`` when there is none that works.
    """
    reason = None
    for argv in _candidates(store, install):
        if isinstance(argv, str):
            return (), f"{reason or 'bubblewrap is not installed'}, and it could not be fetched: {argv}"
        trouble = _trouble(argv, store.trees)
        if trouble is None:
            return argv, None
        reason = trouble.reason
        if trouble.of_system:
            break
    return (), reason


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why one does not work; ``of_system``: for a reason that no other one would change."""

    reason: str
    of_system: bool = False


def _candidates(store: Store, install: Callable[[Path], None]) -> Iterator[tuple[str, ...] | str]:
    own = shutil.which("bwrap")
    if own is not None and _version((own,)) >= _OLDEST:
        yield (own,)
    place = store.tools / f"bubblewrap-{platform.machine()}"
    if checked_directory(store, place) is None:
        try:
            with store.lock("bubblewrap"):
                if checked_directory(store, place) is None:
                    make_directory(store, place, install)
        except EnvbuildError as error:
            yield str(error)
            return
    yield _through_loader(place / "tree")


def _through_loader(directory: Path) -> tuple[str, ...]:
    libraries = next(directory.glob("usr/lib/*-linux-gnu"))
    loader = next(libraries.glob("ld-linux-*.so.*"))
    return (
        str(loader),
        "--inhibit-cache",
        "--library-path",
        str(libraries),
        str(directory / "usr/bin/bwrap"),
    )


def _version(argv: tuple[str, ...]) -> tuple[int, ...]:
    try:
        result = subprocess.run(
            [*argv, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    match = re.search(r"(\d+)\.(\d+)", result.stdout)
    return tuple(map(int, match.groups())) if match else (0,)


def _trouble(argv: tuple[str, ...], lower: Path) -> _Trouble | None:
    """Why ``argv`` cannot make a container whose files are in ``lower``'s file system; None when it can."""
    probe = ["--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "100", "--ro-bind", "/", "/"]
    probe += ["--proc", "/proc", "--dev", "/dev"]
    probe += ["--overlay-src", str(lower), "--tmp-overlay", "/dev/overlay"]
    try:
        result = subprocess.run(
            # bwrap itself is the one program that is certain to be there.
            [*argv, *probe, "--", *argv, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _Trouble(f"{argv[-1]} does not run: {error}")
    if result.returncode == 0:
        return None
    said = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
    if not said.startswith("bwrap:"):
        return _Trouble(f"{argv[-1]} does not run: {said}")
    if "mount proc" in said:
        return _Trouble(
            f"parts of /proc are covered in this container, and then the kernel lets nobody mount another"
            f" ({said}); {_UNMASKED}",
            of_system=True,
        )
    return _Trouble(
        f"this system does not let users make namespaces ({said}); {_remedy(said)}",
        of_system="namespace" in said or _REFUSED in said,
    )


def _remedy(said: str, kernel: Path = Path("/proc")) -> str:
    """What has to be changed for users to make namespaces, as far as bubblewrap and ``kernel`` can tell."""
    for name, value, remedy in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "15000"),
    ):
        try:
            current = (kernel / "sys" / name).read_text().strip()
        except OSError:
            continue
        if current == value:
            return f"an administrator can allow it: `sysctl -w {name.replace('/', '.')}={remedy}`"
    if _REFUSED in said:
        return _UNCONFINED
    if _is_filtered(kernel):
        return f"a system call filter (seccomp) forbids it: {_UNFILTERED}"
    return f"in a container, {_UNFILTERED}"


def _is_filtered(kernel: Path) -> bool:
    """Whether a system call filter holds this process."""
    try:
        status = (kernel / "self" / "status").read_text()
    except OSError:
        return False
    return re.search(r"^Seccomp:\s*2$", status, re.MULTILINE) is not None
