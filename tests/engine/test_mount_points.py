"""Links of an image do not lead those who mount in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.engine.mount_points import ALWAYS, check_mount_points
from envbuild.errors import RepoError

Make = Callable[..., tuple[Path, ...]]


@pytest.fixture
def trees(tmp_path: Path) -> Make:
    """Trees, bottom to top, each ``path -> target`` of a link, None for a directory, or content."""

    def make(*layers: dict[str, str | bytes | None]) -> tuple[Path, ...]:
        made = []
        for number, layer in enumerate(layers):
            root = tmp_path / str(number)
            root.mkdir()
            for path, what in layer.items():
                place = root / path
                place.parent.mkdir(parents=True, exist_ok=True)
                if what is None:
                    place.mkdir(exist_ok=True)
                elif isinstance(what, str):
                    place.symlink_to(what)
                else:
                    place.write_bytes(what)
            made.append(root)
        return tuple(made)

    return make


@pytest.mark.parametrize("target", ALWAYS)
def test_a_link_where_something_is_always_mounted_is_refused(trees: Make, target: str) -> None:
    with pytest.raises(RepoError) as caught:
        check_mount_points(trees({target.strip("/"): "/oldroot/etc"}), ())

    assert "unsafe-mount-point" == caught.value.code


@pytest.mark.parametrize(
    "image",
    [
        {"srv/build": "/oldroot/root"},
        {"srv": "/oldroot"},
        {"srv": "../oldroot"},
        {"srv/build/out": "anywhere"},
        {"srv": b"a file"},
    ],
    ids=["itself", "above it", "relative", "inside", "a file above it"],
)
def test_a_link_on_the_way_is_refused(trees: Make, image: dict[str, str | bytes | None]) -> None:
    with pytest.raises(RepoError, match="where /srv/build/out is mounted"):
        check_mount_points(trees(image), ["/srv/build/out"])


def test_places_that_are_there_or_not_are_fine(trees: Make) -> None:
    check_mount_points(
        trees({"tmp": None, "etc/hosts": b"", "srv/repo": None, "lib": "usr/lib"}),
        ["/srv/repo", "/srv/new/place", "/etc/hosts"],
    )


def test_a_directory_above_hides_a_link_below(trees: Make) -> None:
    """What the layer of additions is for."""
    check_mount_points(trees({"tmp": "/oldroot"}, {"tmp": None}), ())


def test_a_link_above_hides_a_directory_below(trees: Make) -> None:
    with pytest.raises(RepoError):
        check_mount_points(trees({"tmp": None}, {"tmp": "/oldroot"}), ())


def test_what_is_below_a_hidden_link_does_not_count(trees: Make) -> None:
    check_mount_points(trees({"srv/build": "/oldroot"}, {"srv": "/x"}, {"srv": None}), ["/srv/build"])


def test_what_is_below_a_link_that_a_directory_hides_does_not_count(trees: Make) -> None:
    check_mount_points(
        trees({"srv/a/build": "/oldroot"}, {"srv/a": "elsewhere"}, {"srv/a": None}), ["/srv/a/build"]
    )


def test_a_removed_link_is_gone(trees: Make, tmp_path: Path) -> None:
    lower, upper = trees({"tmp": "/oldroot"}, {"etc": None})
    os.mknod(upper / "tmp", 0o020000, os.makedev(0, 0))

    check_mount_points((lower, upper), ())
