"""Images that Docker builds: a Dockerfile, and repo2docker's buildpacks, taken into the store and run.

repo2docker's base image and the servers its buildpacks download from are not for tests. In their place stands
an image of ours in which the programs that would download do nothing; all of repo2docker's own steps run.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.programs import Envbuild, output_of

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.slow]

BASE = "local/base:latest"

# What repo2docker's Nix buildpack runs that would download something.
STAND_INS = {
    "apt-get": "exit 0",
    "locale-gen": "exit 0",
    "groupadd": 'eval name=\\${$#}; echo "$name:x:1000:" >> /etc/group',
    "wget": "mkdir -p nix-1-x86_64-linux && echo 'exit 0' > nix-1-x86_64-linux/install"
    " && tar cf nix-1-x86_64-linux.tar.xz nix-1-x86_64-linux",
    "sha256sum": "exit 0",
    "tar": 'case "$1" in xJf) exit 0;; *) exec /usr/bin/tar "$@";; esac',
    "nix-channel": "exit 0",
    "nix-shell": 'shift; [ "$1" != --command ] || exec sh -c "$2"',
}


def notebook(kernel: str) -> str:
    cell = {
        "cell_type": "code",
        "source": "print(6 * 7)",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    metadata = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    return json.dumps({"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 4})


@pytest.fixture(scope="module")
def docker(envbuild: Envbuild, docker_host: str) -> Envbuild:
    """envbuild with a Docker that has an image to build on."""
    with_docker = replace(envbuild, environment={**envbuild.environment, "DOCKER_HOST": docker_host})
    with_docker.document("base", "build", "python-3.11", "--load", "--compression", "gzip", "-t", BASE)
    return with_docker


def repository(scratch: Path, name: str, files: dict[str, str]) -> Path:
    made = scratch / name
    for path, content in files.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(content)
    return made


def test_dockerfile(docker: Envbuild, scratch: Path) -> None:
    """Built, held to the contract, run, and not built again while nothing changes."""
    source = repository(
        scratch,
        "dockerfile",
        {
            "Dockerfile": f"FROM {BASE}\nCOPY . /srv/repo\nRUN echo made > /srv/repo/made\n",
            "answer.ipynb": notebook("python3"),
            ".env": "SECRET=1\n",
        },
    )
    built = docker.document("build", source, "-o", f"oci:{scratch / 'dockerfile-layout'}")

    assert [] == built["lacks"]
    assert built["env"] is None
    inspected = json.loads(output_of("skopeo", "inspect", "--config", f"oci:{scratch / 'dockerfile-layout'}"))
    assert "Dockerfile" == inspected["config"]["Labels"]["dev.envbuild.builder"]
    run = docker.document("run", source, "answer.ipynb", "-o", scratch / "dockerfile-out")
    assert "docker" == run["engine"]
    assert "42" in (scratch / "dockerfile-out" / "answer.ipynb").read_text()

    without_docker = replace(docker, environment={**docker.environment, "DOCKER_HOST": "unix:///nowhere"})
    assert built["image_id"] == without_docker.document("build", source)["image_id"]


def test_what_a_dockerfile_lacks(docker: Envbuild, scratch: Path) -> None:
    source = repository(
        scratch,
        "lacking",
        {
            "Dockerfile": f"FROM {BASE}\nUSER root\nRUN rm /srv/jupyter/bin/jupyterhub-singleuser\n",
            "analysis.ipynb": notebook("my-kernel"),
        },
    )
    lacks = [lack["what"] for lack in docker.document("build", source)["lacks"]]
    assert [
        "runs as root",
        "has no `jupyterhub-singleuser` on its PATH",
        "has no kernel 'my-kernel', which analysis.ipynb names",
    ] == lacks


def test_failing_step_is_named(docker: Envbuild, scratch: Path) -> None:
    source = repository(
        scratch, "failing", {"Dockerfile": f"FROM {BASE}\nRUN echo before; no-such-program\n"}
    )
    done = docker.run("build", source)
    assert 1 == done.returncode
    assert "Dockerfile: the step `RUN echo before; no-such-program` failed" in done.stderr
    assert "before" in done.stderr


def test_base_image_that_cannot_be_reached(docker: Envbuild, scratch: Path) -> None:
    source = repository(scratch, "far", {"Dockerfile": "FROM registry.invalid/a/b:1\n"})
    done = docker.run("build", source)
    assert 4 == done.returncode
    assert "registry.invalid cannot be reached" in done.stderr


def test_without_an_engine(docker: Envbuild, scratch: Path) -> None:
    source = repository(scratch, "without-engine", {"Project.toml": 'name = "x"\n'})
    without = replace(docker, environment={**docker.environment, "DOCKER_HOST": "unix:///nowhere"})
    done = without.run("build", source)
    assert 3 == done.returncode
    assert "Project.toml: this has to be built by a container engine, and there is none" in done.stderr


def test_repo2docker(docker: Envbuild, docker_host: str, scratch: Path) -> None:
    stand_ins = scratch / "stand-ins"
    stand_ins.mkdir()
    lines = [f"FROM {BASE}", "USER root", "ENTRYPOINT []", "COPY programs /usr/local/bin"]
    for name, script in STAND_INS.items():
        program = stand_ins / "programs" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    (stand_ins / "Dockerfile").write_text("\n".join(lines) + "\n")
    base = docker.document("build", stand_ins, "-t", "local/stand-in:1", "--load")
    assert "runs as root" in [lack["what"] for lack in base["lacks"]]

    source = repository(
        scratch,
        "nix",
        {
            "default.nix": "{}\n",
            "postBuild": "#!/bin/sh\necho built > built.txt\n",
            "answer.ipynb": notebook("python3"),
        },
    )
    nix = replace(
        docker,
        environment={**docker.environment, "ENVBUILD_REPO2DOCKER_BASE_IMAGE": "local/stand-in:1"},
    )
    built = nix.document("build", source, "-t", "local/nix:1", "--load")

    assert ["names its user 'jovyan' instead of numbering it"] == [lack["what"] for lack in built["lacks"]]
    labels = json.loads(
        output_of("docker", "inspect", "local/nix:1", environment={"DOCKER_HOST": docker_host})
    )[0]["Config"]["Labels"]
    assert "repo2docker" == labels["dev.envbuild.builder"]
    assert labels["dev.envbuild.key"]
    files = subprocess.run(
        ["docker", "run", "--rm", "local/nix:1", "cat", "built.txt"],
        env={"DOCKER_HOST": docker_host, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "built" in files.stdout, files.stderr
    nix.document("run", source, "answer.ipynb", "-o", scratch / "nix-out")
    assert "42" in (scratch / "nix-out" / "answer.ipynb").read_text()
