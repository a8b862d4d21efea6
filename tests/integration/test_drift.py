"""An environment that is changed while it is used: seen, told, kept, adopted."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.support.programs import Envbuild, output_of

pytestmark = pytest.mark.network

PATIENCE_SECONDS = 600
PIP = "pip install -q --disable-pip-version-check --no-deps"


@dataclass(frozen=True, slots=True)
class Place:
    """An engine, the program that finds it, and where pip finds packages in its containers."""

    engine: str
    envbuild: Envbuild
    options: str

    @property
    def installs(self) -> tuple[str, str]:
        """Cells that install packages."""
        options = f"{PIP} {self.options}"
        return f"%{options} pyjokes==0.8.3", f"!{options} --target libs cowsay==6.1"


def notebook(path: Path, *sources: str) -> None:
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"c{number}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(sources)
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def repository(quickstart: Path, wheels: Path, tmp_path: Path) -> Path:
    """The quickstart, for everybody to change, and some wheels."""
    made = tmp_path / quickstart.name  # the name is locked, too
    shutil.copytree(quickstart, made)
    shutil.copytree(wheels, made / "wheels")
    return made


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny packages of the index: containers of the tests' Docker do not reach other machines."""
    directory = tmp_path_factory.mktemp("wheels")
    wanted = ("pyjokes==0.8.3", "cowsay==6.1")
    output_of(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory, *wanted)
    return directory


