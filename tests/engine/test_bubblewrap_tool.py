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
        f"echo '{says}' >&2; exit {code}\n"
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
        "bubblewrap is not installed and could not be fetched: the mirror is down",
    )


def test_forbidden_namespaces_are_explained(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(directory: Path) -> None:
        _install_program(directory)
        says = "bwrap: No permissions to create new namespace"
        _program(directory / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "0.12.0", 1, says)

    monkeypatch.setattr(bubblewrap_tool, "_remedy", lambda: "do this")
    argv, reason = find_bubblewrap(store, install)
    assert argv == ()
    assert reason == (
        "this system does not let users make namespaces "
        "(bwrap: No permissions to create new namespace); do this"
    )
