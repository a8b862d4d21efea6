"""Which packages are in a layer, and which bytes are theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.contents.licences import DEBIAN, Licence
from envbuild.pack.tar import file
from envbuild.report.installed import read_contents
from tests.report.examples import SITE, conda_files, content, debian_files, wheel_files


def _found(path: Path, *entries: object) -> list[tuple[str, str, str, str]]:
    contents = read_contents(content(path, entries))  # type: ignore[arg-type]
    return [
        (one.kind, one.metadata.name, one.metadata.version, one.place or "/") for one in contents.packages
    ]


def test_packages_of_every_kind(tmp_path: Path) -> None:
    entries = [
        *wheel_files("six", "1.17", "six.py"),
        *conda_files("zlib", "1.3", "lib/libz.so"),
        *debian_files("libc6", "2.36", "usr/lib/libc.so.6"),
    ]

    assert [
        ("conda", "zlib", "1.3", "srv/env"),
        ("deb", "libc6", "2.36", "/"),
        ("wheel", "six", "1.17", SITE),
    ] == _found(tmp_path, *entries)


def test_every_byte_is_of_one_package_or_of_none(tmp_path: Path) -> None:
    entries = [
        *wheel_files("one", "1", "one.py", "shared.py"),
        *wheel_files("two", "1", "two.py", "shared.py", "not/there.py")[:-3],
        file("etc/passwd", b"root"),
    ]
    two = wheel_files("two", "1", "two.py", "shared.py", "not/there.py")
    unique = {entry.path: entry for entry in [*entries, *two[-2:]]}

    contents = read_contents(content(tmp_path, unique.values()))

    one, other = contents.packages
    notes = {entry.path: entry.size for entry in unique.values() if b"dist-info" in entry.path}
    assert 200 == one.size - sum(size for path, size in notes.items() if b"one-1" in path)
    assert 100 == other.size - sum(size for path, size in notes.items() if b"two-1" in path)
    assert contents.size == one.size + other.size + 4


def test_bytecode_is_of_the_package_that_has_the_source(tmp_path: Path) -> None:
    """Debian packages do not list what is made when they are installed."""
    library = "usr/lib/python3/dist-packages/six.py"
    cache = "usr/lib/python3/dist-packages/__pycache__"
    entries = debian_files("python3-six", "1.17", library)
    without = read_contents(content(tmp_path / "without", entries)).packages[0].size

    contents = read_contents(
        content(
            tmp_path / "with",
            [
                *entries,
                file(f"{cache}/six.cpython-313.pyc", b"x" * 10),
                file(f"{cache}/other.cpython-313.pyc", b"x"),
            ],
        )
    )

    assert without + 10 == contents.packages[0].size


def test_a_wheel_in_a_conda_package_tells_about_that(tmp_path: Path) -> None:
    """conda's record has no summary, and its licence counts."""
    site = "lib/python3.11/site-packages"
    files = wheel_files("numpy", "2.0", "numpy.py", licence="BSD-3-Clause")
    names = [f"{site}/{entry.path.decode().removeprefix(SITE + '/')}" for entry in files]
    record = conda_files("numpy-base", "2.0", *names)[-1]

    (found,) = read_contents(content(tmp_path, [*files, record])).packages

    assert ("conda", "numpy-base", "About numpy") == (
        found.kind,
        found.metadata.name,
        found.metadata.summary,
    )
    assert Licence("Zlib", spdx=True) == found.metadata.licence
    assert "https://example.org/numpy" == found.metadata.home_page


def test_another_wheel_in_a_conda_package_does_not(tmp_path: Path) -> None:
    files = wheel_files("vendored", "2.0", site="srv/env/lib/pip/_vendor")
    record = conda_files("pip", "26", *(e.path.decode().removeprefix("srv/env/") for e in files))[-1]

    (found,) = read_contents(content(tmp_path, [*files, record])).packages

    assert "" == found.metadata.summary


def test_debian_packages_have_their_copyright_in_the_image(tmp_path: Path) -> None:
    (found,) = read_contents(content(tmp_path, debian_files("libc6", "2.36", "usr/lib/libc.so.6"))).packages

    assert (DEBIAN, "libc6 for tests") == (found.metadata.licence, found.metadata.summary)


def test_a_debian_package_whose_files_are_elsewhere_is_not_in_this_layer(tmp_path: Path) -> None:
    """Another package's installation rewrites lists and the database of all."""
    entries = [entry for entry in debian_files("libc6", "2.36") if entry.path.startswith(b"var/lib/dpkg/")]

    assert [] == _found(tmp_path, *entries)


def test_places_from_before_the_merge_of_usr_are_found(tmp_path: Path) -> None:
    entries = {entry.path: entry for entry in debian_files("libc6", "2.36", "lib/libc.so.6")}
    library = entries.pop(b"lib/libc.so.6")

    (found,) = read_contents(
        content(tmp_path, [*entries.values(), file("usr/lib/libc.so.6", b"y" * library.size)])
    ).packages

    without_database = found.size - entries[b"var/lib/dpkg/info/libc6.list"].size
    assert 200 == without_database


@pytest.mark.parametrize("chunks", [[b"no tar file" * 100], [b"\0" * 511], []])
def test_what_is_no_layer_is_an_error_or_empty(chunks: list[bytes]) -> None:
    if any(any(chunk) for chunk in chunks):
        with pytest.raises(ValueError, match="not a tar file"):
            read_contents(lambda: chunks)
    else:
        with pytest.raises(ValueError, match="not a tar file"):
            read_contents(lambda: chunks)