@pytest.fixture(params=["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, envbuild: Envbuild, repository: Path) -> Place:
    """With Docker the repository is that of the image's user, who may install there."""
    if request.param == "bubblewrap":
        return Place("bubblewrap", envbuild, "")
    host = request.getfixturevalue("docker_host")
    for path in [repository, *repository.rglob("*")]:
        os.chown(path, 1000, 100)
    program = Envbuild(envbuild.cache, environment={"DOCKER_HOST": host})
    return Place("docker", program, "--no-index --find-links /srv/repo/wheels")


def test_what_notebooks_install_is_named_kept_and_adopted(place: Place, repository: Path) -> None:
    envbuild = place.envbuild
    notebook(repository / "installs.ipynb", *place.installs, "import pyjokes")
    arguments = ("run", repository, "installs.ipynb", "--engine", place.engine)

    strict = envbuild.run(*arguments, "--strict", "--json", "--locked")
    document = json.loads(strict.stdout)
    assert (strict.returncode, document["error"]["error"]) == (1, "environment-changed")
    assert [result["error"] for result in document["notebooks"]] == [None]
    changes = [(one["name"], one["before"], one["after"], one["place"]) for one in document["changes"]]
    assert changes == [
        ("cowsay", None, "6.1", "/srv/repo/libs"),
        ("pyjokes", None, "0.8.3", "environment"),
    ]
    assert "add `pyjokes>=0.8.3` to requirements.txt" in strict.stderr

    shutil.rmtree(repository / "libs")
    lenient = envbuild.run(*arguments, "--locked")
    assert (lenient.returncode, "warning: pyjokes 0.8.3 was installed" in lenient.stderr) == (0, True)

    before = (repository / "requirements.txt").read_text()
    adopted = envbuild.document("lock", repository, "--from-session")
    assert [one["text"] for one in adopted["session"]["adopted"]] == ["cowsay>=6.1", "pyjokes>=0.8.3"]
    assert (repository / "requirements.txt").read_text() == before + "cowsay>=6.1\npyjokes>=0.8.3\n"
    assert adopted["platforms"]["linux/amd64"]["pyjokes"] == "0.8.3"

    notebook(repository / "installs.ipynb", place.installs[0], "import cowsay, pyjokes")
    fixed = envbuild.run(*arguments, "--strict", "--json", "--locked")
    assert (fixed.returncode, json.loads(fixed.stdout)["changes"]) == (0, [])
    assert envbuild.run("lock", repository, "--from-session").returncode == 1


def test_a_missing_package_is_named_with_its_file(envbuild: Envbuild, repository: Path) -> None:
    notebook(repository / "missing.ipynb", "import sklearn.svm")
    done = envbuild.run("run", repository, "missing.ipynb", "--locked")
    assert (done.returncode, "add `scikit-learn` to requirements.txt" in done.stderr) == (1, True)


def test_commands_end_as_they_would_alone(envbuild: Envbuild, repository: Path) -> None:
    install = "pip install -q --disable-pip-version-check pyjokes==0.8.3; exit 7"
    done = envbuild.run("run", repository, "--locked", "--", "sh", "-c", install)
    assert (done.returncode, "pyjokes 0.8.3 was installed" in done.stderr) == (7, True)
    killed = envbuild.run("run", repository, "--locked", "--", "sh", "-c", "kill -9 $$")
    assert killed.returncode == 137


def test_a_server_tells_what_is_installed_in_its_kernels_while_it_runs(
    place: Place, repository: Path
) -> None:
    envbuild = place.envbuild
    arguments = ("up", repository, "--engine", place.engine, "--no-browser", "--locked", "--json")
    with started(envbuild, *arguments) as (document, said, process):
        asyncio.run(execute(document["url"], place.installs[0]))
        warning = said(lambda line: "pyjokes" in line)
        kept = json.loads(Path(document["session"]).read_text())
        # What is told is told again by nobody, and what came before is not forgotten.
        asyncio.run(execute(document["url"], "%pip uninstall -q -y pandas"))
        removal = said(lambda line: "pandas" in line)
        process.send_signal(signal.SIGINT)
        end = said(lambda line: "is gone with it" in line)
        process.wait(PATIENCE_SECONDS)
        rest = process.stdout.read() if process.stdout else ""
    assert "lasts until the session ends; to keep it, add `pyjokes>=0.8.3` to requirements.txt" in warning
    assert [one["name"] for one in kept["changes"]] == ["pyjokes"]
    assert "remove `pandas" in removal
    assert f"`envbuild lock {repository} --from-session`" in end
    assert (process.returncode, rest) == (0, "")
    adopted = envbuild.document("lock", repository, "--from-session")
    assert adopted["session"]["verb"] == "up"
    assert [(one["name"], one["action"]) for one in adopted["session"]["adopted"]] == [
        ("pandas", "remove"),
        ("pyjokes", "add"),
    ]


def test_a_session_that_is_killed_leaves_its_record(envbuild: Envbuild, repository: Path) -> None:
    with started(envbuild, "up", repository, "--no-browser", "--locked", "--json") as (
        document,
        said,
        process,
    ):
        asyncio.run(execute(document["url"], f"%{PIP} pyjokes==0.8.3"))
        said(lambda line: "pyjokes" in line)
        process.kill()
    adopted = envbuild.document("lock", repository, "--from-session")
    assert [one["text"] for one in adopted["session"]["adopted"]] == ["pyjokes>=0.8.3"]


Said = Callable[[Callable[[str], bool]], str]


@contextmanager
def started(
    envbuild: Envbuild, *arguments: str | Path
) -> Iterator[tuple[dict[str, Any], Said, subprocess.Popen[str]]]:
    """A server: its document, what waits for a line on stderr, and the process."""
    process = envbuild.start(*arguments)
    assert process.stderr is not None
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.put(line)
        lines.put(None)

    def said(wanted: Callable[[str], bool]) -> str:
        while (line := lines.get(timeout=PATIENCE_SECONDS)) is not None:
            if wanted(line):
                return line
        raise AssertionError("it has ended")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        text = line = ""
        while line != "}\n":
            line = process.stdout.readline()
            assert line, "it has ended"
            text += line
        yield json.loads(text), said, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)
        reader.join()
        process.stdout.close()
        process.stderr.close()


async def execute(url: str, code: str) -> None:
    """Run ``code`` in a new kernel of the server, as a browser does."""
    parts = urlsplit(url)
    request = urllib.request.Request(
        f"http://{parts.netloc}/api/kernels?{parts.query}", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        kernel = json.loads(answer.read())["id"]
    # The server accepts when it has heard from the kernel, which has to start first.
    channels = HTTPRequest(
        f"ws://{parts.netloc}/api/kernels/{kernel}/channels?{parts.query}",
        connect_timeout=PATIENCE_SECONDS,
        request_timeout=PATIENCE_SECONDS,
    )
    socket = await websocket_connect(channels)
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "version": "5.3",
        "username": "",
        "session": uuid.uuid4().hex,
    }
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await socket.write_message(json.dumps(message))
    while (answered := await socket.read_message()) is not None:
        reply = json.loads(answered)
        if reply["header"]["msg_type"] == "execute_reply":
            assert reply["content"]["status"] == "ok", reply
            break
    socket.close()
    while await socket.read_message() is not None:
        pass
