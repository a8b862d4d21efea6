"""What people read."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.drift.changes import Change, Origin
from envbuild.drift.declaring import Place
from envbuild.drift.messages import adopt_command, drift_error, warnings_about
from envbuild.source import Repo
from envbuild.source.origin import Origin as Fetched

PLACE = Place("requirements.txt", "requirements")


@pytest.mark.parametrize(
    ("change", "over", "line"),
    [
        (
            Change("six", None, "1.17.0"),
            False,
            "six 1.17.0 was installed, which lasts until the session ends;"
            " to keep it, add `six==1.17.0` to requirements.txt",
        ),
        (
            Change("six", "1.16.0", "1.17.0", origin=Origin("git", "https://example.org/six", "0" * 40)),
            True,
            "six 1.16.0 was replaced by 1.17.0 from https://example.org/six, which the end of the session has"
            f" undone; to keep it, add `six @ git+https://example.org/six@{'0' * 40}` to requirements.txt",
        ),
        (
            Change("six", None, "1.17.0", place="/srv/repo/libs"),
            True,
            "six 1.17.0 was installed into /srv/repo/libs, which only this directory knows;"
            " to keep it, add `six==1.17.0` to requirements.txt",
        ),
        (
            Change("six", "1.17.0", None, "conda", "user"),
            True,
            "six 1.17.0 was uninstalled by conda into the user's own packages, which the end of the session"
            " has undone; no file of the repository asks for it",
        ),
    ],
)
def test_a_change_is_one_sentence(change: Change, over: bool, line: str) -> None:
    assert warnings_about([change], PLACE, over=over) == [line]


def test_what_came_with_others_is_one_sentence() -> None:
    changes = [Change(name, None, "1", requested=False) for name in ("a", "b")]
    assert warnings_about(changes, PLACE, over=True) == ["changed because of other packages: a 1, b 1"]


def test_a_flood_is_cut() -> None:
    changes = [Change(f"a{number}", None, "1", requested=number < 50) for number in range(100)]
    lines = warnings_about(changes, PLACE, over=True)
    assert (len(lines), lines[20], lines[21][-11:]) == (22, "30 more packages were changed", "and 30 more")


def test_the_error_names_what_changed_and_what_to_do() -> None:
    changes = [Change(f"a{number}", None, "1") for number in range(5)]
    error = drift_error(changes, PLACE, "envbuild lock --from-session")
    assert (error.code, error.exit_code) == ("environment-changed", 1)
    assert error.message == (
        "the environment was changed while it was used: a0 1 was installed, a1 1 was installed,"
        " a2 1 was installed, and 2 more"
    )
    assert "add `a4==1` to requirements.txt" in str(error.detail)
    assert str(error.remedy).endswith("; `envbuild lock --from-session` declares and locks it")
    assert "lock" not in str(drift_error(changes, PLACE, None).remedy)


def test_the_command_that_adopts_names_the_repository_when_it_is_elsewhere(tmp_path: Path) -> None:
    here = Repo(tmp_path)
    fetched = Repo(tmp_path, Fetched("https://example.org/a.git", "0" * 40, "a"))
    assert [
        adopt_command(here, tmp_path),
        adopt_command(here, Path("/")),
        adopt_command(fetched, tmp_path),
    ] == [
        "envbuild lock --from-session",
        f"envbuild lock {tmp_path} --from-session",
        None,
    ]
