"""Walking and reading a repository without leaving it."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import RepoError
from envbuild.source import Repo, RepoFile, open_repo

LIMIT = 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of a repository, with a secret beside it."""
    (tmp_path / "outside").write_text("secret")
    root = tmp_path / "repo"
    root.mkdir()
    return root


def _code(repo: Repo, path: str) -> str:
    with pytest.raises(RepoError) as caught:
        repo.read(path, LIMIT)
    return caught.value.code


class TestFiles:
    def test_every_kind_in_the_order_of_path_components(self, root: Path) -> None:
        (root / "a").mkdir()
        (root / "a" / "x").write_text("12345")
        (root / "a.txt").write_text("")
        (root / "run").write_text("#!")
        (root / "run").chmod(0o755)
        (root / "link").symlink_to("a/x")
        os.mkfifo(root / "fifo")

        assert (
            RepoFile(b"a", "dir"),
            RepoFile(b"a/x", "file", 5),
            RepoFile(b"a.txt", "file"),
            RepoFile(b"fifo", "other"),
            RepoFile(b"link", "symlink", target=b"a/x"),
            RepoFile(b"run", "file", 2, executable=True),
        ) == Repo(root).files()

    @pytest.mark.parametrize("name", [".git", ".ipynb_checkpoints", "__pycache__"])
    def test_left_out_at_any_depth(self, root: Path, name: str) -> None:
        for parent in (root, root / "sub"):
            (parent / name).mkdir(parents=True)
            (parent / name / "file").write_text("")

        assert (RepoFile(b"sub", "dir"),) == Repo(root).files()

    def test_a_git_file_is_left_out(self, root: Path) -> None:
        """Worktrees and submodules have a file called .git, with a path of this machine in it."""
        (root / ".git").write_text("gitdir: /home/me/x")
        assert () == Repo(root).files()

    def test_virtual_environments_are_left_out(self, root: Path) -> None:
        (root / "my-env" / "lib").mkdir(parents=True)
        (root / "my-env" / "pyvenv.cfg").write_text("")
        (root / "data").mkdir()

        assert (RepoFile(b"data", "dir"),) == Repo(root).files()

    def test_symbolic_links_are_not_followed(self, root: Path) -> None:
        (root / "up").symlink_to("..")
        (root / "self").symlink_to(".")

        assert [b"self", b"up"] == [file.path for file in Repo(root).files()]

    @pytest.mark.parametrize(
        "name", [b"a b", b"it's", b'"', b"new\nline", b"\xff\xfe", b"-r", b"*", b"$(touch x)"]
    )
    def test_names_are_bytes(self, root: Path, name: bytes) -> None:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_text("hello")
        repo = Repo(root)
        (file,) = repo.files()

        assert name == file.path
        assert file.name.isprintable()
        assert b"hello" == b"".join(repo.open_content(file.path, size=file.size))
        assert b"hello" == repo.read(os.fsdecode(name), LIMIT)

    def test_too_deep(self, root: Path) -> None:
        handle = os.open(root, os.O_RDONLY)
        for _ in range(140):
            os.mkdir("d", dir_fd=handle)
            below = os.open("d", os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        os.close(handle)
        with pytest.raises(RepoError) as caught:
            Repo(root).files()

        assert "repository-too-large" == caught.value.code

    def test_a_file_that_vanishes_during_the_walk(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / "here").write_text("")
        original = os.stat

        def stat(path: str, **options: Any) -> os.stat_result:
            if path == "here":
                (root / "here").unlink()
            return original(path, **options)

        monkeypatch.setattr(os, "stat", stat)
        with pytest.raises(RepoError) as caught:
            Repo(root).files()

        assert ("changed-while-reading", "here") == (caught.value.code, caught.value.file)

    def test_a_directory_that_becomes_a_link_during_the_walk(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The walk must not go where the link leads."""
        (root / "sub").mkdir()
        original = os.stat

        def stat(path: str, **options: Any) -> os.stat_result:
            status = original(path, **options)
            if path == "sub":
                (root / "sub").rmdir()
                (root / "sub").symlink_to("/")
            return status

        monkeypatch.setattr(os, "stat", stat)
        with pytest.raises(RepoError) as caught:
            Repo(root).files()

        assert "changed-while-reading" == caught.value.code

    def test_an_unreadable_directory(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / "private").mkdir()
        original = os.open

        def refuse(path: str, flags: int, **options: Any) -> int:
            if path == "private":
                raise PermissionError(13, "Permission denied")  # which root never gets by itself
            return original(path, flags, **options)

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(RepoError) as caught:
            Repo(root).files()

        assert ("file-unreadable", "private") == (caught.value.code, caught.value.file)


class TestRead:
    def test_a_file(self, root: Path) -> None:
        (root / "sub").mkdir()
        (root / "sub" / "file").write_bytes(b"x" * LIMIT)

        assert b"x" * LIMIT == Repo(root).read("sub/file", LIMIT)
        assert b"x" * LIMIT == Repo(root).read("./sub/../sub//file", LIMIT)

    def test_too_large(self, root: Path) -> None:
        (root / "file").write_bytes(b"x" * (LIMIT + 1))
        assert "file-too-large" == _code(Repo(root), "file")

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("missing", "file-not-found"),
            ("", "file-not-found"),
            ("nul\0", "file-not-found"),
            (".", "is-a-directory"),
            ("sub", "is-a-directory"),
            ("file/below", "file-not-found"),
            ("..", "outside-repository"),
            ("../outside", "outside-repository"),
            ("sub/../../outside", "outside-repository"),
            ("../repo/file", "outside-repository"),
            ("/etc/passwd", "outside-repository"),
        ],
    )
    def test_refused_paths(self, root: Path, path: str, code: str) -> None:
        (root / "sub").mkdir()
        (root / "file").write_text("")
        assert code == _code(Repo(root), path)

    @pytest.mark.parametrize(
        "target", ["../outside", "/etc/passwd", "sub/../../outside", "out", "sub/up/../outside"]
    )
    def test_links_that_lead_out(self, root: Path, target: str) -> None:
        (root / "sub").mkdir()
        (root / "sub" / "up").symlink_to("../..")
        (root / "out").symlink_to("../outside")
        (root / "link").symlink_to(target)
        repo = Repo(root)

        assert "outside-repository" == _code(repo, "link")
        assert not repo.exists("link")

    def test_links_that_stay_inside(self, root: Path) -> None:
        (root / "sub").mkdir()
        (root / "sub" / "file").write_text("hello")
        (root / "directory").symlink_to("sub/../sub")
        (root / "link").symlink_to("directory/file")
        (root / "sub" / "back").symlink_to("../link")

        assert b"hello" == Repo(root).read("sub/back", LIMIT)
        assert Repo(root).exists("directory")

    def test_dotdot_after_a_link_is_the_parent_of_where_it_leads(self, root: Path) -> None:
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "file").write_text("right")
        (root / "file").write_text("wrong")
        (root / "link").symlink_to("a/b")

        assert b"right" == Repo(root).read("link/../file", LIMIT)

    def test_link_loop(self, root: Path) -> None:
        (root / "a").symlink_to("b")
        (root / "b").symlink_to("a")
        assert "link-loop" == _code(Repo(root), "a")

    def test_special_files_are_not_opened(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Opening a FIFO would wait for a writer, for ever."""
        os.mkfifo(root / "fifo")
        (root / "link").symlink_to("fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            with monkeypatch.context() as patch:
                patch.chdir(root)
                listener.bind("socket")  # a long name cannot be bound

            assert ["special-file"] * 3 == [_code(Repo(root), name) for name in ("fifo", "link", "socket")]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
    def test_devices_are_not_opened(self, root: Path) -> None:
        try:
            os.mknod(root / "zero", 0o20666, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("no devices in this container")
        assert "special-file" == _code(Repo(root), "zero")

    def test_a_file_that_is_swapped_for_a_fifo_does_not_block(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "file").write_text("")
        original = os.open

        def swap(path: str, flags: int, **options: Any) -> int:
            if path == "file":
                (root / "file").unlink()
                os.mkfifo(root / "file")
            return original(path, flags, **options)

        monkeypatch.setattr(os, "open", swap)
        codes: list[str] = []
        reader = threading.Thread(target=lambda: codes.append(_code(Repo(root), "file")), daemon=True)
        reader.start()
        reader.join(timeout=300)

        assert ["special-file"] == codes

    def test_a_file_that_is_swapped_for_a_link_is_not_followed(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "file").write_text("")
        original = os.open

        def swap(path: str, flags: int, **options: Any) -> int:
            if path == "file":
                (root / "file").unlink()
                (root / "file").symlink_to("../outside")
            return original(path, flags, **options)

        monkeypatch.setattr(os, "open", swap)

        assert "link-loop" == _code(Repo(root), "file")

    def test_no_file_handle_is_left_open(self, root: Path) -> None:
        (root / "sub").mkdir()
        (root / "sub" / "file").write_text("")
        repo = Repo(root)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        repo.files()
        repo.read("sub/file", LIMIT)
        for path in ("missing", "../outside", "sub", "sub/file/x"):
            _code(repo, path)

        assert before == len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    def test_works_in_a_read_only_directory(self, root: Path) -> None:
        (root / "file").write_text("hello")
        root.chmod(0o555)
        try:
            assert b"hello" == open_repo(str(root)).read("file", LIMIT)
            assert 1 == len(Repo(root).files())
        finally:
            root.chmod(0o755)


class TestOpenContent:
    def test_yields_everything(self, root: Path) -> None:
        (root / "file").write_bytes(b"ab" * (1 << 20))
        assert b"ab" * (1 << 20) == b"".join(Repo(root).open_content(b"file", size=2 << 20))

    @pytest.mark.parametrize("size", [4, 6, 0])
    def test_a_size_that_is_not_the_announced_one(self, root: Path, size: int) -> None:
        (root / "file").write_bytes(b"12345")
        with pytest.raises(RepoError) as caught:
            list(Repo(root).open_content(b"file", size=size))

        assert "changed-while-reading" == caught.value.code

    def test_follows_no_link(self, root: Path) -> None:
        (root / "file").write_bytes(b"12345")
        (root / "link").symlink_to("file")
        with pytest.raises(RepoError):
            list(Repo(root).open_content(b"link"))


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "b", "link", "out", "loop", "file"]), max_size=8).map(
        "/".join
    )
)
def test_no_path_reads_the_secret(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    """Whatever the components, reading gives the repository's own bytes or a :class:`RepoError`."""
    root = _maze(tmp_path_factory)
    try:
        data = Repo(root).read(path, LIMIT)
    except RepoError:
        return
    assert b"inside" == data


_made: list[Path] = []


def _maze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository full of links, made once."""
    if not _made:
        top = tmp_path_factory.mktemp("maze")
        (top / "file").write_text("secret")
        root = top / "repo"
        (root / "a" / "b").mkdir(parents=True)
        (root / "file").write_text("inside")
        (root / "a" / "file").write_text("inside")
        (root / "a" / "link").symlink_to("..")
        (root / "a" / "b" / "out").symlink_to("../../..")
        (root / "link").symlink_to("a/b")
        (root / "out").symlink_to("..")
        (root / "loop").symlink_to("loop")
        _made.append(root)
    return _made[0]
