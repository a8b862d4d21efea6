"""Images of a registry as bases, with the CNCF's registry: a Debian with a Python of its own, one without
dpkg, and some that cannot be bases.

What the registry is asked for is read in its log.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.lock.lockfile import load_lock
from envbuild.lock.model import BaseImage, Lock
from tests.support.base_roots import lay_out, slim
from tests.support.elf import make_elf
from tests.support.programs import Envbuild, other_python, output_of, require
from tests.support.real_bases import (
    BaseLayer,
    BasePython,
    debian_layers,
    find_python,
    pack_directory,
    plain_layers,
    push_base,
)
from tests.support.servers import docker_registry

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.slow]

AMD64 = "linux/amd64"
_BUILD = ("--locked", "--platform", AMD64)
_ANSWER = re.compile(
    r'http\.request\.method=(\S+) .*http\.request\.uri="?([^" ]+)"? .*http\.response\.status=(\d+)'
)
_CELLS = {
    "python": "import platform, sys; print(platform.python_version(), sys.base_prefix)",
    "package": "import six; print(six.__version__)",
    "library": "import ctypes, sqlite3, ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)",
    "user": "import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name, os.getcwd())",
}
_JQ = {"jq": "import subprocess; print(subprocess.check_output(['jq', '-n', '6*7'], text=True))"}


@dataclass(frozen=True, slots=True)
class Bases:
    """A registry with images: the files it keeps and the log it writes; and what the images are made of.

    ``digests`` has those of the images, by the path in the registry.
    """

    registry: str
    storage: Path
    log: Path
    python: BasePython
    layers: Mapping[str, tuple[BaseLayer, ...]]
    digests: dict[str, str]
    scratch: Path

    def push(self, path: str, layers: str, **options: Any) -> str:
        """Push an image of the layers of that name; returns its digest."""
        self.digests[path] = push_base(
            f"{self.registry}/{path}", self.layers[layers], self.scratch, **options
        )
        return self.digests[path]

    def answers(self, since: int = 0) -> list[tuple[str, str, int]]:
        """Method, address and status of what the registry answered, the first ``since`` left out."""
        found = _ANSWER.findall(self.log.read_text())
        return [(method, address, int(status)) for method, address, status in found[since:]]

    def fetched(self, since: int = 0) -> list[str]:
        """The last parts (digests, tags) of the addresses that were read, sorted."""
        return sorted(
            address.rpartition("/")[2]
            for method, address, status in self.answers(since)
            if method == "GET" and status == 200 and address != "/v2/"
        )

    def repository(self, name: str, base: str, cells: Mapping[str, str] = _CELLS, *apt: str) -> Path:
        """A repository that is built on the image ``base``."""
        made = self.scratch / name
        made.mkdir()
        made.joinpath("envbuild.toml").write_text(
            f'# of the tests\nbase = "{self.registry}/{base}"\ncompression = "gzip"\n'
        )
        made.joinpath("requirements.txt").write_text("six\n")
        if apt:
            made.joinpath("apt.txt").write_text("".join(f"{package}\n" for package in apt))
        written = [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": name,
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for name, source in cells.items()
        ]
        notebook = {"cells": written, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        made.joinpath("a.ipynb").write_text(json.dumps(notebook))
        return made


@pytest.fixture(scope="module")
def bases(scratch: Path) -> Iterator[Bases]:
    require("docker-registry", "skopeo", "mmdebstrap", "unshare", "ldconfig", root=True)
    directory = scratch / "bases"
    directory.mkdir()
    python = find_python(other_python())
    plain = plain_layers(python, directory)
    musl = slim() | {"usr/local/bin/python3.12": make_elf(interpreter="/lib/ld-musl-x86_64.so.1")}
    layers = {
        "debian": debian_layers(python, directory),
        "plain": plain,
        "no python": plain[:1],
        "musl": (pack_directory(lay_out(musl, directory / "musl"), directory / "musl.tar.gz"),),
    }
    log, storage = directory / "registry.log", directory / "registry"
    with docker_registry(storage, access_log=log) as address:
        made = Bases(address, storage, log, python, layers, {}, directory)
        made.push("team/python:slim", "debian")
        made.push("team/plain:1", "plain", docker=False)
        made.push("team/bare:1", "no python")
        made.push("team/python:alpine", "musl")
        yield made


@pytest.fixture(scope="module")
def sharing(envbuild: Envbuild, bases: Bases) -> Envbuild:
    """The program with a shared cache in the bases' registry."""
    return _sharing(envbuild, bases)


