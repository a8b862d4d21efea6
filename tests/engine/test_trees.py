"""Unpacking: what layers become on disk, and what never gets there."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.engine import trees
from envbuild.engine.trees import is_opaque, is_whiteout, unpack
from envbuild.errors import MachineError
from envbuild.image.model import Image, Layer
from envbuild.pack.tar import Entry, directory, file, symlink
from envbuild.progress import Reporter, Silent
from envbuild.sandbox.files import Lower
from envbuild.store import Store
from tests.support.images import make_image


def _content(tree: Path) -> dict[str, str]:
    """Relative path -> content, link target, or ``/`` for a directory."""
    found = {}
    for place in sorted(tree.rglob("*")):
        name = str(place.relative_to(tree))
        if place.is_symlink():
            found[name] = f"-> {place.readlink()}"
        else:
            found[name] = "/" if place.is_dir() else place.read_text()
    return found


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_layers_are_merged_in_order(store: Store, compression: str) -> None:
    image = make_image(
        store,
        [
            [file("a/one", b"1"), file("a/both", b"lower"), symlink("link", "a/one")],
            [file("a/two", b"2"), file("a/both", b"upper")],
        ],
        compression=compression,
    )
    (tree,) = unpack(image, store, Silent())
    assert _content(tree) == {"a": "/", "a/one": "1", "a/two": "2", "a/both": "upper", "link": "-> a/one"}


def test_merging_does_not_change_the_layers_it_links_from(store: Store) -> None:
    image = make_image(store, [[file("a", b"lower")], [file("a", b"upper")]])
    unpack(image, store, Silent())
    (lower,) = store.trees.glob(f"{image.layers[0].diff_id.removeprefix('sha256:')}-*/tree")
    assert _content(lower) == {"a": "lower"}


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ([file("a/b", b"1")], [file("a", b"2")], {"a": "2"}),
        ([file("a", b"1")], [file("a/b", b"2")], {"a": "/", "a/b": "2"}),
        ([symlink("a", "b")], [directory("a")], {"a": "/"}),
        ([directory("a")], [symlink("a", "b")], {"a": "-> b"}),
    ],
)
def test_the_upper_layer_wins_whatever_the_kinds(
    store: Store, lower: list[Entry], upper: list[Entry], expected: dict[str, str]
) -> None:
    (tree,) = unpack(make_image(store, [lower, upper]), store, Silent())
    assert _content(tree) == expected


def test_many_layers_become_few_trees_and_only_the_changed_one_is_made_anew(store: Store) -> None:
    layers = [[file(f"f{number}", b"")] for number in range(trees.LAYERS_PER_TREE * 2 + 1)]
    before = unpack(make_image(store, layers), store, Silent())
    layers[0] = [file("f0", b"changed")]
    after = unpack(make_image(store, layers), store, Silent())
    assert len(before) == 3
    assert [new == old for new, old in zip(after, before, strict=True)] == [False, True, True]


def test_unpacked_layers_are_not_read_again(store: Store) -> None:
    image = make_image(store, [[file("a", b"1")], [file("b", b"2")]])
    first = unpack(image, store, Silent())
    for layer in image.layers:
        store.blob_path(layer.digest).unlink()
    assert unpack(image, store, Silent()) == first


def test_only_layers_that_have_to_be_unpacked_are_brought(store: Store) -> None:
    """The blobs are elsewhere: one layer is in a tree already, as a part of another image."""
    shared, new = [file("a", b"1")], [file("b", b"2")]
    unpack(make_image(store, [shared]), store, Silent())
    image = make_image(store, [shared, new])
    elsewhere = {layer.digest: store.blob_path(layer.digest).read_bytes() for layer in image.layers}
    for digest in elsewhere:
        store.blob_path(digest).unlink()
    brought = []

    def bring(layers: Sequence[Layer], reporter: Reporter) -> None:
        for layer in layers:
            brought.append(layer.title)
            store.put_blob(elsewhere[layer.digest])

    (tree,) = unpack(image, store, Silent(), bring)

    assert {"a": "1", "b": "2"} == _content(tree)
    assert ["layer 1"] == brought


def test_a_layer_that_unfolds_to_more_than_it_should_is_refused(store: Store) -> None:
    """Its digest is right; what it says about its size is not."""
    image = make_image(store, [[file("zeros", b"\0" * 10_000_000)]])
    lying = replace(image, layers=(replace(image.layers[0], raw_size=5000),))
    with pytest.raises(MachineError) as caught:
        unpack(lying, store, Silent())
    assert (caught.value.code, list(store.trees.iterdir())) == ("bad-layer", [])


def test_modes_are_kept_but_the_owner_can_always_read(store: Store) -> None:
    entries = [
        file("program", b"", mode=0o755),
        file("secret", b"", mode=0o040),
        Entry(b"closed", "dir", 0o500),
        file("closed/inside", b""),
    ]
    (tree,) = unpack(make_image(store, [entries]), store, Silent())
    modes = {name: stat.S_IMODE((tree / name).stat().st_mode) for name in ("program", "secret", "closed")}
    assert modes == {"program": 0o755, "secret": 0o440, "closed": 0o700}


def test_names_that_are_not_utf8_survive(store: Store) -> None:
    (tree,) = unpack(make_image(store, [[file(b"caf\xe9\n", b"x")]]), store, Silent())
    assert [os.fsencode(place.name) for place in tree.iterdir()] == [b"caf\xe9\n"]


def _raw_image(store: Store, *members: tuple[tarfile.TarInfo, bytes]) -> Image:
    """An image whose only layer is a tar that our own writer would refuse to make."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    blob = store.put_blob(stream.getvalue())
    layer = Layer("raw", blob.digest, blob.digest, blob.size, blob.size, "none")
    empty = store.put_blob(b"{}")
    return Image("linux/amd64", empty, empty, (layer,))


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b"x" if kind == tarfile.REGTYPE else b""


