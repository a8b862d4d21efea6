"""What is believed of a report that anybody in the image can write."""

from __future__ import annotations

from typing import Any

import pytest

from envbuild.drift.changes import Change, Origin, read_changes, to_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def item(**more: Any) -> dict[str, Any]:
    return {
        "name": "six",
        "before": None,
        "after": "1.17.0",
        "manager": "pip",
        "place": "environment",
        "requested": True,
        "installer": "pip",
        "origin": None,
        **more,
    }


def test_changes_are_sorted_and_names_canonical() -> None:
    found = read_changes([item(name="zope.event"), item(name="Foo_Bar", before="1", after=None)])
    assert found == (Change("foo-bar", "1", None), Change("zope-event", None, "1.17.0"))
    assert [change.kind for change in found] == ["removed", "added"]


@pytest.mark.parametrize(
    "more",
    [
        {"name": "six; import os"},
        {"name": "six\n-r /etc/passwd"},
        {"name": "../six"},
        {"name": "six.tar.gz"},
        {"name": "--index-url=https://example.org"},
        {"name": "sïx"},
        {"name": "a" * 101},
        {"name": 6},
        {"after": "1.0 ; python_version > '3'"},
        {"after": "1.0\nsix"},
        {"after": "https://example.org/six.whl"},
        {"after": "1" * 101},
        {"after": ["1.0"]},
        {"after": None},
        {"before": "1.17.0"},
        {"before": "1.17.0", "origin": {"url": "file:///srv/repo", "dir_info": {"editable": True}}},
        {"place": 3},
        {"place": "/" * 2000},
        {"installer": "conda"},  # conda tells of it itself
        {"manager": "conda", "name": "six=1"},
        {"manager": "conda", "after": "1.0 h1"},
    ],
)
def test_what_no_installer_leaves_is_no_change(more: dict[str, Any]) -> None:
    assert read_changes([item(**more)]) == ()


@pytest.mark.parametrize("value", [None, {}, "six", [None, "six", 3], [{}]])
def test_what_is_no_list_of_changes_is_none(value: object) -> None:
    assert read_changes(value) == ()


def test_no_more_than_a_report_can_hold_is_read() -> None:
    assert len(read_changes([item(name=f"a{number}") for number in range(5000)])) == 2000


def test_places_are_printable() -> None:
    (change,) = read_changes([item(place="/srv/repo/\x1b[31mlibs")])
    assert change.place == "/srv/repo/\\x1b[31mlibs"


def test_what_conda_removed_is_told_once() -> None:
    both = [item(before="1.0", after=None), item(before="1.0", after=None, manager="conda")]
    assert read_changes(both) == (Change("six", "1.0", None, "conda"),)


@pytest.mark.parametrize(
    ("direct_url", "origin"),
    [
        (
            {"url": "https://example.org/six.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            Origin("git", "https://example.org/six.git", COMMIT),
        ),
        (
            {
                "url": "https://me:secret@example.org/six.git",
                "vcs_info": {"vcs": "git", "commit_id": COMMIT},
                "subdirectory": "python",
            },
            Origin("git", "https://***@example.org/six.git", COMMIT, "python", private=True),
        ),
        (
            {"url": "https://example.org/six-1.whl", "archive_info": {}},
            Origin("archive", "https://example.org/six-1.whl"),
        ),
        (
            {"url": "file:///srv/repo/tools", "dir_info": {"editable": True}},
            Origin("directory", "tools", editable=True),
        ),
        ({"url": "file:///srv/repo", "dir_info": {}}, Origin("directory", ".")),
        ({"url": "file:///home/jovyan/six", "dir_info": {}}, Origin("directory", "/")),
        ({"url": "file:///srv/repo/../../etc", "dir_info": {}}, Origin("directory", "/")),
        ({"url": "https://example.org/x\n-e .", "archive_info": {}}, None),
        ({"url": "https://example.org/x;y", "archive_info": {}}, None),
        ({"url": "https://example.org/x", "vcs_info": {"vcs": "git", "commit_id": "main; rm"}}, None),
        ({"url": "https://example.org/x", "vcs_info": {"vcs": "hg", "commit_id": COMMIT}}, None),
        ({"url": "https://example.org/x", "archive_info": {}, "subdirectory": "../.."}, None),
        ({"url": 5}, None),
        ("https://example.org", None),
    ],
)
def test_where_a_package_came_from(direct_url: Any, origin: Origin | None) -> None:
    (change,) = read_changes([item(origin=direct_url)])
    assert change.origin == origin


def test_what_is_kept_is_read_back() -> None:
    changes = (
        Change("numpy", "2.1.0", None, "conda", requested=False),
        Change("six", None, "1.17.0", origin=Origin("git", "https://example.org/six.git", COMMIT, "python")),
        Change("toml", "1", "2", place="/tmp/libs", origin=Origin("directory", "a/b", editable=True)),
    )
    assert read_changes(to_json(changes)) == changes
