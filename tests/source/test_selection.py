"""What of a repository goes into its image."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.errors import RepoError
from envbuild.source.patterns import setting_pattern
from envbuild.source.repo import Repo
from envbuild.source.selection import Selection, select, tell
from tests.support.git import Upstream
from tests.support.reporters import Messages

Make = Callable[..., Repo]
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a repository of files, with ``include`` and ``exclude`` settings."""

    def make(files: dict[str, str], include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Repo:
        for name, content in files.items():
            path = tmp_path / "repo" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return Repo(
            (tmp_path / "repo").resolve(),
            include=tuple(map(setting_pattern, include)),
            exclude=tuple(map(setting_pattern, exclude)),
        )

    return make


def kept(selection: Selection) -> list[str]:
    return [file.name for file in selection.files if file.kind != "dir"]


def left_out(selection: Selection) -> dict[str, str]:
    return {entry.path: entry.cause for entry in selection.left_out}


def test_ignore_files(make: Make) -> None:
    repo = make(
        {
            "a.ipynb": "",
            ".dockerignore": "*.log\n!keep.log\n",
            ".gitignore": "data/\n*.tmp\n",
            "x.log": "",
            "keep.log": "",
            "data/big.csv": "",
            "data/more/x.csv": "",
            "sub/.gitignore": "!y.tmp\nz.txt\n",
            "sub/x.tmp": "",
            "sub/y.tmp": "",
            "sub/z.txt": "",
            "z.txt": "",
        }
    )

    selection = select(repo)

    assert [
        ".dockerignore",
        ".gitignore",
        "a.ipynb",
        "keep.log",
        "sub/.gitignore",
        "sub/y.tmp",
        "z.txt",
    ] == kept(selection)
    assert {
        "data": "gitignore",
        "sub/x.tmp": "gitignore",
        "sub/z.txt": "gitignore",
        "x.log": "dockerignore",
    } == left_out(selection)
    assert selection.by_pattern_only


def test_what_git_tracks_stays(upstream: Upstream) -> None:
    """Also in a directory that is ignored; what is not tracked beside it goes."""
    upstream.commit({".gitignore": "data/\n", "data/tracked.csv": "x"})
    (upstream.work / "data" / "other.csv").write_text("y")

    selection = select(Repo(upstream.work.resolve()))

    assert [".gitignore", "data/tracked.csv", "notebook.ipynb"] == kept(selection)
    assert {"data/other.csv": "gitignore"} == left_out(selection)
    assert not selection.by_pattern_only


CREDENTIALS = {
    ".env": "A=1",
    "sub/.env.production": "A=1",
    "prod.env": "A=1",
    ".netrc": "machine a password b",
    ".pypirc": "[pypi]",
    ".git-credentials": "https://a:b@c",
    "keys/id_rsa": "x",
    "keys/id_ed25519": "x",
    "keys/deploy": KEY,
    "server.pem": "x\n" + KEY.replace("OPENSSH ", ""),
    "notes.txt": "my key:\n" + KEY.replace("OPENSSH", "RSA"),
    "store.p12": "x",
    ".npmrc": "//registry.example.org/:_authToken=abcdefghijkl\n",
    ".Renviron": "LANG=C\nGITHUB_PAT=abcdefghijklmnop\n",
    ".aws/credentials": "[default]",
    ".config/gcloud/credentials.db": "x",
    "application_default_credentials.json": "{}",
    "robot.json": json.dumps({"type": "service_account", "private_key": "x" * 40}),
    ".docker/config.json": "{}",
    "kubeconfig": "x",
    "cluster.yaml": "apiVersion: v1\ncurrent-context: a\nusers:\n- name: a\n",
}
HARMLESS = {
    ".env.example": "A=",
    ".npmrc": "save-exact=true\nfund=false\naudit=false\n",
    ".Renviron": "R_LIBS_USER=~/R\nTZ=UTC\n# GITHUB_PAT=put yours here\n",
    "server.pem": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "id_rsa.pub": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ a@b\n",
    "package.json": json.dumps({"type": "module", "about": "private_key handling"}),
    "environment.yml": "name: a\ndependencies:\n- python\n",
    "env": "not a file of variables, only called so",
    "key.py": f"KEY = '''{KEY}'''",
    "credentials.md": "how to get credentials, and a lot more text",
}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials_stay_out(make: Make, name: str) -> None:
    selection = select(make({name: CREDENTIALS[name], "a.ipynb": ""}))

    assert ["a.ipynb"] == kept(selection)
    assert "credential" in left_out(selection).values()


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_resembles_credentials_stays_in(make: Make, name: str) -> None:
    selection = select(make({name: HARMLESS[name]}))

    assert [name] == kept(selection)


def test_settings_beat_everything(make: Make) -> None:
    """``include`` also takes in credentials, ignored files and git's directory; it beats ``exclude``."""
    files = {
        "a.ipynb": "",
        ".env": "A=1",
        ".dockerignore": "x.log\n",
        "x.log": "",
        ".git/HEAD": "",
        "__pycache__/m.pyc": "",
        "data/a.csv": "",
        "data/b.csv": "",
    }

    selection = select(make(files, include=(".env", "*.log", "/.git/", "data/a.csv"), exclude=("data",)))

    assert [".dockerignore", ".env", ".git/HEAD", "a.ipynb", "data/a.csv", "x.log"] == kept(selection)
    assert {"__pycache__": "built-in", "data/b.csv": "setting"} == left_out(selection)


def test_directories_of_what_is_kept_are_kept(make: Make) -> None:
    repo = make({".dockerignore": "data\n!data/deep/keep.csv\n", "data/deep/keep.csv": "", "data/x.csv": ""})

    paths = [file.name for file in select(repo).files]

    assert [".dockerignore", "data", "data/deep", "data/deep/keep.csv"] == paths


def test_large_files_and_directories_are_named(make: Make, tmp_path: Path) -> None:
    repo = make({"a.ipynb": "", "data/small.csv": ""})
    for name, size in (("model.bin", 60_000_000), ("data/raw/1", 40_000_000)):
        (tmp_path / "repo" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "repo" / name).touch()
        os.truncate(tmp_path / "repo" / name, size)
    for number in range(2, 7):
        (tmp_path / "repo" / "data" / "raw" / str(number)).touch()
        os.truncate(tmp_path / "repo" / "data" / "raw" / str(number), 40_000_000)

    selection = select(repo)

    assert {"data/raw/": 240_000_000, "model.bin": 60_000_000} == selection.large


@pytest.mark.parametrize(
    ("name", "content", "line"), [(".dockerignore", "a\n!\n", 2), (".containerignore", "\n\n[a\n", 3)]
)
def test_wrong_ignore_files(make: Make, name: str, content: str, line: int) -> None:
    with pytest.raises(RepoError) as caught:
        select(make({name: content}))

    assert ("bad-ignore-file", name, line) == (caught.value.code, caught.value.file, caught.value.line)


@pytest.mark.parametrize("name", [".dockerignore", ".gitignore"])
@pytest.mark.parametrize(
    "content", [b"", b"\xef\xbb\xbf*.log\r\n", b"\xff\xfe\0", b"a" * 100_000, b"<<<<<<< a\n"]
)
def test_odd_ignore_files(make: Make, tmp_path: Path, name: str, content: bytes) -> None:
    """Any bytes are followed or refused with the file's name."""
    repo = make({"x.log": "", "a.ipynb": ""})
    (tmp_path / "repo" / name).write_bytes(content)
    try:
        selection = select(repo)
    except RepoError as error:
        assert name == error.file
    else:
        assert "a.ipynb" in kept(selection)
        assert (b"*.log" in content) == ("x.log" not in kept(selection))


def test_what_is_said(make: Make) -> None:
    messages = Messages()
    selection = select(make({".env": "A=1", ".gitignore": "x\n", "x": "", "a": ""}))

    tell(replace(selection, large={"big": 70_000_000}), messages)

    assert [
        "left out of the image: .env (looks like a file of variables); the setting `include` takes files in"
    ] == (messages.warnings)
    assert [
        "left out of the image, because it is ignored: x",
        "which files git tracks is not known here: .gitignore was followed to the letter",
        "large, in the image: big (70 MB); the setting `exclude` leaves files out",
    ] == messages.notes
