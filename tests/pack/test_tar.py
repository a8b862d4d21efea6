"""The tar writer: golden bytes, and what other readers make of its output."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.pack import recipe
from envbuild.pack.tar import Entry, complete, directory, file, symlink, write_tar


def written(entries: list[Entry]) -> bytes:
    sink = io.BytesIO()
    write_tar(complete(entries), sink)
    return sink.getvalue()


def test_golden_bytes() -> None:
    """The exact bytes are part of every diff ID; a change needs a new recipe version."""
    data = written(
        [
            file("srv/env/lib/module.py", b"x = 1\n"),
            file("srv/env/bin/tool", b"#!/bin/sh\n", executable=True),
            symlink("bin", "usr/bin"),
            directory("tmp"),
            file("long/" + "d" * 90 + "/" + "f" * 120, b"pax"),
        ]
    )

    assert recipe.VERSION == 7
    assert (
        hashlib.sha256(data).hexdigest() == "0c262141bfe1450809dec954ab5cb853aa5f98ab08c5055dff2f7affffec67ac"
    )


def test_order_of_entries_given_does_not_matter() -> None:
    entries = [file("b/x", b"1"), file("a", b"2"), symlink("c", "a"), directory("b")]

    assert written(entries) == written(entries[::-1])


def test_parents_come_first_and_have_one_form() -> None:
    with tarfile.open(fileobj=io.BytesIO(written([file("home/jovyan/a/b", b"")]))) as archive:
        members = [(member.name, oct(member.mode), member.uid, member.gid) for member in archive]

    assert members == [
        ("home", "0o755", 0, 0),
        ("home/jovyan", "0o777", recipe.UID, recipe.GID),
        ("home/jovyan/a", "0o755", 0, 0),
        ("home/jovyan/a/b", "0o644", 0, 0),
    ]


def test_an_environments_directories_can_be_written_by_who_uses_the_image() -> None:
    """`%pip install` works as the image's user and, as on OpenShift, as any user in group 0."""
    entries = complete([file("srv/env/lib/python3.11/site-packages/x.py", b""), file("srv/envy/x", b"")])
    modes = {entry.path: (oct(entry.mode), entry.uid, entry.gid) for entry in entries if entry.kind == "dir"}

    assert modes[b"srv/env"] == modes[b"srv/env/lib/python3.11/site-packages"] == ("0o775", recipe.UID, 0)
    assert modes[b"srv"] == modes[b"srv/envy"] == ("0o755", 0, 0)


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/./b", "a/../../b", "", "a\0b"])
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="unsafe path"):
        complete([file(path, b"")])


def test_a_path_below_a_file_or_link_is_refused() -> None:
    """A directory entry must never shadow a link such as usrmerge's /lib."""
    with pytest.raises(ValueError, match="not a directory"):
        complete([symlink("lib", "usr/lib"), file("lib/x", b"")])


def test_duplicates_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        complete([file("a", b"1"), file("a", b"1")])


def test_content_of_another_length_than_announced_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 5"):
        write_tar([file("a", lambda: iter([b"12"]), size=5)], io.BytesIO())


names = st.binary(min_size=1, max_size=300).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
paths = st.lists(names.filter(lambda name: name not in (b".", b"..")), min_size=1, max_size=4).map(b"/".join)


@given(st.dictionaries(paths, st.binary(max_size=2000), max_size=8))
def test_the_standard_library_reads_back_what_was_written(contents: dict[bytes, bytes]) -> None:
    """Any file name of bytes, any content: what comes out is what went in."""
    safe = {
        path: data
        for path, data in contents.items()
        if not any(other != path and other.startswith(path + b"/") for other in contents)
    }
    data = written([file(path, content) for path, content in safe.items()])

    with tarfile.open(
        fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape", ignore_zeros=False
    ) as archive:
        found = {}
        for member in archive:
            if member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                found[member.name.encode("utf-8", "surrogateescape")] = content.read()
            assert member.mtime == recipe.MTIME
            assert (member.uname, member.gname) == ("", "")

    assert found == safe
    assert len(data) % 512 == 0
