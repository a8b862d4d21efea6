"""The GitHub action and the GitLab template: every step, as an unprivileged user, with a real registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import Envbuild, require

pytestmark = pytest.mark.network

_PROJECT = Path(__file__).parents[2]
_FILES = (
    "action.yml",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    ".ci",
    "templates",
    "envbuild",
    "base-images",
)
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner's user: ``nobody``, with a home, this project's files and a repository to build."""

    home: Path
    repository: Path
    registry: str
    python: Path

    def run(
        self, script: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of ``.ci`` in the repository."""
        user = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs")
        return subprocess.run(
            [*user, "--bounding-set=-all", "--", self.python, self.home / "project/.ci" / script, *arguments],
            cwd=self.repository,
            env={
                **os.environ,
                "HOME": str(self.home),
                "TMPDIR": str(self.home),
                "PATH": "/usr/bin:/bin",
                "PIP_CACHE_DIR": str(self.home / "pip"),
                "RUNNER_TEMP": str(self.home / "runner"),
                "ENVBUILD_CACHE_DIR": str(self.home / "cache"),
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def runner(nobody: Envbuild, quickstart: Path, registry: str, scratch: Path) -> Runner:
    """With nothing in its cache."""
    require("setpriv", root=True)
    home = scratch / "runner"
    (home / "runner").mkdir(parents=True)
    for name in _FILES:
        source = _PROJECT / name
        if source.is_dir():
            shutil.copytree(source, home / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (home / "project").mkdir(exist_ok=True)
            shutil.copy(source, home / "project" / name)
    repository = home / "quickstart"
    shutil.copytree(quickstart, repository)
    for path in [home, *home.rglob("*")]:
        os.chown(path, _NOBODY, _NOBODY)
    return Runner(home, repository, registry, nobody.program.with_name("python"))


def _lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_action_pushes_and_reports(runner: Runner) -> None:
    """The image has both tags; the next run, from an empty cache, builds only what changed."""
    tags = f"{runner.registry}/action:one\n{runner.registry}/action:two"
    inputs = (f"tags={tags}", f"registry={runner.registry}/envs", "platforms=linux/amd64")
    first = runner.run("action", *inputs)
    assert first.returncode == 0, first.stderr
    told = _lines(first.stdout)
    assert told["image"] == f"{runner.registry}/action@{told['digest']}"
    assert ("", "0") == (told["packages-changed"], told["layers-reused"])
    assert f"| pushed | `{runner.registry}/action:two` |" in first.stderr
    document = json.loads(Path(told["document"]).read_text())
    assert told["digest"] == document["pushed"]["digest"]

    shutil.rmtree(runner.home / "cache")
    notebook = runner.repository / "analysis.ipynb"
    content = json.loads(notebook.read_text())
    content["cells"][0]["source"] = ["# Another title"]
    notebook.write_text(json.dumps(content))
    second = runner.run("action", *inputs)
    assert second.returncode == 0, second.stderr
    again = _lines(second.stdout)
    assert ("1", "0") == (again["layers-built"], again["packages-changed"])
    assert told["env"] == again["env"]
    assert told["digest"] != again["digest"]
    assert f"The packages are those of `{runner.registry}/action:one`" in second.stderr


def test_the_action_fails_on_a_stale_lock(runner: Runner) -> None:
    """With exit code 1, naming what changed in log and summary, and pushing nothing."""
    requirements = runner.repository / "requirements.txt"
    before = requirements.read_text()
    requirements.write_text(before + "tabulate\n")
    try:
        failed = runner.run("action", f"tags={runner.registry}/stale:one")
    finally:
        requirements.write_text(before)
    assert 1 == failed.returncode
    assert "### The image could not be built" in failed.stderr
    assert 2 == failed.stderr.count("tabulate (requirements.txt:4) was added")
    assert "" == failed.stdout


def test_the_gitlab_job_pushes_and_reports(runner: Runner) -> None:
    """With the registry that GitLab names, a login, and the variables of its predefined environment."""
    name = f"{runner.registry}/group/demo"
    done = runner.run(
        "gitlab",
        f"ENVBUILD_PACKAGE={runner.home}/project",
        environment={
            "CI_REGISTRY": runner.registry,
            "CI_REGISTRY_IMAGE": name,
            "CI_REGISTRY_USER": "gitlab-ci-token",
            "CI_REGISTRY_PASSWORD": "a-job-token-of-the-tests",
            "CI_COMMIT_REF_SLUG": "main",
            "CI_COMMIT_SHORT_SHA": "0123abcd",
        },
    )
    assert done.returncode == 0, done.stderr
    told = _lines((runner.repository / "envbuild.env").read_text())
    assert f"{name}@{told['digest']}" == told["image"]
    assert f"`{name}:0123abcd`" in done.stdout
    for written in ("envbuild.env", "envbuild.md", "envbuild.json"):
        assert "a-job-token" not in (runner.repository / written).read_text()
    assert "a-job-token" not in done.stdout + done.stderr
