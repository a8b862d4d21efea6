"""Layers of strangers as one directory: what engines make of them, and nothing outside of it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from envbuild.engine.flatten import apply_layers
from envbuild.errors import MachineError, RepoError
from envbuild.image.model import Layer
from envbuild.pack.blob import pack_stream
from envbuild.progress import Silent
from envbuild.store import Store

Member = tuple[tarfile.TarInfo, bytes]


def file(name: str, content: bytes = b"", mode: int = 0o644) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    return info, content


def directory(name: str, mode: int = 0o755) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info, b""


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def special(name: str, kind: bytes) -> Member:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info, b""


def tar(members: Iterable[Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


Flatten = Callable[..., Path]


@pytest.fixture
def flatten(store: Store, tmp_path: Path) -> Flatten:
    """Applies layers, each a list of members or the bytes of a tar, in a directory that is surrounded."""

    def apply(*layers: Iterable[Member] | bytes, compression: str = "gzip") -> Path:
        made = []
        for content in layers:
            data = content if isinstance(content, bytes) else tar(content)
            made.append(Layer.of(pack_stream(store, [data], compression), "example.org/base:1"))
        root = tmp_path / "around" / "root"
        root.mkdir(parents=True)
        with Silent().stage("unpack") as stage:
            apply_layers(made, root, store=store, stage=stage, stopped=threading.Event())
        return root

    return apply


def files(root: Path) -> dict[str, str]:
    """Everything below ``root``: contents of files, ``-> target`` of links, ``/`` for directories."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = "/" if path.is_dir() else path.read_text()
    return found


class TestLayersOfOthers:
    def test_names_are_taken_as_they_are_commonly_written(self, flatten: Flatten) -> None:
        root = flatten([directory("./"), directory("./etc/"), file("./etc/a", b"1"), file("/etc/b", b"2")])

        assert {"etc": "/", "etc/a": "1", "etc/b": "2"} == files(root)

    def test_directories_above_need_not_be_named(self, flatten: Flatten) -> None:
        """And of those that lower layers have nothing changes."""
        root = flatten([directory("tmp", 0o1777)], [file("tmp/a/b", b"x")])

        assert {"tmp": "/", "tmp/a": "/", "tmp/a/b": "x"} == files(root)
        assert 0o1777 == stat.S_IMODE((root / "tmp").stat().st_mode)

    def test_the_last_of_two_is_the_one(self, flatten: Flatten) -> None:
        root = flatten([file("a", b"1"), file("a", b"2"), link("b", "a"), file("b", b"3")])

        assert {"a": "2", "b": "3"} == files(root)

    def test_a_file_takes_the_place_of_a_directory_and_the_other_way_round(self, flatten: Flatten) -> None:
        root = flatten(
            [directory("a"), file("a/b", b"1"), file("c", b"2")],
            [file("a", b"3"), directory("c"), file("c/d")],
        )

        assert {"a": "3", "c": "/", "c/d": ""} == files(root)

    def test_a_directory_takes_the_place_of_a_link_and_hides_what_it_led_to(self, flatten: Flatten) -> None:
        """What merged /usr suffers when a layer names /lib: so do all engines."""
        root = flatten([directory("usr/lib"), file("usr/lib/x"), link("lib", "usr/lib")], [directory("lib")])

        assert {"lib": "/", "usr": "/", "usr/lib": "/", "usr/lib/x": ""} == files(root)

    def test_a_directory_keeps_what_it_has_and_gets_the_upper_mode(self, flatten: Flatten) -> None:
        root = flatten([directory("a"), file("a/b")], [directory("a", 0o700)])

        assert {"a": "/", "a/b": ""} == files(root)
        assert 0o700 == stat.S_IMODE((root / "a").stat().st_mode)

    def test_hard_links_are_the_file_also_of_a_lower_layer(self, flatten: Flatten) -> None:
        root = flatten(
            [file("bin/perl", b"x"), link("bin/perl5", "./bin/perl", tarfile.LNKTYPE)],
            [link("bin/other", "/bin/perl", tarfile.LNKTYPE), file("bin/perl", b"new")],
        )

        assert {"bin": "/", "bin/other": "x", "bin/perl": "new", "bin/perl5": "x"} == files(root)

    def test_long_and_foreign_names(self, flatten: Flatten) -> None:
        name = "ä" * 80 + "/" + "b" * 200
        root = flatten([file(name, b"x"), file(os.fsdecode(b"caf\xe9"), b"y")])

        assert "y" == (root / os.fsdecode(b"caf\xe9")).read_text()
        assert "x" == (root / name).read_text()

    def test_devices_and_pipes_are_left_out(self, flatten: Flatten) -> None:
        root = flatten([special("dev/null", tarfile.CHRTYPE), special("a", tarfile.FIFOTYPE), file("b")])

        assert {"b": "", "dev": "/"} == files(root)

    def test_nothing_gains_rights(self, flatten: Flatten) -> None:
        root = flatten([file("su", mode=0o6755), directory("d", 0o2000), file("secret", mode=0)])

        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.iterdir()}
        assert {"su": 0o755, "d": 0o700, "secret": 0o400} == modes

    def test_several_gzip_members_are_one_layer(self, flatten: Flatten, store: Store, tmp_path: Path) -> None:
        """As lazily pulled images have them."""
        import gzip
        import hashlib

        data = tar([file("a", b"x" * 3000)])
        packed = gzip.compress(data[:1000]) + gzip.compress(data[1000:])
        with store.blob_writer() as blob:
            blob.write(packed)
        layer = Layer(
            "base", "sha256:" + hashlib.sha256(data).hexdigest(), blob.digest, len(packed), 0, "gzip"
        )
        with Silent().stage("unpack") as stage:
            sizes = apply_layers([layer], tmp_path, store=store, stage=stage, stopped=threading.Event())

        assert [len(data)] == sizes
        assert "x" * 3000 == (tmp_path / "a").read_text()


