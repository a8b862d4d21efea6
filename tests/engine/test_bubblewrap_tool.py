"""Which bubblewrap is used, with programs that stand in for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.engine import bubblewrap_tool
from envbuild.engine.bubblewrap_tool import find_bubblewrap
from envbuild.errors import RemoteError
from envbuild.store import Store


def _program(path: Path, version: str, code: int = 0, says: str = "") -> Path:
    """A bwrap that knows its version and ends everything else with ``code``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\nif [ "$*" = --version ]; then echo "bubblewrap {version}"; exit 0; fi\n'
        f'echo "{says}" >&2; exit {code}\n'
    )
    path.chmod(0o755)
    return path


def _not_installed(directory: Path) -> None:
    raise RemoteError("the mirror is down", code="down")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all of PATH (but for what scripts need)."""
    made = tmp_path / "bin"
    made.mkdir()
    monkeypatch.setenv("PATH", f"{made}")
    return made


def test_the_hosts_own_is_preferred_when_it_is_new_enough(store: Store, path: Path) -> None:
    own = _program(path / "bwrap", "0.11.0")
    assert find_bubblewrap(store, _not_installed) == ((str(own),), None)


def _install_program(directory: Path) -> None:
    libraries = directory / "usr/lib/x86_64-linux-gnu"
    # The loader's arguments are ignored; as a program it is as good as bwrap itself.
    _program(libraries / "ld-linux-x86-64.so.2", "0.12.0")
    _program(directory / "usr/bin/bwrap", "0.12.0")


@pytest.mark.parametrize("version", ["0.8.0", "0.10.1", "nonsense"])
def test_an_old_one_is_not_used(store: Store, path: Path, version: str) -> None:
    _program(path / "bwrap", version)
    argv, reason = find_bubblewrap(store, _install_program)
    assert (reason, Path(argv[-1]).is_relative_to(store.tools)) == (None, True)


def test_it_is_installed_once(store: Store, path: Path) -> None:
    first = find_bubblewrap(store, _install_program)
    assert find_bubblewrap(store, _not_installed) == first


def test_when_the_hosts_own_fails_the_installed_one_is_tried(store: Store, path: Path) -> None:
    _program(path / "bwrap", "0.11.0", code=1)
    argv, reason = find_bubblewrap(store, _install_program)
    assert (reason, Path(argv[-1]).is_relative_to(store.tools)) == (None, True)


def test_without_any_the_reason_says_why_it_could_not_be_had(store: Store, path: Path) -> None:
    argv, reason = find_bubblewrap(store, _not_installed)
    assert (argv, reason) == (
        (),
        "bubblewrap is not installed, and it could not be fetched: the mirror is down",
    )


@pytest.mark.parametrize(
    ("says", "what", "remedy"),
    [
        ("bwrap: No permissions to create a new namespace", "not let users make namespaces", "do this"),
        ("bwrap: Failed to make / slave: Permission denied", "not let users make namespaces", "do this"),
        ("bwrap: Can't mount proc on /proc: Operation not permitted", "/proc are covered", "`procMount: Un"),
    ],
)
def test_what_the_system_forbids_is_explained_and_no_other_one_tried(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch, says: str, what: str, remedy: str
) -> None:
    _program(path / "bwrap", "0.11.0", 1, says)
    monkeypatch.setattr(bubblewrap_tool, "_remedy", lambda said: "do this")

    argv, reason = find_bubblewrap(store, _not_installed)

    assert argv == ()
    assert reason is not None
    assert all(part in reason for part in (what, remedy, says))
    assert "mirror" not in reason


_NOT_PERMITTED = "bwrap: No permissions to create a new namespace"
_REFUSED = "bwrap: Failed to make / slave: Permission denied"
_FILTERED = {"sys/user/max_user_namespaces": "9000", "self/status": "Name:\tsh\nSeccomp:\t2\n"}


@pytest.mark.parametrize(
    ("said", "files", "remedy"),
    [
        (_NOT_PERMITTED, {"sys/user/max_user_namespaces": "0"}, "user.max_user_namespaces=15000`"),
        (_NOT_PERMITTED, {"sys/kernel/unprivileged_userns_clone": "0"}, "unprivileged_userns_clone=1`"),
        (_NOT_PERMITTED, _FILTERED, "a system call filter (seccomp) forbids it"),
        (_NOT_PERMITTED, {"self/status": "Seccomp:\t0\nSeccomp_filters:\t2\n"}, "in a container, "),
        (_NOT_PERMITTED, {}, "in a container, "),
        (_REFUSED, _FILTERED, "AppArmor or SELinux forbids it"),
    ],
)
def test_what_has_to_be_changed(tmp_path: Path, said: str, files: dict[str, str], remedy: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert remedy in bubblewrap_tool._remedy(said, tmp_path)