@pytest.mark.parametrize(
    "members",
    [
        [_member("../outside")],
        [_member("/outside")],
        [_member("missing/parent")],
        [_member("link", tarfile.SYMTYPE, ".."), _member("link/outside")],
        [_member("d", tarfile.DIRTYPE), _member("d/..", tarfile.DIRTYPE), _member("d/../outside")],
        [_member("twice"), _member("twice")],
        [_member("pipe", tarfile.FIFOTYPE)],
        [_member("device", tarfile.CHRTYPE)],
        [_member("hard", tarfile.LNKTYPE, "/etc/passwd")],
    ],
    ids=["parent", "root", "no-parent", "through-symlink", "dots", "twice", "fifo", "device", "hardlink"],
)
def test_hostile_layers_are_refused_and_leave_nothing(
    store: Store, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    image = _raw_image(store, *members)
    with pytest.raises(MachineError) as caught:
        unpack(image, store, Silent())
    left = [*store.tmp.iterdir(), *store.trees.iterdir(), *store.root.glob("**/outside")]
    assert (caught.value.code, left) == ("bad-layer", [])


def test_a_damaged_blob_is_noticed_and_removed(store: Store) -> None:
    image = make_image(store, [[file("a", os.urandom(100_000))]], compression="none")
    blob = store.blob_path(image.layers[0].digest)
    content = bytearray(blob.read_bytes())
    content[5000] ^= 1
    blob.write_bytes(content)
    with pytest.raises(MachineError, match="damaged"):
        unpack(image, store, Silent())
    assert (blob.exists(), list(store.trees.iterdir())) == (False, [])


def test_a_layer_is_named_by_what_it_holds(store: Store) -> None:
    image = make_image(store, [[file("a", b"1")]])
    (tree,) = unpack(image, store, Silent())
    raw = b"".join(trees.layer_chunks(store, image.layers[0]))
    assert tree.parent.name == f"{hashlib.sha256(raw).hexdigest()}-{os.geteuid()}"


def test_a_full_disk_is_an_error_with_a_remedy_and_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(handle: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    image = make_image(store, [[file("a", b"1")]])
    monkeypatch.setattr(trees.os, "write", write)
    with pytest.raises(MachineError) as caught:
        unpack(image, store, Silent())
    assert (caught.value.code, list(store.tmp.iterdir()), list(store.trees.iterdir())) == (
        "disk-full",
        [],
        [],
    )


def test_an_interruption_leaves_nothing_and_the_next_try_succeeds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image(store, [[file(f"{number}", b"1")] for number in range(20)])
    with monkeypatch.context() as patched:
        patched.setattr(trees, "as_completed", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            unpack(image, store, Silent())
    assert list(store.tmp.iterdir()) == []
    merged = [_content(tree) for tree in unpack(image, store, Silent())]
    assert sum(map(len, merged)) == 20


def _interrupt(futures: object) -> None:
    raise KeyboardInterrupt


def _whiteout(path: str) -> Entry:
    parent, slash, name = path.rpartition("/")
    return file(f"{parent}{slash}.wh.{name}", b"")


def _stack(store: Store, *layers: tuple[bool, list[Entry]]) -> Image:
    """An image whose layers are captured ones or not."""
    image = make_image(store, [entries for _, entries in layers])
    marked = [
        replace(layer, captured=captured) for layer, (captured, _) in zip(image.layers, layers, strict=True)
    ]
    return replace(image, layers=tuple(marked))


def test_a_captured_layer_begins_a_tree_and_removes_by_device_and_attribute(store: Store) -> None:
    image = _stack(
        store,
        (False, [file("a/one", b"1"), file("b/two", b"2")]),
        (True, [_whiteout("a/one"), file("b/.wh..wh..opq", b""), file("b/new", b"3")]),
        (False, [file("c", b"4")]),
    )
    below, above = unpack(image, store, Silent())
    assert _content(below) == {"a": "/", "a/one": "1", "b": "/", "b/two": "2"}
    assert is_whiteout((above / "a/one").lstat())
    assert [is_opaque(os.fsencode(above / name)) for name in ("a", "b")] == [False, True]
    assert (above / "b/new").read_text() == "3"
    assert (above / "c").read_text() == "4"
    assert not list(above.rglob(".wh.*"))


def test_lower_is_what_overlayfs_would_show(store: Store) -> None:
    image = _stack(
        store,
        (False, [file("a/one", b"1"), file("a/kept", b"k"), file("b/two", b"2"), file("f", b"x")]),
        (True, [_whiteout("a/one"), file("b/.wh..wh..opq", b""), file("b/new", b"3"), _whiteout("f")]),
        (False, [file("f/inside", b"4")]),
    )
    lower = Lower(unpack(image, store, Silent()))
    assert {path: lower.names(path) for path in (b"", b"a", b"b", b"f", b"b/new", b"none")} == {
        b"": [b"a", b"b", b"f"],
        b"a": [b"kept"],
        b"b": [b"new"],
        b"f": [b"inside"],
        b"b/new": [],
        b"none": [],
    }
    assert lower.get(b"a/one") is None
    assert lower.get(b"b/two") is None


def test_merged_a_directory_over_a_removed_name_still_hides_what_is_below(store: Store) -> None:
    image = _stack(
        store,
        (False, [file("a/old", b"1")]),
        (True, [_whiteout("a")]),
        (False, [file("a/new", b"2")]),
    )
    _, above = unpack(image, store, Silent())
    assert is_opaque(os.fsencode(above / "a"))
    assert Lower(unpack(image, store, Silent())).names(b"a") == [b"new"]


def test_a_link_on_the_way_is_never_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden")
    image = make_image(store, [[symlink("way", str(tmp_path))]])
    lower = Lower(unpack(image, store, Silent()))
    assert lower.get(b"way/secret") is None
    assert lower.names(b"way") == []


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", ".wh..wh.plnk"])
def test_a_removal_of_nothing_sensible_is_damage(store: Store, name: str) -> None:
    with pytest.raises(MachineError, match="it removes"):
        unpack(_stack(store, (True, [file(f"a/{name}", b"")])), store, Silent())


class TestImagesOfRegistries:
    """Their layers are one tree at the bottom, whatever ours are."""

    def foreign(self, store: Store, *layers: list[Entry], ours: list[Entry]) -> Image:
        image = make_image(store, [*layers, ours])
        *theirs, own = image.layers
        return replace(image, layers=(*(replace(layer, foreign=True) for layer in theirs), own))

    def test_they_are_one_tree_below_ours(self, store: Store) -> None:
        image = self.foreign(store, [file("a", b"1")], [file("b", b"2")], ours=[file("c", b"3")])

        below, above = unpack(image, store, Silent())

        assert ({"a": "1", "b": "2"}, {"c": "3"}) == (_content(below), _content(above))

    def test_what_they_remove_is_gone_and_leaves_no_mark(self, store: Store) -> None:
        image = self.foreign(
            store, [file("a", b""), file("b", b"")], [file(".wh.a", b"")], ours=[file("c", b"")]
        )

        assert {"b": ""} == _content(unpack(image, store, Silent())[0])

    def test_more_of_them_than_a_run_are_one_tree(self, store: Store) -> None:
        layers = [[file(f"f{number}", b"")] for number in range(trees.LAYERS_PER_TREE + 5)]

        assert 2 == len(unpack(self.foreign(store, *layers, ours=[file("top", b"")]), store, Silent()))

    def test_a_damaged_tree_is_noticed_and_made_anew(self, store: Store) -> None:
        image = self.foreign(store, [file("a", b"good")], ours=[file("c", b"")])
        below, _ = unpack(image, store, Silent())
        (below / "a").write_bytes(b"evil")

        again, _ = unpack(image, Store(store.root), Silent(), check=True)

        assert {"a": "good"} == _content(again)

    def test_the_same_layer_is_another_tree_when_it_is_ours(self, store: Store) -> None:
        image = make_image(store, [[file("a", b"")]])
        theirs = replace(image, layers=(replace(image.layers[0], foreign=True),))

        assert unpack(image, store, Silent()) != unpack(theirs, store, Silent())

    def test_sizes_of_their_tars_are_known_afterwards(self, store: Store) -> None:
        """The second time without unpacking."""
        image = self.foreign(store, [file("a", bytes(5000))], [file("b", b"")], ours=[file("c", b"")])
        unknown = [replace(layer, raw_size=0) for layer in image.layers[:2]]
        expected = [layer.raw_size for layer in image.layers[:2]]

        first, sizes = trees.unpack_foreign(unknown, store, Silent())
        for layer in unknown:
            store.blob_path(layer.digest).unlink()
        again = trees.unpack_foreign(unknown, store, Silent())

        assert expected == sizes
        assert (first, expected) == again
