from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.pack.ldcache import ld_so_cache
from envbuild.pack.tar import Entry, complete, file, symlink

LDCONFIG = shutil.which("ldconfig", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
AMD64, ARM64 = 62, 183


def library(soname: str | None, *, machine: int = AMD64, kind: int = 3) -> bytes:
    """A minimal shared library: an ELF header, two segments, a dynamic section and its strings."""
    strings = b"\0" + (soname or "").encode() + b"\0"
    start = 64 + 2 * 56
    dynamic = b"".join(
        struct.pack("<qQ", tag, value)
        for tag, value in [(5, 0x1000 + start + 64), *([(14, 1)] if soname is not None else []), (0, 0)]
    ).ljust(64, b"\0")
    size = start + 64 + len(strings)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x1000, 0x1000, size, size, 0x1000)
    table = struct.pack("<IIQQQQQQ", 2, 6, start, 0x1000 + start, 0x1000 + start, 64, 64, 8)
    return header + load + table + dynamic + strings


def read(cache: bytes) -> list[tuple[str, str, int]]:
    """``(soname, path, flags)`` of each entry of a cache."""
    magic, version, count, _, endian, extensions = struct.unpack_from("<17s3sIIB3xI12x", cache)
    assert (b"glibc-ld.so.cache", b"1.1", 2, 0) == (magic, version, endian, extensions)

    def text(offset: int) -> str:
        return cache[offset : cache.index(b"\0", offset)].decode()

    entries = [struct.unpack_from("<iIIIQ", cache, 48 + 24 * number) for number in range(count)]
    return [(text(key), text(value), flags) for flags, key, value, _, _ in entries]


def paths(entries: Iterable[Entry], arch: str = "amd64") -> list[str]:
    usr = symlink("lib", "usr/lib")
    return [path for _, path, _ in read(ld_so_cache(complete([usr, *entries]), arch=arch))]


def test_a_library_by_its_soname() -> None:
    entries = [
        file("usr/lib/x86_64-linux-gnu/libz.so.1.3.1", library("libz.so.1")),
        symlink("usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.3.1"),
    ]

    assert [("libz.so.1", "/usr/lib/x86_64-linux-gnu/libz.so.1", 0x303)] == read(
        ld_so_cache(complete(entries), arch="amd64")
    )


def test_a_development_link_counts_too() -> None:
    entries = [
        file("usr/lib/libz.so.1", library("libz.so.1")),
        symlink("usr/lib/libz.so", "libz.so.1"),
        symlink("usr/lib/libother.so", "libz.so.1"),
    ]

    assert ["/lib/libz.so.1", "/lib/libz.so"] == paths(entries)


def test_arm64_has_its_own_flags_and_directory() -> None:
    entries = [file("usr/lib/aarch64-linux-gnu/liba.so", library("liba.so", machine=ARM64))]

    assert [("liba.so", "/usr/lib/aarch64-linux-gnu/liba.so", 0xA03)] == read(
        ld_so_cache(complete(entries), arch="arm64")
    )


def test_merged_usr_is_named_by_the_first_way_to_it() -> None:
    assert ["/lib/x86_64-linux-gnu/liba.so"] == paths(
        [file("usr/lib/x86_64-linux-gnu/liba.so", library("liba.so"))]
    )


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("usr/lib/liba.so", library("liba.so", machine=ARM64)),
        ("usr/lib/liba.so", library("liba.so", kind=2)),
        ("usr/lib/liba.so", library("liba.so.1")),  # nothing has the name it would be found by
        ("usr/lib/liba.so", b"GROUP ( libc.so.6 )"),
        ("usr/lib/liba.so", b"\x7fELF\x02\x01"),
        ("usr/lib/liba.so", b"\x7fELF\x01\x01" + bytes(100)),
        ("usr/lib/plugin.so", library("plugin.so")),
        ("usr/lib/liba.a", library("liba.a")),
        ("usr/lib/python3.13/liba.so", library("liba.so")),
    ],
)
def test_what_the_loader_is_not_to_find(path: str, content: bytes) -> None:
    assert [] == paths([file(path, content)])


def test_a_library_without_soname_goes_by_its_file_name() -> None:
    assert ["/lib/libodd.so"] == paths([file("usr/lib/libodd.so", library(None))])