def _sharing(program: Envbuild, bases: Bases) -> Envbuild:
    shared = {"ENVBUILD_REGISTRY": f"{bases.registry}/team/envs"}
    return replace(program, environment={**program.environment, **shared})


@dataclass(frozen=True, slots=True)
class Locked:
    """A repository with its lock, what locking said, and what it read in the registry."""

    repository: Path
    document: dict[str, Any]
    fetched: list[str]

    @property
    def lock(self) -> Lock:
        return load_lock((self.repository / "envbuild.lock").read_bytes())


@pytest.fixture(scope="module")
def locked(envbuild: Envbuild, bases: Bases) -> Locked:
    """On the Debian, with a package of Debian's."""
    repository = bases.repository("on-debian", "team/python:slim", {**_CELLS, **_JQ}, "jq")
    before = len(bases.answers())
    document = envbuild.document("lock", repository)
    return Locked(repository, document, bases.fetched(before))


@pytest.fixture(scope="module")
def pushed(sharing: Envbuild, bases: Bases, locked: Locked) -> dict[str, Any]:
    """What building and pushing that said."""
    name = f"{bases.registry}/team/app:1"
    return sharing.document("build", locked.repository, *_BUILD, "--push", "-t", name)


def image_of(lock: Lock) -> BaseImage:
    assert lock.base.image is not None
    return lock.base.image


