"""What BinderHub starts, as BinderHub starts it: its command lines, its environment, its way to read the log.

BinderHub itself is not on the package index in a version that has these executors.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.git import Upstream, serve_git
from tests.support.programs import Envbuild, output_of

pytestmark = [pytest.mark.slow, pytest.mark.network]

_CREDENTIALS = r"username=oauth2\npassword=secret"  # as BinderHub's provider for GitLab writes it


@dataclass(frozen=True, slots=True)
class Repository:
    """A private repository with a lock, over http."""

    url: str
    commit: str


@pytest.fixture(scope="module")
def upstream(quickstart: Path, tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    root = tmp_path_factory.mktemp("git")
    files = {
        path.relative_to(quickstart).as_posix(): path.read_bytes()
        for path in quickstart.rglob("*")
        if path.is_file()
    }
    upstream = Upstream.create(root / "rivers.git", {"README.md": "Rivers\n"})
    upstream.commit(files)
    return upstream


@pytest.fixture(scope="module")
def repository(upstream: Upstream) -> Iterator[Repository]:
    commit = upstream.git("rev-parse", "HEAD")
    with serve_git(upstream.path.parent, login="oauth2:secret") as server:
        yield Repository(f"http://127.0.0.1:{server.server_port}/{upstream.path.name}", commit)


def arguments(repository: Repository, image: str, *more: str) -> list[str]:
    """What ``BuildExecutor.get_cmd`` of BinderHub gives."""
    return [
        "jupyter-repo2docker",
        f"--ref={repository.commit}",
        f"--image={image}",
        *("--no-clean", "--no-run", "--json-logs", "--user-name=jovyan", "--user-id=1000"),
        *more,
        repository.url,
    ]


def run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, list[dict[str, str]]]:
    """The exit code and the lines; both streams are one, and every line has to be an event."""
    done = subprocess.run(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [] == [
        line for line in lines if line.keys() != {"message", "phase"} or line["message"][-1] != "\n"
    ]
    return done.returncode, lines


def in_order(lines: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(line["phase"] for line in lines))


@pytest.fixture
def drop_in(envbuild: Envbuild, tmp_path: Path) -> dict[str, str]:
    """An environment in which ``jupyter-repo2docker`` is ours."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "jupyter-repo2docker").symlink_to(envbuild.program.with_name("envbuild-repo2docker"))
    return {
        **envbuild.variables(),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "GIT_CREDENTIAL_ENV": _CREDENTIALS,
        "HOME": str(tmp_path),
    }


def test_as_a_child_that_pushes(drop_in: dict[str, str], repository: Repository, registry: str) -> None:
    """``LocalRepo2dockerBuild`` with a registry, and how BinderHub then finds that it need not build."""
    image = f"{registry}/binder-rivers-5b3c1f:{repository.commit}"

    code, lines = run(arguments(repository, image, "--push"), drop_in)

    assert (0, ["fetching", "building", "pushing"]) == (code, in_order(lines)), lines
    place = f"http://{registry}/v2/binder-rivers-5b3c1f"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}  # as BinderHub's registry helper asks
    question = urllib.request.Request(f"{place}/manifests/{repository.commit}", headers=accept)
    with urllib.request.urlopen(question) as answer:
        manifest = json.load(answer)
    with urllib.request.urlopen(f"{place}/blobs/{manifest['config']['digest']}") as answer:
        labels = json.load(answer)["config"]["Labels"]
    assert (repository.url, repository.commit) == (labels["repo2docker.repo"], labels["repo2docker.ref"])


def test_as_a_child_that_loads(drop_in: dict[str, str], repository: Repository, docker_host: str) -> None:
    """``LocalRepo2dockerBuild`` without one: the image is where BinderHub looks for it."""
    image = f"binder-rivers-5b3c1f:{repository.commit}"

    code, lines = run(arguments(repository, image), {**drop_in, "DOCKER_HOST": docker_host})

    assert (0, ["fetching", "building"]) == (code, in_order(lines)), lines
    assert "1000:100\n" == output_of(
        *("docker", "image", "inspect", image, "--format", "{{.Config.User}}"),
        environment={"DOCKER_HOST": docker_host},
    )


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        pytest.param({"GIT_CREDENTIAL_ENV": ""}, 4, "needs credentials", id="no access"),
        pytest.param({"DOCKER_HOST": "unix:///nowhere"}, 3, "docker", id="no Docker, and no --push"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(
    drop_in: dict[str, str], repository: Repository, changed: dict[str, str], code: int, says: str
) -> None:
    push = ["--push"] if code == 4 else []
    if push:  # what was fetched once is in the cache
        repository = Repository(repository.url.replace("rivers", "others"), repository.commit)

    done, lines = run(arguments(repository, "127.0.0.1:1/x:1", *push), {**drop_in, **changed})

    assert (code, 1) == (done, sum(line["phase"] == "failed" for line in lines))
    assert ("failed", True) == (lines[-1]["phase"], says in lines[-1]["message"])