class TestRemovals:
    LOWER = (file("etc/a", b"1"), file("etc/b/c", b"2"), file("etc/b/d", b"3"), file("top"))

    def test_a_file_and_a_directory_are_gone(self, flatten: Flatten) -> None:
        root = flatten(self.LOWER, [file("etc/.wh.a"), file("etc/.wh.b"), file(".wh.top")])

        assert {"etc": "/"} == files(root)

    def test_what_comes_back_in_the_same_layer_stays_wherever_it_stands(self, flatten: Flatten) -> None:
        root = flatten(
            self.LOWER, [file("etc/a", b"new"), file("etc/.wh.a"), file(".wh.top"), file("top", b"x")]
        )

        assert "new" == (root / "etc/a").read_text()
        assert "x" == (root / "top").read_text()

    def test_an_opaque_directory_has_only_what_its_layer_has(self, flatten: Flatten) -> None:
        root = flatten(
            self.LOWER, [directory("etc"), file("etc/b/new", b"n"), file("etc/.wh..wh..opq"), file("etc/z")]
        )

        assert {"etc": "/", "etc/b": "/", "etc/b/new": "n", "etc/z": "", "top": ""} == files(root)

    def test_what_is_not_there_can_be_removed(self, flatten: Flatten) -> None:
        root = flatten(
            [file("a")], [file(".wh.b"), file("c/.wh.d"), file("c/.wh..wh..opq"), file(".wh..wh.plnk")]
        )

        assert {"a": ""} == files(root)

    def test_a_removed_file_can_be_a_directory_later(self, flatten: Flatten) -> None:
        root = flatten(self.LOWER, [file(".wh.etc")], [file("etc/new", b"x")])

        assert {"etc": "/", "etc/new": "x", "top": ""} == files(root)


