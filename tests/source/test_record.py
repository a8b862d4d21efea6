"""Records of data archives, through repo2docker's own providers, from imitations of the archives.

The archives cannot be reached from everywhere tests run; what answers in their place speaks their protocols.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from envbuild.errors import EnvbuildError
from envbuild.source.remote import Opener
from envbuild.source.repo import Repo
from envbuild.store import Store
from tests.support.impostor import impostor
from tests.support.reporters import Messages

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="not installed: openssl"),
    pytest.mark.slow,
]

ZENODO = "https://zenodo.org/api/records/1234"


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            if name.startswith("link"):
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return stream.getvalue()


def zenodo(files: dict[str, bytes]) -> dict[str, bytes]:
    """What Zenodo answers about record 1234."""
    entries = [
        {"key": name, "links": {"content": f"{ZENODO}/files/{number}/content"}}
        for number, name in enumerate(files)
    ]
    handle = {"values": [{"type": "URL", "data": {"value": "https://zenodo.org/record/1234"}}]}
    return {
        "https://doi.org/api/handles/10.5281/zenodo.1234": json.dumps(handle).encode(),
        ZENODO: json.dumps({"links": {"files": f"{ZENODO}/files"}}).encode(),
        f"{ZENODO}/files": json.dumps({"entries": entries}).encode(),
        **{f"{ZENODO}/files/{number}/content": content for number, content in enumerate(files.values())},
    }


def open_source(tmp_path: Path, text: str, answers: dict[str, bytes], *, offline: bool = False) -> Repo:
    store = Store(tmp_path / "cache")
    store.prepare()
    with impostor(tmp_path, answers) as (variables, _):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables}
        return Opener(store, environment, Messages(), offline=offline).open(text)


def names(repo: Repo) -> list[str]:
    return [file.name for file in repo.files() if file.kind != "dir"]


@pytest.mark.parametrize(
    "text",
    ["doi:10.5281/zenodo.1234", "https://doi.org/10.5281/zenodo.1234", "https://zenodo.org/records/1234"],
)
def test_zenodo(tmp_path: Path, text: str) -> None:
    repo = open_source(tmp_path, text, zenodo({"a.ipynb": b"{}", "data.csv": b"1"}))

    assert ["a.ipynb", "data.csv"] == names(repo)
    assert repo.origin is not None
    assert "1234" == repo.origin.revision
    assert repo == open_source(tmp_path, text, {}, offline=True)


def test_one_zip_file_is_unpacked(tmp_path: Path) -> None:
    archive = zipped(**{"top/a.ipynb": b"{}", "top/sub/b.txt": b"b"})

    repo = open_source(tmp_path, "10.5281/zenodo.1234", zenodo({"all.zip": archive}))

    assert ["a.ipynb", "sub/b.txt"] == names(repo)


def test_figshare(tmp_path: Path) -> None:
    api = "https://api.figshare.com/v2/articles/9784088/versions/1"
    file = {"name": "a.ipynb", "download_url": "https://files.figshare.com/1", "is_link_only": False}
    answers = {api: json.dumps({"files": [file]}).encode(), "https://files.figshare.com/1": b"{}"}

    repo = open_source(tmp_path, "https://figshare.com/articles/dataset/rivers/9784088", answers)

    assert ["a.ipynb"] == names(repo)
    assert repo.origin is not None
    assert "9784088.v1" == repo.origin.revision


def test_dataverse(tmp_path: Path) -> None:
    host = "https://data.example.org"
    doi = "doi:10.7910/DVN/TJCLKP"
    file = {"label": "a.tab", "directoryLabel": "data", "dataFile": {"id": 7, "originalFileName": "a.csv"}}
    answers = {
        "https://iqss.github.io/dataverse-installations/data/data.json": json.dumps(
            {"installations": [{"hostname": "data.example.org"}]}
        ).encode(),
        f"{host}/api/datasets/:persistentId?persistentId={doi}": json.dumps(
            {"data": {"latestVersion": {"files": [file, {**file, "directoryLabel": "more"}]}}}
        ).encode(),
        f"{host}/api/access/datafile/7?format=original": b"1,2",
    }

    repo = open_source(tmp_path, f"{host}/dataset.xhtml?persistentId={doi}", answers)

    assert ["data/a.csv", "more/a.csv"] == names(repo)


HOSTILE = {
    "parent": {"../../x": b"x", "b": b""},
    "absolute": {"/tmp/envbuild-test-canary": b"x", "b": b""},
    "link": {"all.zip": zipped(link=b"../../..")},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_records(tmp_path: Path, case: str) -> None:
    """Nothing is written outside; nothing is kept."""
    try:
        repo = open_source(tmp_path, "https://zenodo.org/record/1234", zenodo(HOSTILE[case]))
    except EnvbuildError as error:
        assert error.code in ("bad-archive", "outside-repository", "record-failed")
        assert [] == list((tmp_path / "cache" / "checkouts-v2").iterdir())
    else:
        # zipfile makes a link a file that holds where it would have led.
        assert {"file"} == {file.kind for file in repo.files()}
    assert ["cache", "certificate.pem", "key.pem"] == sorted(path.name for path in tmp_path.iterdir())
    assert not Path("/tmp/envbuild-test-canary").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("https://zenodo.org/records/9999", "record-failed"),
        ("10.1234/nothing", "unknown-record"),
        ("https://data.example.org/dataset.xhtml?persistentId=doi:10.7910/DVN/TJCLKP", "no-such-record"),
    ],
)
def test_records_that_are_not_there(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(EnvbuildError) as caught:
        open_source(
            tmp_path,
            text,
            dict.fromkeys(("https://zenodo.org/", "https://doi.org/", "https://iqss.github.io/"), b""),
        )

    assert code == caught.value.code


def test_archives_that_cannot_be_reached(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    store.prepare()
    environment = {"PATH": os.environ["PATH"], "HTTPS_PROXY": "http://127.0.0.1:9"}
    with pytest.raises(EnvbuildError) as caught:
        Opener(store, environment, Messages()).open("doi:10.5281/zenodo.1234")

    assert ("host-unreachable", 4, "doi.org cannot be reached") == (
        caught.value.code,
        caught.value.exit_code,
        caught.value.message,
    )


@pytest.mark.parametrize(
    "attempt",
    [
        "open('../x', 'w')",
        "open(DIRECTORY + '/link/x', 'w')",
        "os.mkdir('/tmp/envbuild-test-canary')",
        "os.symlink('a', '../x')",
        "os.rename('inside', '../x')",
        "os.remove(DIRECTORY + '/link/victim')",
        "subprocess.Popen(['touch', '../x'])",
        "os.system('touch ../x')",
    ],
)
def test_what_the_confined_process_cannot_do(tmp_path: Path, attempt: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "victim").touch()
    (inside / "link").symlink_to("../outside")
    (inside / "inside").touch()
    program = (
        "import os, subprocess, sys\n"
        "from envbuild.source._record_worker import confine\n"
        f"DIRECTORY = {str(inside)!r}\n"
        "os.chdir(DIRECTORY)\n"
        "confine(DIRECTORY)\n"
        "open('fine', 'w').close(); os.mkdir('d'); os.rename('fine', 'd/fine'); os.symlink('d', 'l')\n"
        f"try:\n    {attempt}\nexcept Exception as error:\n    print(type(error).__name__)\n"
    )

    done = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, check=True)

    assert "_Outside" == done.stdout.strip(), done.stderr
    assert ["inside", "outside"] == sorted(path.name for path in tmp_path.iterdir())
    assert ["victim"] == [path.name for path in (tmp_path / "outside").iterdir()]
