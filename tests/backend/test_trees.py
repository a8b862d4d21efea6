"""Source trees: out of archives that may be hostile, and out of repositories."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.backend.trees import copy_project, project_digest, unpack_source
from envbuild.errors import RepoError
from envbuild.pack import recipe
from envbuild.source import Repo


def tar(path: Path, *members: tarfile.TarInfo, data: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return path


def test_the_only_directory_of_an_archive_is_the_project(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a", member("x-1/setup.py"), member("x-1/tool", mode=0o755))
    tree = unpack_source(archive, "x-1.tar.gz", tmp_path / "out")

    assert tmp_path / "out" / "x-1" == tree
    assert (0o666, 0o777, 0o777) == tuple(
        path.stat().st_mode & 0o777 for path in (tree / "setup.py", tree / "tool", tree)
    )
    assert {recipe.MTIME} == {path.stat().st_mtime for path in (tree, tree / "setup.py")}


def test_zip_files(tmp_path: Path) -> None:
    tree = unpack_source(zipped(tmp_path / "a", "x/setup.py", "x/y/z.py"), "x.zip", tmp_path / "out")

    assert "x" == (tree / "y" / "z.py").read_text()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "x/../../evil"])
def test_archives_that_write_elsewhere(tmp_path: Path, name: str) -> None:
    for archive, filename in (
        (tar(tmp_path / "a", member(name)), "a.tgz"),
        (zipped(tmp_path / "b", name), "b.zip"),
    ):
        out = tmp_path / f"out of {filename}"
        try:
            unpack_source(archive, filename, out)
        except RepoError as error:
            assert "bad-source-archive" == error.code
        assert not (tmp_path / "evil").exists()
        assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("target", ["/etc", "../.."])
def test_links_out_of_the_tree(tmp_path: Path, target: str) -> None:
    link = member("x/link", tarfile.SYMTYPE, target)

    with pytest.raises(RepoError):
        unpack_source(tar(tmp_path / "a", link, member("x/link/evil")), "a.tar.gz", tmp_path / "out")
    assert not Path("/etc/evil").exists()


def test_hard_links_are_copies(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a", member("x/a"), member("x/b", tarfile.LNKTYPE, "x/a"))
    tree = unpack_source(archive, "a.tar.gz", tmp_path / "out")

    assert ("x", 1) == ((tree / "b").read_text(), (tree / "b").stat().st_nlink)


@pytest.mark.parametrize("target", ["missing", "../../etc/passwd", "/etc/passwd"])
def test_hard_links_to_what_the_archive_does_not_have(tmp_path: Path, target: str) -> None:
    with pytest.raises(RepoError):
        unpack_source(tar(tmp_path / "a", member("x/b", tarfile.LNKTYPE, target)), "a.tgz", tmp_path / "out")


def test_devices_and_pipes_are_left_out(tmp_path: Path) -> None:
    archive = tar(
        tmp_path / "a", member("x/a"), member("x/pipe", tarfile.FIFOTYPE), member("x/dev", tarfile.CHRTYPE)
    )

    tree = unpack_source(archive, "a.tar.gz", tmp_path / "out")

    assert ["a"] == [path.name for path in tree.iterdir()]


@pytest.mark.parametrize("data", [b"", b"not an archive", b"\x1f\x8b\x08", b"PK\x03\x04"])
@pytest.mark.parametrize("filename", ["x.tar.gz", "x.zip"])
def test_what_is_no_archive(tmp_path: Path, data: bytes, filename: str) -> None:
    (tmp_path / "a").write_bytes(data)

    with pytest.raises(RepoError) as caught:
        unpack_source(tmp_path / "a", filename, tmp_path / "out")
    assert "bad-source-archive" == caught.value.code


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    root = tmp_path / "repository"
    for name in ("src/x.py", "notebook.ipynb", "envbuild.lock", "other/y.py", ".git/config"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "src" / "link").symlink_to("x.py")
    return Repo(root)


def test_a_project_is_copied_without_notebooks(repo: Repo, tmp_path: Path) -> None:
    copy_project(repo, ".", tmp_path / "copy")
    found = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*")}

    assert {"src", "src/x.py", "src/link", "other", "other/y.py"} == found
    assert (tmp_path / "copy" / "src" / "link").is_symlink()


def test_a_project_in_a_directory_is_copied_to_its_place(repo: Repo, tmp_path: Path) -> None:
    copy_project(repo, "src", tmp_path / "copy")

    assert ["link", "x.py"] == sorted(path.name for path in (tmp_path / "copy" / "src").iterdir())
    assert ["src"] == [path.name for path in (tmp_path / "copy").iterdir()]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda root: (root / "notebook.ipynb").write_text("new"), True),
        (lambda root: (root / "envbuild.lock").write_text("new"), True),
        (lambda root: (root / "other" / "y.py").write_text("new"), True),
        (lambda root: (root / "src" / "x.py").write_text("new"), False),
        (lambda root: (root / "src" / "x.py").chmod(0o755), False),
        (lambda root: (root / "src" / "x.py").rename(root / "src" / "z.py"), False),
        (lambda root: (root / "src" / "new").write_text(""), False),
    ],
)
def test_a_digest_is_of_the_project_s_files(repo: Repo, change: Callable[[Path], object], same: bool) -> None:
    before = project_digest(repo, "src")
    change(repo.root)

    assert same == (before == project_digest(repo, "src"))
