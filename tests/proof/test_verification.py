"""An image against what its lock makes: what was done to it is named, precisely, and nothing else."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from envbuild.errors import RemoteError
from envbuild.image.archive import write_archive
from envbuild.image.layout import write_layout
from envbuild.image.model import Image
from envbuild.inspection.archive import ArchiveImage
from envbuild.inspection.layout import LayoutImage
from envbuild.inspection.medium import Medium
from envbuild.inspection.view import read_image
from envbuild.pack.tar import Entry, complete, file, write_tar
from envbuild.progress import Silent
from envbuild.proof.configuration import ConfigChange
from envbuild.proof.verification import FileVerdict, ImageVerdict, LayerVerdict, verify_image
from envbuild.store import Store
from tests.proof.conftest import Laboratory
from tests.support.builds import Machine
from tests.support.remote import fetched, pushed
from tests.support.tampering import Draft, Member, as_medium

SITE = f"srv/env/lib/python3.{sys.version_info.minor}/site-packages"
TITLES = [
    "operating system and Python",
    "jupyterlab",
    "numpy",
    "pandas",
    "environment, kernels and entry point",
    "repository",
]


@dataclass
class Case:
    """An honest image on one machine, and what another machine has made of the same lock."""

    machine: Machine
    honest: Image
    other: Machine
    made: Image

    def verdict(self, medium: Medium) -> ImageVerdict:
        """Of the only image on ``medium``."""
        view = read_image(medium, medium.entries().images[0])
        return verify_image(medium, view, self.made, self.other.store, Silent())

    def of(self, image: Image) -> ImageVerdict:
        """Of an image in the cache of the machine."""
        return self.verdict(as_medium(self.machine.store, image))

    @property
    def draft(self) -> Draft:
        """The honest image, to be changed."""
        return Draft(self.machine.store, self.honest)


@pytest.fixture
def case(laboratory: Laboratory) -> Case:
    machine, other = laboratory.machine("laptop"), laboratory.machine("elsewhere")
    return Case(machine, laboratory.complete(machine), other, laboratory.complete(other))


def wrong(verdict: ImageVerdict) -> dict[str, LayerVerdict]:
    """The layers that are not what they should be, by title."""
    return {layer.title: layer for layer in verdict.layers if layer.state not in ("same", "encoded")}


def single(verdict: ImageVerdict, title: str) -> FileVerdict:
    """The only file that differs, in the only layer that does."""
    assert [title] == list(wrong(verdict))
    layer = wrong(verdict)[title]
    assert ("differs", 1, None) == (layer.state, layer.differing, layer.trouble)
    assert not verdict.proven
    return layer.files[0]


def changing(name: str, change: Callable[[Member], None]) -> Callable[[dict[str, Member]], None]:
    """A change of one entry."""
    return lambda members: change(members[name])


def test_what_was_made_elsewhere_is_the_same_byte_for_byte(case: Case) -> None:
    verdict = case.of(case.honest)

    assert verdict.identical
    assert verdict.proven
    assert [(title, "same") for title in TITLES] == [(layer.title, layer.state) for layer in verdict.layers]
    assert ((), None) == (verdict.config, verdict.hint)


def test_an_image_taken_apart_and_put_together_is_still_the_same(case: Case) -> None:
    """What the other tests change, they change in an image that was not changed by taking it apart."""
    assert case.of(case.draft.published()).identical


def test_a_changed_line(case: Case) -> None:
    draft = case.draft

    def change(member: Member) -> None:
        member.content = member.content.replace(b"numpy", b"nunpy")

    draft.edit("numpy", changing(f"{SITE}/numpy.py", change))
    found = single(case.of(draft.published()), "numpy")

    assert (
        FileVerdict(f"{SITE}/numpy.py", ("content: line 1 is \"NAME = 'nunpy'\" instead of …",)).path
        == found.path
    )
    assert ("content: line 1 is 'NAME = 'nunpy'' instead of 'NAME = 'numpy''",) == found.how


def test_a_changed_byte_of_bytecode(case: Case) -> None:
    draft = case.draft
    name = next(
        member for member in _names(draft, "pandas") if member.endswith(".pyc") and "pandas" in member
    )

    def change(member: Member) -> None:
        member.content = member.content[:-1] + bytes([member.content[-1] ^ 1])

    draft.edit("pandas", changing(name, change))
    found = single(case.of(draft.published()), "pandas")

    assert name == found.path
    assert found.how[0].startswith("content: bytecode, the code itself from byte ")


def _names(draft: Draft, title: str) -> list[str]:
    names: list[str] = []
    draft.edit(title, names.extend)
    return names


@pytest.mark.parametrize(
    ("attribute", "value", "how"),
    [
        ("mode", 0o4755, "mode 4755 instead of 0644"),
        ("uid", 1000, "owner 1000:0 instead of 0:0"),
        ("mtime", 1_000_000_000, "time 2001-09-09T01:46:40Z instead of 1980-01-01T00:00:01Z"),
    ],
)
def test_a_changed_attribute(case: Case, attribute: str, value: int, how: str) -> None:
    draft = case.draft
    draft.edit("numpy", changing(f"{SITE}/numpy.py", lambda member: setattr(member.info, attribute, value)))

    assert FileVerdict(f"{SITE}/numpy.py", (how,)) == single(case.of(draft.published()), "numpy")


def test_a_file_that_became_a_link(case: Case) -> None:
    draft = case.draft

    def change(member: Member) -> None:
        member.info.type, member.info.linkname, member.content = b"2", "/tmp/mine", b""

    draft.edit("numpy", changing(f"{SITE}/numpy.py", change))

    assert FileVerdict(f"{SITE}/numpy.py", ("kind symbolic link instead of file",)) == single(
        case.of(draft.published()), "numpy"
    )


def test_an_added_file(case: Case) -> None:
    draft = case.draft

    def change(members: dict[str, Member]) -> None:
        added = Member(members[f"{SITE}/numpy.py"].info.replace(name=f"{SITE}/zzz.pth"), b"import os\n")
        members[added.info.name] = added

    draft.edit("numpy", change)

    assert FileVerdict(f"{SITE}/zzz.pth", ("extra",)) == single(case.of(draft.published()), "numpy")


def test_a_removed_file(case: Case) -> None:
    draft = case.draft
    draft.edit("repository", lambda members: members.pop("srv/repo/notes.txt") and None)

    assert FileVerdict("srv/repo/notes.txt", ("missing",)) == single(case.of(draft.published()), "repository")


def test_an_entry_that_is_there_twice(case: Case) -> None:
    """Whoever unpacks takes the last one; both are compared."""
    draft = case.draft
    place = draft.at("numpy")

    again = io.BytesIO()
    write_tar(complete([file(f"{SITE}/numpy.py", b"import evil\n")]), again)
    entries = draft.tars[place].rstrip(b"\0")
    draft.tars[place] = entries + bytes(-len(entries) % 512) + again.getvalue()
    layer = wrong(case.of(draft.published()))["numpy"]

    files = {one.path: one.how for one in layer.files}
    assert ("kind 2 entries instead of file",) == files[f"{SITE}/numpy.py"]


def test_the_order_of_entries_is_said_to_differ_when_nothing_else_does(case: Case) -> None:
    draft = case.draft

    def change(members: dict[str, Member]) -> None:
        members[f"{SITE}/numpy.py"] = members.pop(f"{SITE}/numpy.py")

    draft.edit("numpy", change)
    verdict = case.of(draft.published())

    assert not verdict.proven
    layer = wrong(verdict)["numpy"]
    assert (0, "its files are the same; their order, or what unpacking does not show, is not") == (
        layer.differing,
        layer.trouble,
    )


def test_two_layers_in_each_others_place(case: Case) -> None:
    draft = case.draft
    order = list(range(len(draft.layers)))
    one, two = draft.at("numpy"), draft.at("pandas")
    order[one], order[two] = two, one
    draft.move(order)
    verdict = case.of(draft.published())

    assert not verdict.proven
    assert 1 == len(wrong(verdict))
    assert {"moved"} == {layer.state for layer in wrong(verdict).values()}
    assert set(wrong(verdict)) <= {"numpy", "pandas"}


def test_layers_swapped_behind_an_honest_config(case: Case) -> None:
    """Engines refuse such an image; one that does not check would run something else than the lock says."""
    draft = case.draft
    one, two = draft.at("numpy"), draft.at("pandas")
    draft.tars[one], draft.tars[two] = draft.tars[two], draft.tars[one]
    verdict = case.of(draft.published(honest=False))

    assert verdict.image_id == verdict.expected_id
    assert not verdict.proven
    assert {"numpy", "pandas"} == set(wrong(verdict))
    assert "it is not in the place that the config says" in {
        layer.trouble for layer in wrong(verdict).values()
    }


def test_a_changed_layer_behind_an_honest_config(case: Case) -> None:
    draft = case.draft
    draft.edit(
        "numpy",
        changing(f"{SITE}/numpy.py", lambda member: setattr(member, "content", b"import evil\n")),
    )
    verdict = case.of(draft.published(honest=False))

    assert verdict.image_id == verdict.expected_id
    found = single(verdict, "numpy")
    assert ("content: line 1 is 'import evil' instead of 'NAME = 'numpy''",) == found.how


def test_a_config_that_names_another_diff_id(case: Case) -> None:
    draft = case.draft
    draft.config["rootfs"]["diff_ids"][draft.at("numpy")] = "sha256:" + "0" * 64
    layer = wrong(case.of(draft.published(honest=False)))["numpy"]

    assert ("differs", "the image's config has another diff ID for it") == (layer.state, layer.trouble)


def test_a_dropped_layer(case: Case) -> None:
    draft = case.draft
    draft.move([at for at in range(len(draft.layers)) if at != draft.at("pandas")])
    verdict = case.of(draft.published())

    assert {"pandas": "missing"} == {title: layer.state for title, layer in wrong(verdict).items()}
    assert ("pandas==3.0",) == wrong(verdict)["pandas"].packages


def test_an_additional_layer(case: Case) -> None:
    draft = case.draft
    extra: list[Entry] = [file("usr/local/bin/miner", b"#!/bin/sh\n", executable=True)]

    tar = io.BytesIO()
    write_tar(complete(extra), tar)
    draft.layers.append(draft.layers[-1])
    draft.tars.append(tar.getvalue())
    draft.config["history"].append({"created_by": "RUN curl example.org | sh"})
    verdict = case.of(draft.published())

    (layer,) = wrong(verdict).values()
    assert ("extra", "RUN curl example.org | sh") == (layer.state, layer.title)
    assert "usr/local/bin/miner" in {one.path for one in layer.files}


def test_a_config_that_starts_something_else(case: Case) -> None:
    draft = case.draft
    draft.config["config"]["User"] = "0:0"
    verdict = case.of(draft.published())

    assert (ConfigChange("User", "1000:100", "0:0"),) == verdict.config
    assert verdict.same_files
    assert not verdict.proven


def test_only_the_first_differing_file_is_explained_the_others_are_counted(case: Case) -> None:
    draft = case.draft

    def change(members: dict[str, Member]) -> None:
        for member in members.values():
            if member.info.isreg():
                member.content += b"\n"

    draft.edit("pandas", change)
    layer = wrong(case.of(draft.published()))["pandas"]

    assert layer.differing == len(layer.files) > 2
    assert 1 == sum(": " in how for one in layer.files for how in one.how)


def test_the_same_image_in_another_compression(laboratory: Laboratory, case: Case) -> None:
    draft = case.draft
    draft.compression = "gzip"
    verdict = case.of(draft.published())

    assert (True, False) == (verdict.proven, verdict.identical)
    assert {"encoded"} == {layer.state for layer in verdict.layers}


def test_another_recipe_is_pointed_out(case: Case) -> None:
    draft = case.draft
    draft.config["config"]["Labels"]["dev.envbuild.recipe"] = "1"
    verdict = case.of(draft.published())

    assert verdict.same_files
    assert verdict.hint is not None
    assert verdict.hint.startswith("it was made with packing recipe 1, this envbuild has ")


def test_a_layer_that_cannot_be_unpacked(case: Case) -> None:
    draft = case.draft
    draft.tars[draft.at("numpy")] = b"\x1f" * 10_000
    layer = wrong(case.of(draft.published()))["numpy"]

    assert layer.trouble is not None
    assert layer.trouble.startswith("it cannot be unpacked: not a tar file")


def test_a_layer_that_unpacks_without_end(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.proof.verification._ROOM", 1 << 20)
    draft = case.draft
    draft.tars[draft.at("numpy")] = bytes(64 << 20)
    layer = wrong(case.of(draft.published()))["numpy"]

    assert "it cannot be unpacked: it unpacks to far more than it should" == layer.trouble


# Media


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_layout_with_a_damaged_blob(case: Case, tmp_path: Path) -> None:
    """Every digest in it is right, and the file is not what its name says."""
    write_layout([case.honest], case.machine.store, tmp_path / "layout")
    medium = LayoutImage(tmp_path / "layout")
    assert case.verdict(medium).identical

    numpy = next(layer for layer in case.honest.layers if layer.title == "numpy")
    _damage(tmp_path / "layout" / "blobs" / "sha256" / numpy.digest.removeprefix("sha256:"))
    layer = wrong(case.verdict(medium))["numpy"]

    assert layer.trouble is not None
    assert layer.trouble.endswith(f"the blob {numpy.digest} is damaged")


def test_an_archive_is_the_same_image_uncompressed(case: Case, tmp_path: Path) -> None:
    with (tmp_path / "image.tar").open("wb") as sink:
        write_archive(case.honest, case.machine.store, sink)
    verdict = case.verdict(ArchiveImage(tmp_path / "image.tar"))

    assert (True, False) == (verdict.proven, verdict.identical)
    assert {"encoded"} == {layer.state for layer in verdict.layers}


def test_layers_of_a_cached_image_that_were_never_needed_stay_where_they_are(
    case: Case, tmp_path: Path
) -> None:
    """The shared cache has them; that their digests are the expected ones is all there is to know."""
    store = Store(tmp_path / "cache")
    store.prepare()
    for blob in (case.honest.config, case.honest.manifest):
        store.put_blob(case.machine.store.blob_path(blob.digest).read_bytes())

    assert case.verdict(as_medium(store, case.honest)).identical


def test_of_an_identical_image_in_a_registry_no_layer_is_fetched(case: Case) -> None:
    with pushed(case.machine.store, [case.honest]) as (registry, remote):
        assert case.verdict(remote).identical

        assert {case.honest.config.digest} == fetched(registry)


def test_of_a_changed_image_in_a_registry_only_the_changed_layer_is_fetched(case: Case) -> None:
    draft = case.draft
    draft.edit("numpy", changing(f"{SITE}/numpy.py", lambda member: setattr(member.info, "mode", 0o777)))
    forged = draft.published()
    changed = next(layer for layer in forged.layers if layer.title == "numpy")
    with pushed(case.machine.store, [forged]) as (registry, remote):
        verdict = case.verdict(remote)

        assert FileVerdict(f"{SITE}/numpy.py", ("mode 0777 instead of 0644",)) == single(verdict, "numpy")
        assert {forged.config.digest, changed.digest} == fetched(registry)


def test_a_registry_that_lost_a_layer_is_the_registrys_fault(case: Case) -> None:
    draft = case.draft
    draft.edit("numpy", changing(f"{SITE}/numpy.py", lambda member: setattr(member.info, "mode", 0o777)))
    forged = draft.published()
    changed = next(layer for layer in forged.layers if layer.title == "numpy")
    with pushed(case.machine.store, [forged]) as (registry, remote):
        del registry.repository("team/demo").blobs[changed.digest]

        with pytest.raises(RemoteError):
            case.verdict(remote)


def test_the_documents_of_a_case_are_what_they_seem(case: Case) -> None:
    """Guards the tests: diff IDs are in the config in the order of the layers."""
    config = json.loads(case.machine.store.blob_path(case.honest.config.digest).read_bytes())
    assert [layer.diff_id for layer in case.honest.layers] == config["rootfs"]["diff_ids"]
