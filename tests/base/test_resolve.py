from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.base.debian import Index, Source
from envbuild.base.resolve import Catalog, closure
from envbuild.errors import RemoteError


def paragraph(name: str, version: str = "1.0", **fields: str) -> str:
    table = {"Package": name, "Version": version, "Architecture": "amd64"}
    table |= {key.replace("_", "-"): value for key, value in fields.items()}
    table.setdefault("Filename", f"pool/main/{name[0]}/{name}/{name}_{version.replace(':', '%3a')}_amd64.deb")
    table |= {"Size": "10", "SHA256": "0" * 64}
    return "".join(f"{key}: {value}\n" for key, value in table.items())


def index(folder: Path, paragraphs: Iterable[str], source: Source = "debian") -> Index:
    text = "\n".join(paragraphs).encode()
    path = folder / f"{len(list(folder.iterdir()))}.xz"
    path.write_bytes(lzma.compress(text))
    return Index(source, "trixie", path, "0" * 64, len(text))


def names(
    folder: Path, paragraphs: Iterable[str], *roots: str, excluded: Mapping[str, str] | None = None
) -> list[str]:
    catalog = Catalog([index(folder, paragraphs)])
    return [deb.name for deb in closure(catalog, roots, excluded=excluded or {}, what="a test")]


def test_the_closure_follows_depends_and_pre_depends(tmp_path: Path) -> None:
    offered = [
        paragraph("a", Depends="b, c:any (>= 1.0)"),
        paragraph("b", Pre_Depends="d"),
        *map(paragraph, ("c", "d", "unrelated")),
    ]

    assert ["a", "b", "c", "d"] == names(tmp_path, offered, "a")


def test_the_newest_version_of_all_suites_and_its_source(tmp_path: Path) -> None:
    suites = [
        index(tmp_path, [paragraph("ssl", "3.0.9-1")]),
        index(tmp_path, [paragraph("ssl", "3.0.10-1~deb13u1")], "debian-security"),
        index(tmp_path, [paragraph("ssl", "3.0.10-1~")]),
    ]

    (deb,) = closure(Catalog(suites), ["ssl"], excluded={}, what="a test")

    assert ("3.0.10-1~deb13u1", "debian-security") == (deb.version, deb.artifact.source)
    assert "pool/main/s/ssl/ssl_3.0.10-1~deb13u1_amd64.deb" == deb.artifact.path
    assert "ssl_3.0.10-1~deb13u1_amd64.deb" == deb.artifact.filename


def test_the_first_alternative_that_exists_is_taken(tmp_path: Path) -> None:
    offered = [paragraph("a", Depends="missing | c | b"), paragraph("b"), paragraph("c")]

    assert ["a", "c"] == names(tmp_path, offered, "a")


def test_an_alternative_that_is_already_there_wins(tmp_path: Path) -> None:
    offered = [paragraph("a", Depends="c | b"), paragraph("b"), paragraph("c")]

    assert ["a", "b"] == names(tmp_path, offered, "a", "b")


def test_an_alternative_too_old_is_passed_over(tmp_path: Path) -> None:
    offered = [paragraph("a", Depends="b (>= 2) | c"), paragraph("b"), paragraph("c")]

    assert ["a", "c"] == names(tmp_path, offered, "a")


def test_a_virtual_package_is_met_by_the_first_provider_by_name(tmp_path: Path) -> None:
    offered = [
        paragraph("a", Depends="awk"),
        paragraph("mawk", Provides="awk"),
        paragraph("gawk", Provides="awk, other (= 2)"),
    ]

    assert ["a", "gawk"] == names(tmp_path, offered, "a")


def test_a_provider_that_is_already_there_wins(tmp_path: Path) -> None:
    offered = [
        paragraph("a", Depends="awk"),
        paragraph("mawk", Provides="awk"),
        paragraph("gawk", Provides="awk"),
    ]

    assert ["a", "mawk"] == names(tmp_path, offered, "a", "mawk")


@pytest.mark.parametrize("provides", ["awk", "awk (= 1.0)"])
def test_versions_of_what_is_provided_count(tmp_path: Path, provides: str) -> None:
    offered = [paragraph("a", Depends="awk (>= 2)"), paragraph("mawk", "2.0", Provides=provides)]

    with pytest.raises(RemoteError, match=r"`a` 1\.0 of a test needs `awk \(>= 2\)`"):
        names(tmp_path, offered, "a")


def test_a_versioned_provides_satisfies(tmp_path: Path) -> None:
    offered = [paragraph("a", Depends="awk (>= 2)"), paragraph("mawk", Provides="awk (= 2.1)")]

    assert ["a", "mawk"] == names(tmp_path, offered, "a")


def test_excluded_packages_and_their_alternatives_are_done_without(tmp_path: Path) -> None:
    offered = [
        paragraph("a", Depends="debconf (>= 0.5) | debconf-2.0, b"),
        paragraph("b", Depends="perl"),
        paragraph("perl"),
        paragraph("debconf", Provides="debconf-2.0"),
        paragraph("cdebconf", Provides="debconf-2.0"),
    ]

    assert ["a", "b"] == names(tmp_path, offered, "a", excluded={"debconf": "", "perl": ""})


def test_cycles_end(tmp_path: Path) -> None:
    offered = [paragraph("libc6", Depends="libgcc"), paragraph("libgcc", Depends="libc6 (>= 1)")]

    assert ["libc6", "libgcc"] == names(tmp_path, offered, "libc6")


@pytest.mark.parametrize("wanted", ["missing", "missing (>= 1)", "b (<< 1.0)", "b (>> 1.0) | missing"])
def test_what_cannot_be_met_is_named_with_who_wants_it(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(RemoteError) as caught:
        names(tmp_path, [paragraph("a", Depends=wanted), paragraph("b")], "a")

    assert "debian-unsatisfied" == caught.value.code
    assert f"`a` 1.0 of a test needs `{wanted}`, which Debian does not have" == caught.value.message


def test_a_root_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="no package `python9`, which a test needs"):
        names(tmp_path, [paragraph("a")], "python9")


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "pool/../../x.deb",
        "pool/main/a/x.deb?y=.deb",
        "pool/main/a b/x.deb",
        "pool/main/x.txt",
        "http://example.org/pool/main/x.deb",
    ],
)
def test_paths_that_leave_the_pool_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(RemoteError, match="unsafe name or path"):
        names(tmp_path, [paragraph("a", Filename=path)], "a")


@pytest.mark.parametrize("text", ["Package: a\nVersion: 1\n", "Version: 1\n", "Package: a\nSize: x\n"])
def test_an_incomplete_paragraph_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RemoteError, match="paragraph in Debian's index"):
        names(tmp_path, [text], "a")


def test_an_index_that_unpacks_to_more_than_announced_is_refused(tmp_path: Path) -> None:
    made = index(tmp_path, [paragraph("a")])

    with pytest.raises(RemoteError, match="larger than announced"):
        Catalog([Index("debian", "trixie", made.path, made.sha256, made.size - 1)])


@given(st.data())
def test_the_answer_does_not_depend_on_the_order_of_the_index(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    offered = [
        paragraph("a", Depends="v | w, b"),
        paragraph("b", Depends="x | y"),
        paragraph("c", Provides="v, x"),
        paragraph("d", Provides="v, x"),
        paragraph("y", Depends="d"),
    ]
    shuffled = data.draw(st.permutations(offered))

    assert ["a", "b", "c"] == names(tmp_path_factory.mktemp("index"), shuffled, "a")