HOSTILE = {
    "a parent": [file("../escaped", b"x")],
    "a parent further on": [file("a/../../escaped", b"x")],
    "through its own link": [link("out", ".."), file("out/escaped", b"x")],
    "through a link made before": [link("a", "/"), directory("a/b")],
    "a hard link to outside": [link("passwd", "../../etc/passwd", tarfile.LNKTYPE)],
    "a hard link through a link": [link("out", "/etc"), link("passwd", "out/passwd", tarfile.LNKTYPE)],
    "a hard link to a directory": [directory("d"), link("e", "d", tarfile.LNKTYPE)],
    "a hard link to nothing": [link("a", "nothing", tarfile.LNKTYPE)],
    "a hard link to the root": [link("a", "/", tarfile.LNKTYPE)],
    "a removal through a link": [link("out", ".."), file("out/.wh.victim")],
    "a removal of the parent": [file(".wh...")],
    "clearing through a link": [link("out", ".."), file("out/.wh..wh..opq")],
    "a name that is too long": [file("n" * 256)],
    "a path that is too deep": [file("d/" * 201 + "f")],
    "a link that is too long": [link("a", "t" * 5000)],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_leads_out_or_cannot_be_is_refused(
    flatten: Flatten, tmp_path: Path, members: list[Member]
) -> None:
    victim = tmp_path / "around" / "victim"
    victim.parent.mkdir()
    victim.write_text("here")

    with pytest.raises(RepoError) as caught:
        flatten(members)

    assert "unsafe-base-layer" == caught.value.code
    assert ["root", "victim"] == sorted(path.name for path in victim.parent.iterdir())
    assert "here" == victim.read_text()


@pytest.mark.parametrize("upper", [[file("lib/x", b"x")], [file("lib/.wh.a")]], ids=["a file", "a removal"])
def test_files_below_a_link_of_a_lower_layer_are_refused(flatten: Flatten, upper: list[Member]) -> None:
    """Docker would hide what the link leads to, containerd would follow it."""
    with pytest.raises(RepoError, match="files below /lib, which is no directory"):
        flatten([directory("usr/lib"), link("lib", "usr/lib")], upper)


class TestBounds:
    def test_a_header_that_would_fill_the_memory_is_refused(self, flatten: Flatten) -> None:
        info = tarfile.TarInfo("././@PaxHeader")
        info.type, info.size = tarfile.XHDTYPE, 1 << 33

        with pytest.raises(RepoError, match="an extended header of 8589934592 bytes"):
            flatten(info.tobuf(tarfile.GNU_FORMAT))

    def test_headers_that_follow_each_other_for_ever_are_refused(self, flatten: Flatten) -> None:
        info = tarfile.TarInfo("././@PaxHeader")
        info.type = tarfile.XHDTYPE

        with pytest.raises(RepoError, match="recursion"):
            flatten(info.tobuf(tarfile.USTAR_FORMAT) * 5000)

    def test_layers_that_fill_the_disk_are_refused(
        self, flatten: Flatten, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("envbuild.engine.flatten._MOST_BYTES", 100_000)

        with pytest.raises(RepoError, match="unpacks to more than 79520 bytes"):
            flatten([file("a", bytes(15_000))], [file("zeros", bytes(1 << 20))])

    def test_layers_of_countless_files_are_refused(
        self, flatten: Flatten, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("envbuild.engine.flatten._MOST_ENTRIES", 3)

        with pytest.raises(RepoError, match="more than 3 files"):
            flatten([file("a"), file("b")], [file("a"), file("c")])

    def test_sparse_files_are_refused(self, flatten: Flatten) -> None:
        info = tarfile.TarInfo("sparse")
        info.pax_headers = {
            "GNU.sparse.major": "0",
            "GNU.sparse.minor": "1",
            "GNU.sparse.map": "0,1",
            "GNU.sparse.size": str(1 << 50),
        }
        info.size = 1

        with pytest.raises(RepoError, match="sparse"):
            flatten([(info, b"x")])


def test_a_damaged_copy_is_the_caches_fault(store: Store, tmp_path: Path) -> None:
    packed = pack_stream(store, [tar([file("a", b"x" * 100_000)])], "none")
    store.blob_path(packed.digest).write_bytes(b"\1" * packed.size)

    with Silent().stage("unpack") as stage, pytest.raises(MachineError) as caught:
        apply_layers(
            [Layer.of(packed, "base")], tmp_path, store=store, stage=stage, stopped=threading.Event()
        )

    assert "damaged-cache" == caught.value.code
