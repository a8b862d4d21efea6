"""What ``up`` and ``run`` say about an environment that is changed while it is used."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.console import Console
from envbuild.cli.drift import Observation, drift_document, drift_of, observed, with_remedy
from envbuild.cli.session import Project, Session
from envbuild.config import Settings
from envbuild.drift.sessions import last_session
from envbuild.engine.model import Command
from envbuild.errors import RepoError
from envbuild.notebook import Executed
from envbuild.source import open_repo
from envbuild.spec import read_spec
from envbuild.store import Store
from tests.support.engines import EMPTY_IMAGE, FakeEngine

SIX = {"name": "six", "before": None, "after": "1.17.0", "place": "environment", "requested": True}


class Scene:
    """A repository with a requirements file, and a session in it that installs ``six``."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        repository = tmp_path / "repository"
        repository.mkdir()
        (repository / "requirements.txt").write_text("numpy\n")
        repo = open_repo(str(repository))
        self.project = Project(repo, read_spec(repo), Settings(tmp_path / "cache", **settings))
        self.said = io.StringIO()
        console = Console(environment={}, stdout=io.StringIO(), stderr=self.said)
        self.session = Session(console, {}, {})
        self.store = Store(tmp_path / "cache")
        self.store.prepare()
        self.session.__dict__["store"] = self.store  # a cached property

    def use(self, verb: str, *, live: bool, changes: tuple[dict[str, Any], ...] = (SIX,)) -> Observation:
        line = json.dumps({"changes": changes}) + "\n"

        def program(command: Command) -> str:
            return f"open({str(command.mounts[-1].source)!r}, 'a').write({line!r})"

        engine = FakeEngine(program)
        with observed(self.session, self.project, engine, verb, live=live) as observation:
            observation.engine.start(EMPTY_IMAGE, Command(("x",))).wait()
        return observation


KEEP = "to keep it, add `six>=1.17.0` to requirements.txt"


def test_up_warns_while_it_runs_and_says_at_the_end_that_it_is_gone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.use("up", live=True)
    assert scene.said.getvalue().splitlines() == [
        f"warning: six 1.17.0 was installed, which lasts until the session ends; {KEEP}",
        "warning: what was changed in this session is gone with it;"
        f" `envbuild lock {tmp_path}/repository --from-session` declares and locks it",
    ]
    kept = last_session(scene.project.repo, scene.store)
    assert kept is not None
    assert (kept.verb, [change.name for change in kept.changes]) == ("up", ["six"])


def test_run_warns_at_its_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    observation = scene.use("run", live=False)
    assert scene.said.getvalue().splitlines() == [
        f"warning: six 1.17.0 was installed, which the end of the session has undone; {KEEP}",
        f"`envbuild lock {tmp_path}/repository --from-session` declares and locks it;"
        " --strict makes a change an error",
    ]
    assert drift_of(scene.project, observation) is None
    assert [one["name"] for one in drift_document(observation, None)["changes"]] == ["six"]


def test_strict_is_one_error_instead(tmp_path: Path) -> None:
    scene = Scene(tmp_path, drift="error")
    observation = scene.use("run", live=False)
    error = drift_of(scene.project, observation)
    assert (scene.said.getvalue(), error and error.code) == ("", "environment-changed")
    assert drift_document(observation, error)["error"]["exit_code"] == 1


@pytest.mark.parametrize("drift", ["warn", "error"])
def test_nothing_is_said_and_kept_when_nothing_changed(tmp_path: Path, drift: str) -> None:
    scene = Scene(tmp_path, drift=drift)
    observation = scene.use("run", live=False, changes=())
    assert (scene.said.getvalue(), drift_of(scene.project, observation)) == ("", None)
    assert last_session(scene.project.repo, scene.store) is None


def test_a_notebook_that_lacks_a_module_gets_a_remedy(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    failed = RepoError("cell 1 failed: ModuleNotFoundError: No module named 'cv2'", code="cell-failed")
    well = Executed("a.ipynb", None, None)
    assert with_remedy(scene.project, well) == well
    found = with_remedy(scene.project, Executed("a.ipynb", None, failed)).error
    assert found is not None
    assert found.remedy == "add `opencv-python-headless` to requirements.txt"