def test_configured_directories_come_first() -> None:
    entries = [
        file("etc/ld.so.conf", b"# comment\ninclude /etc/ld.so.conf.d/*.conf\n/opt/last/\n"),
        file("etc/ld.so.conf.d/b.conf", b"/opt/b # why\n"),
        file("etc/ld.so.conf.d/a.conf", b"/opt/a\n/opt/missing\n"),
        file("etc/ld.so.conf.d/ignored.txt", b"/opt/ignored\n"),
        *(
            file(f"{where}/libx.so", library("libx.so"))
            for where in ("opt/a", "opt/b", "opt/last", "opt/ignored")
        ),
        file("usr/lib/libx.so", library("libx.so")),
    ]

    assert ["/opt/a/libx.so", "/opt/b/libx.so", "/opt/last/libx.so", "/lib/libx.so"] == paths(entries)


def test_the_order_the_loader_searches_in() -> None:
    names = ["liba.so.9", "liba.so.10", "liba.so", "libb.so", "lib1.so", "ld-x.so.1"]

    assert ["lib1.so", "libb.so", "liba.so.10", "liba.so.9", "liba.so", "ld-x.so.1"] == [
        Path(path).name for path in paths(file(f"usr/lib/{name}", library(name)) for name in names)
    ]


def test_links_in_circles_lead_nowhere() -> None:
    entries = [symlink("usr/lib/liba.so", "libb.so"), symlink("usr/lib/libb.so", "liba.so")]

    assert [] == paths(entries)


@given(st.data())
def test_damaged_libraries_are_passed_over_or_read(data: st.DataObject) -> None:
    whole = bytearray(library("liba.so"))
    for place in data.draw(st.lists(st.integers(6, len(whole) - 1), max_size=8)):
        whole[place] = data.draw(st.integers(0, 255))

    assert len(paths([file("usr/lib/liba.so", bytes(whole))])) <= 1


@given(st.lists(st.from_regex(r"lib[a-z0-9]{1,3}\.so(\.[0-9]{1,3}){0,2}", fullmatch=True), unique=True))
def test_the_order_of_the_entries_does_not_matter(names: list[str]) -> None:
    entries = [file(f"usr/lib/{name}", library(name)) for name in names]

    assert ld_so_cache(complete(entries), arch="amd64") == ld_so_cache(complete(entries[::-1]), arch="amd64")


@pytest.mark.skipif(LDCONFIG is None, reason="no ldconfig")
def test_the_real_ldconfig_reads_it(tmp_path: Path) -> None:
    names = ["libb.so.2", "liba.so.10", "liba.so.9"]
    cache = tmp_path / "cache"
    cache.write_bytes(
        ld_so_cache(complete(file(f"usr/lib/{name}", library(name)) for name in names), arch="amd64")
    )

    printed = subprocess.run([LDCONFIG, "-p", "-C", cache], capture_output=True, text=True, check=True).stdout

    assert [f"\t{name} (libc6,x86-64) => /usr/lib/{name}" for name in names] == printed.splitlines()[1:]


@pytest.mark.slow
@pytest.mark.skipif(
    LDCONFIG is None or os.geteuid() != 0 or platform.machine() != "x86_64",
    reason="needs ldconfig, root (it changes its root directory) and x86-64",
)
def test_the_same_list_as_the_real_ldconfig(tmp_path: Path) -> None:
    """With this machine's own libraries."""
    here = Path("/usr/lib/x86_64-linux-gnu")
    sources = [path for path in sorted(here.iterdir()) if path.name.startswith(("lib", "ld-"))][:400]
    entries = [symlink("lib", "usr/lib")]
    for path in sources:
        inside = f"usr/lib/x86_64-linux-gnu/{path.name}"
        if path.is_symlink():
            entries.append(symlink(inside, os.readlink(path)))  # noqa: PTH115 (as stored)
        elif path.is_file():
            entries.append(file(inside, path.read_bytes()))
    root = tmp_path / "root"
    root.mkdir()
    for entry in complete(entries):
        place = root / entry.path.decode()
        if entry.kind == "dir":
            place.mkdir(parents=True)
        elif entry.kind == "symlink":
            place.symlink_to(entry.target.decode())
        else:
            place.write_bytes(b"".join(entry.chunks()))
    (root / "etc").mkdir()
    ours = tmp_path / "cache"
    ours.write_bytes(ld_so_cache(complete(entries), arch="amd64"))
    subprocess.run([LDCONFIG, "-X", "-r", root], check=True, capture_output=True)

    def listed(cache: Path) -> list[str]:
        printed = subprocess.run([LDCONFIG, "-p", "-C", cache], capture_output=True, text=True, check=True)
        return [line for line in printed.stdout.splitlines() if line.startswith("\t")]

    assert listed(root / "etc/ld.so.cache") == listed(ours)
