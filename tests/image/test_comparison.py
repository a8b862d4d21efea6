"""Two layers, file by file."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator

import pytest

from envbuild.image.comparison import Aspect, Difference, differences, file_content
from envbuild.pack.tar import Entry, complete, file, symlink, write_tar


def layer(*entries: Entry) -> Callable[[], Iterator[bytes]]:
    sink = io.BytesIO()
    write_tar(complete(entries), sink)
    return lambda: iter([sink.getvalue()])


def raw(*members: tarfile.TarInfo) -> Callable[[], Iterator[bytes]]:
    """Entries without content that no layer of ours has."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member)
    return lambda: iter([sink.getvalue()])


def member(name: str, kind: bytes = tarfile.REGTYPE, **attributes: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for attribute, value in attributes.items():
        setattr(made, attribute, value)
    return made


def single(first: Callable[[], Iterator[bytes]], second: Callable[[], Iterator[bytes]]) -> tuple[str, str]:
    (difference,) = differences(first, second)
    (aspect,) = difference.aspects
    return difference.path, str(aspect)


def test_the_same_files_do_not_differ() -> None:
    content = layer(file("a", b"1"), symlink("b", "a"))

    assert () == differences(content, content)


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        (file("a", b"1"), file("a", b"2"), "content"),
        (file("a", b"1", mode=0o644), file("a", b"1", mode=0o4755), "mode 4755 instead of 0644"),
        (file("a", b"1", uid=0), file("a", b"1", uid=5), "owner 5:0 instead of 0:0"),
        (symlink("a", "b"), symlink("a", "c"), "target c instead of b"),
        (file("a", b"1"), symlink("a", "c"), "kind symbolic link instead of file"),
    ],
)
def test_one_difference(first: Entry, second: Entry, how: str) -> None:
    assert ("a", how) == single(layer(first), layer(second))


def test_all_of_a_files_differences_are_named() -> None:
    (difference,) = differences(
        layer(file("a", b"1", mode=0o644)), layer(file("a", b"12", mode=0o755, gid=1))
    )

    assert (
        Difference(
            "a",
            (
                Aspect("content", "1 bytes", "2 bytes"),
                Aspect("mode", "0644", "0755"),
                Aspect("owner", "0:0", "0:1"),
            ),
        )
        == difference
    )


def test_files_that_only_one_has() -> None:
    found = differences(layer(file("a", b""), file("b", b"")), layer(file("b", b""), file("c", b"")))

    assert [("a", ("missing",)), ("c", ("extra",))] == [(one.name, one.whats) for one in found]


@pytest.mark.parametrize(
    ("one", "two", "how"),
    [
        (
            member("a", mtime=0),
            member("a", mtime=5),
            "time 1970-01-01T00:00:05Z instead of 1970-01-01T00:00:00Z",
        ),
        (
            member("a"),
            member("a", pax_headers={"SCHILY.xattr.security.capability": "\x01"}),
            "attributes SCHILY.xattr.security.capability=\\x01 instead of none",
        ),
        (
            member("a", tarfile.CHRTYPE, devmajor=1, devminor=3),
            member("a", tarfile.CHRTYPE, devmajor=1, devminor=5),
            "attributes device=1:5 instead of device=1:3",
        ),
        (
            member("a", tarfile.LNKTYPE, linkname="x"),
            member("a", tarfile.LNKTYPE, linkname="y"),
            "target y instead of x",
        ),
        (member("a"), member("a", tarfile.FIFOTYPE), "kind FIFO instead of file"),
        (member("a", tarfile.LNKTYPE, linkname="x"), member("a"), "kind file instead of hard link"),
    ],
)
def test_what_layers_of_others_may_have(one: tarfile.TarInfo, two: tarfile.TarInfo, how: str) -> None:
    assert ("a", how) == single(raw(one), raw(two))


def test_a_long_name_is_no_attribute() -> None:
    name = "d/" + "x" * 300

    assert () == differences(layer(file(name, b"1"), Entry(b"d", "dir", 0o755)), layer(file(name, b"1")))


def test_a_name_that_is_there_twice() -> None:
    """A reader that takes the last is shown something else than one that takes the first."""
    once, twice = raw(member("a")), raw(member("a", mode=0o777), member("a"))

    assert ("a", "kind 2 entries instead of file") == single(once, twice)


def test_names_that_are_not_utf_8_are_printable() -> None:
    (difference,) = differences(layer(), layer(file(b"a\xff\n", b"")))

    assert ("a\\xff\\n", "a\udcff\n") == (difference.path, difference.name)


@pytest.mark.parametrize("data", [b"", b"no tar file", b"\x00" * 100])
def test_what_is_no_tar_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a tar file"):
        differences(layer(), lambda: iter([data]))


def test_a_header_that_wants_memory_without_end_is_refused() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member("a", pax_headers={"SCHILY.xattr.user.x": "x" * (2 << 20)}))

    with pytest.raises(ValueError, match="too long"):
        differences(layer(), lambda: iter([sink.getvalue()]))


def test_an_error_of_whoever_gives_the_bytes_is_passed_on() -> None:
    """The digest of a blob is checked at its end, which is behind the end of the tar."""

    def damaged() -> Iterator[bytes]:
        yield from layer(file("a", b"1"))()
        raise ValueError("damaged at the end")

    with pytest.raises(ValueError, match="damaged at the end"):
        differences(layer(file("a", b"1")), damaged)


def test_the_content_of_one_file() -> None:
    content = layer(file("a", b"12345"), file("b", b""), symlink("c", "a"))

    assert (b"123", b"", None, None) == tuple(file_content(content, name, 3) for name in ("a", "b", "c", "d"))