def texts(notebook: dict[str, Any]) -> list[str]:
    """What the cells of an executed notebook printed."""
    return [
        "".join(output["text"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    ]


# One image, wherever it is built and run


def test_a_lock_pins_the_image_and_what_is_in_it(bases: Bases, locked: Locked) -> None:
    image = image_of(locked.lock).platforms[AMD64]
    python = bases.python

    assert bases.digests["team/python:slim"] == image_of(locked.lock).digest == image.digest
    assert (python.version, f"/usr/local/bin/python{python.minor}") == (locked.lock.base.python, image.python)
    assert [layer.digest for layer in bases.layers["debian"]] == [layer.digest for layer in image.layers]
    assert image.distribution.startswith("debian ")
    assert "jq" in {deb.name for target in locked.lock.targets for deb in target.apt}
    # No part of it twice. (A cache that is kept from an earlier run may have some.)
    parts = {"slim", image.config, *(layer.digest for layer in image.layers)}
    assert (len(set(locked.fetched)), True) == (len(locked.fetched), set(locked.fetched) <= parts)


def test_what_is_known_of_an_image_is_not_fetched_again(
    envbuild: Envbuild, bases: Bases, locked: Locked
) -> None:
    again = bases.repository("again", "team/python:slim")
    before = len(bases.answers())

    envbuild.document("lock", again)

    assert ["slim"] == bases.fetched(before)


def test_bubblewrap_and_docker_give_the_same(
    envbuild: Envbuild, bases: Bases, locked: Locked, pushed: dict[str, Any], docker_host: str, scratch: Path
) -> None:
    """Docker pulls it as any other image."""
    out = scratch / "on-debian-out"
    envbuild.document("run", locked.repository, "a.ipynb", "-o", out, "--locked", "--engine", "bubblewrap")
    here = texts(json.loads((out / "a.ipynb").read_text()))

    execute = ("jupyter", "nbconvert", "--to", "notebook", "--execute", "--stdout", "a.ipynb")
    image = f"{bases.registry}/team/app:1"
    there = output_of("docker", "run", "--rm", image, *execute, environment={"DOCKER_HOST": docker_host})

    six = locked.document["platforms"][AMD64]["six"]
    prefix = "/usr/local"
    assert [
        f"{bases.python.version} {prefix}\n",
        f"{six}\n",
        "True\n",
        "jovyan /srv/repo\n",
        "42\n\n",
    ] == here
    assert here == texts(json.loads(there))


def test_another_user_with_an_empty_cache_makes_the_same_bytes(
    nobody: Envbuild, locked: Locked, pushed: dict[str, Any]
) -> None:
    # The kernel's bound on what runs in the sandbox also counts what the user runs besides.
    besides = [subprocess.Popen([*nobody.prefix, "sleep", "600"]) for _ in range(60)]
    try:
        document = nobody.document("build", locked.repository, *_BUILD)
    finally:
        for process in besides:
            process.kill()
            process.wait()

    assert [layer["digest"] for layer in pushed["layers"]] == [
        layer["digest"] for layer in document["layers"]
    ]
    assert pushed["digest"] == document["digest"]


def test_no_bytes_of_the_base_are_fetched_or_sent_unless_somebody_reads_them(
    bases: Bases, locked: Locked, pushed: dict[str, Any], scratch: Path
) -> None:
    """An empty cache builds, and pushes to a repository that has nothing yet."""
    empty = _sharing(Envbuild(scratch / "bases-empty"), bases)
    image = image_of(locked.lock).platforms[AMD64]
    before = len(bases.answers())

    document = empty.document(
        "build", locked.repository, *_BUILD, "--push", "-t", f"{bases.registry}/team/second:1"
    )

    layers = {layer.digest for layer in image.layers}
    fetched = set(bases.fetched(before))
    assert pushed["digest"] == document["digest"]
    assert {image.digest, image.config} <= fetched
    assert set() == layers & fetched
    mounted = {
        digest
        for method, address, status in bases.answers(before)
        if (method, status) == ("POST", 201) and "/team/second/" in address
        for digest in layers
        if digest.replace(":", "%3A") in address
    }
    assert layers == mounted
    sent = [address for method, address, _ in bases.answers(before) if method in ("PATCH", "PUT")]
    assert [] == [address for address in sent for digest in layers if digest[len("sha256:") :] in address]
    # The configuration and the layer with the repository's files.
    assert (2, True) == (
        document["pushed"]["uploaded"]["blobs"],
        document["pushed"]["uploaded"]["bytes"] < 100_000,
    )


# An image without a package manager


def test_an_image_without_dpkg_runs_notebooks(
    envbuild: Envbuild, bases: Bases, docker_host: str, scratch: Path
) -> None:
    """And with no user, no authority and no program but a shell and the Python."""
    repository = bases.repository("on-plain", "team/plain:1")
    name = f"{bases.registry}/team/plain-app:1"
    envbuild.document("build", repository, "--push", "-t", name)
    out = scratch / "on-plain-out"

    envbuild.document("run", repository, "a.ipynb", "-o", out, "--locked", "--engine", "bubblewrap")

    here = texts(json.loads((out / "a.ipynb").read_text()))
    assert f"{bases.python.version} /usr/local\n" == here[0]
    assert ["True\n", "jovyan /srv/repo\n"] == here[2:]
    execute = ("jupyter", "nbconvert", "--to", "notebook", "--execute", "--stdout", "a.ipynb")
    there = output_of("docker", "run", "--rm", name, *execute, environment={"DOCKER_HOST": docker_host})
    assert here == texts(json.loads(there))


@pytest.mark.parametrize(
    ("base", "apt", "code", "place", "said", "remedy"),
    [
        ("team/plain:1", ("jq",), "apt-unfit-base", "apt.txt:1", "is without dpkg", "made of Debian"),
        ("team/python:alpine", (), "base-musl", "envbuild.toml:2", "has musl", "use an image with glibc"),
        ("team/bare:1", (), "base-no-python", "envbuild.toml:2", "has no Python 3", "use an image with one"),
        ("team/python:none", (), "base-missing", "envbuild.toml:2", "there is no image", "correct the name"),
    ],
    ids=["apt.txt without dpkg", "musl", "no Python", "no image"],
)
def test_what_cannot_be_a_base_is_refused_with_the_reason_and_a_way_out(
    envbuild: Envbuild,
    bases: Bases,
    tmp_path: Path,
    base: str,
    apt: tuple[str, ...],
    code: str,
    place: str,
    said: str,
    remedy: str,
) -> None:
    repository = bases.repository(tmp_path.name, base, {}, *apt)

    done = envbuild.run("build", repository, "--json")

    error = json.loads(done.stdout)
    assert (1, code) == (done.returncode, error["error"])
    assert place == f"{error['file']}:{error['line']}"
    assert said in error["message"]
    assert f"{bases.registry}/{base}" in error["message"]
    assert remedy in error["remedy"]
    assert not (repository / "envbuild.lock").exists()


# The registry changes


def test_a_tag_that_moves_changes_nothing_until_somebody_asks(envbuild: Envbuild, bases: Bases) -> None:
    first = bases.push("team/moving:1", "plain", docker=False)
    repository = bases.repository("moving", "team/moving:1")
    envbuild.document("lock", repository)
    lock = repository / "envbuild.lock"
    before = lock.read_bytes()
    second = bases.push("team/moving:1", "plain", docker=False, variables={"RELEASE": "2"})
    assert first != second
    asked = len(bases.answers())

    checked = envbuild.document("lock", repository, "--check")
    kept = envbuild.document("lock", repository)

    assert (True, True, first) == (checked["up_to_date"], kept["up_to_date"], kept["base_digest"])
    assert ([], before) == (bases.answers(asked), lock.read_bytes())

    upgraded = envbuild.document("lock", repository, "--upgrade")

    assert (False, second) == (upgraded["up_to_date"], upgraded["base_digest"])
    assert (first, upgraded["base"]) == (upgraded["previous_base_digest"], upgraded["previous_base"])
    assert second == image_of(load_lock(lock.read_bytes())).digest
    assert envbuild.document("lock", repository, "--upgrade-base")["up_to_date"]


@pytest.fixture
def fleeting(envbuild: Envbuild, bases: Bases, request: pytest.FixtureRequest) -> Locked:
    """A locked repository on an image that nobody else uses."""
    name = re.sub(r"\W+", "-", request.node.name)
    path = f"fleeting/{name.lower().replace('_', '-')}:1"
    bases.push(path, "plain", docker=False, variables={"RELEASE": name})
    repository = bases.repository(name, path)
    return Locked(repository, envbuild.document("lock", repository), [])


def test_a_base_that_was_deleted_is_the_registrys_fault(
    envbuild: Envbuild, bases: Bases, fleeting: Locked, scratch: Path
) -> None:
    """Who has it in the cache goes on; who has only the lock is told what to do, whatever is asked for."""
    reference = image_of(fleeting.lock).reference
    digest = image_of(fleeting.lock).digest
    output_of("skopeo", "delete", "--tls-verify=false", f"docker://{reference}")
    empty = Envbuild(scratch / "bases-too-late")
    name = reference.rpartition(":")[0]

    built = empty.run("build", fleeting.repository, "--json", *_BUILD)
    locked = envbuild.run("lock", fleeting.repository, "--json", "--platform", "linux/arm64")

    for done in (built, locked):
        error = json.loads(done.stdout)
        assert (4, "base-missing") == (done.returncode, error["error"]), done.stderr
        assert f"{name} no longer has the image" in error["message"]
        assert digest in error["message"]
        assert "--upgrade-base" in error["remedy"]
    envbuild.document("lock", fleeting.repository, "--check")
    gone = envbuild.run("lock", fleeting.repository, "--upgrade-base", "--json")
    error = json.loads(gone.stdout)
    assert (1, "base-missing", "envbuild.toml", 2) == (
        gone.returncode,
        error["error"],
        error["file"],
        error["line"],
    )


def test_a_registry_that_gives_another_image_for_the_digest_is_not_believed(
    bases: Bases, fleeting: Locked, scratch: Path
) -> None:
    digest = image_of(fleeting.lock).digest
    other = bases.digests["team/python:slim"]
    shutil.copy(blob_of(bases, other), blob_of(bases, digest))
    empty = Envbuild(scratch / "bases-lied-to")

    done = empty.run("build", fleeting.repository, "--json", *_BUILD)

    error = json.loads(done.stdout)
    assert (4, "registry-lied") == (done.returncode, error["error"])
    assert f"instead of {digest} it gives {other}" in error["message"]
    assert not (empty.cache / "store-v1" / "blobs" / "sha256" / digest[len("sha256:") :]).exists()


def blob_of(bases: Bases, digest: str) -> Path:
    """The file in which the registry keeps a blob."""
    (found,) = bases.storage.glob(f"**/blobs/sha256/*/{digest[len('sha256:') :]}/data")
    return found
