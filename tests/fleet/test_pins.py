"""``fleet.lock``: what it looks like, and that it is complete or an error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.errors import UsageError
from envbuild.fleet.model import Environment, Fleet, GitSource, ImageSource, LockSource, Pin
from envbuild.fleet.pins import pins_path, read_pins, require_pins, write_pins
from envbuild.image.reference import Reference, parse_reference

_DIGEST = "sha256:" + "ab" * 32
_BUILT = parse_reference(f"r.example.org/envs@{_DIGEST}")
_BEFORE = parse_reference(f"r.example.org/envs:git-1@sha256:{'ba' * 32}")
_FIXED = parse_reference(f"r.example.org/fixed:1@{_DIGEST}")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    environments = (
        Environment("tagged", ImageSource(parse_reference("r.example.org/tagged:1"))),
        Environment("fixed", ImageSource(_FIXED)),
        Environment("git", GitSource("https://example.org/r.git")),
        Environment("lock", LockSource(tmp_path / "envbuild.lock")),
    )
    return Fleet("f", tmp_path / "fleet.toml", environments, registry="r.example.org/envs")


def _pins() -> dict[str, Pin]:
    return {
        "tagged": Pin("tagged", parse_reference(f"r.example.org/tagged@{_DIGEST}")),
        "lock": Pin("lock", _BUILT, lock_digest="sha256:" + "cd" * 32),
        "git": Pin("git", _BUILT, commit="ef" * 20, lock_digest="sha256:" + "cd" * 32, previous=_BEFORE),
    }


def test_the_file_is_in_order_and_says_how_it_is_made(fleet: Fleet) -> None:
    write_pins(fleet, {**_pins(), "gone": Pin("gone", _BUILT)})
    expected = f"""\
# Which image each environment is. `envbuild build --fleet fleet.toml` writes this; keep both together.
# What hubs offer and nodes keep warm is decided here: an older version of it is a rollback.
version = 1

[environments.git]
image = "r.example.org/envs@{_DIGEST}"
commit = "{"ef" * 20}"
lock = "sha256:{"cd" * 32}"
previous = "r.example.org/envs:git-1@sha256:{"ba" * 32}"

[environments.lock]
image = "r.example.org/envs@{_DIGEST}"
lock = "sha256:{"cd" * 32}"

[environments.tagged]
image = "r.example.org/tagged@{_DIGEST}"
"""
    assert expected == pins_path(fleet).read_text("utf-8")
    assert [fleet.path.with_name("fleet.lock")] == list(fleet.path.parent.iterdir())


def test_what_is_written_is_read(fleet: Fleet) -> None:
    """A digest in the fleet file is a pin without being in the lock."""
    assert {"fixed": Pin("fixed", _FIXED)} == read_pins(fleet)
    write_pins(fleet, _pins())
    pins = require_pins(fleet)
    assert {**_pins(), "fixed": Pin("fixed", _FIXED)} == pins
    assert ["tagged", "fixed", "git", "lock"] == list(pins)


@pytest.mark.parametrize(
    ("before", "previous"),
    [
        (None, None),
        (Pin("git", _BEFORE), _BEFORE),
        (Pin("git", _BEFORE, previous=_FIXED), _BEFORE),
        (Pin("git", _BUILT, previous=_BEFORE), _BEFORE),
        (Pin("git", replace(_BUILT, tag="git-1"), commit="ef" * 20, previous=_BEFORE), _BEFORE),
    ],
    ids=["first", "second", "third", "unchanged", "same under another tag"],
)
def test_an_image_is_followed_by_the_next(before: Pin | None, previous: Reference | None) -> None:
    assert Pin("git", _BUILT, previous=previous) == Pin("git", _BUILT).after(before)


def test_pins_of_other_environments_do_not_count(fleet: Fleet) -> None:
    write_pins(fleet, _pins())
    fewer = replace(fleet, environments=fleet.environments[:2])
    assert {"tagged", "fixed"} == set(read_pins(fewer))


def test_a_missing_pin_names_the_command(fleet: Fleet) -> None:
    write_pins(fleet, {"git": _pins()["git"]})
    with pytest.raises(UsageError, match="2 environments without an image yet: tagged, lock") as raised:
        require_pins(fleet)
    assert ("missing-pins", f"run envbuild build --fleet {fleet.path}") == (
        raised.value.code,
        raised.value.remedy,
    )


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("version = 2\n", "bad-pins", 1),
        ("", "bad-pins", None),
        ("version = 1\n[environments.git]\n", "bad-pins", 2),
        ("version = 1\n[environments.git]\nimage = 'r.example.org/e:1'\n", "bad-fleet-value", 3),
        (f"version = 1\n[environments.git]\nimage = '{_BUILT}'\ncommit = 'main'\n", "bad-fleet-value", 4),
        (f"version = 1\n[environments.git]\nimage = '{_BUILT}'\nlock = 'x'\n", "bad-fleet-value", 4),
        (f"version = 1\n[environments.git]\nimage = '{_BUILT}'\nprevious = 'a:1'\n", "bad-fleet-value", 4),
        ("<<<<<<< HEAD\n", "bad-toml", 1),
    ],
)
def test_a_damaged_file_is_an_error_with_its_line(
    fleet: Fleet, text: str, code: str, line: int | None
) -> None:
    pins_path(fleet).write_text(text)
    with pytest.raises(UsageError) as raised:
        read_pins(fleet)
    assert (code, line, str(pins_path(fleet))) == (raised.value.code, raised.value.line, raised.value.file)
    assert raised.value.remedy


@pytest.mark.parametrize("name", ["two\nlines.toml", "fl\udce9te.toml", "a\r.toml"])
def test_a_fleet_file_may_have_any_name(fleet: Fleet, name: str) -> None:
    named = replace(fleet, path=fleet.path.with_name(name))
    write_pins(named, _pins())

    assert {**_pins(), "fixed": Pin("fixed", _FIXED)} == read_pins(named)
