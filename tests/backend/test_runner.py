"""The script that calls hooks in the sandbox, with backends of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUNNER = Path(__file__).parents[2] / "envbuild" / "backend" / "_runner.py"

BACKEND = """\
import os, sys
print("log", os.getcwd())

def get_requires_for_build_wheel(settings=None):
    return ["a", "b>=1"]

def build_wheel(directory, settings=None, metadata_directory=None):
    open(os.path.join(directory, "x-1-py3-none-any.whl"), "w").write(str(oct(os.umask(0))))
    return "x-1-py3-none-any.whl"

class nested:
    class deep:
        build_wheel = staticmethod(lambda directory, settings: "nested.whl")
        build_editable = staticmethod(lambda directory, settings: "editable.whl")
        prepare_metadata_for_build_wheel = staticmethod(lambda directory, settings: "x.dist-info")
"""


def run(tmp_path: Path, hook: str, backend: str = "backend", paths: tuple[str, ...] = (".",)) -> Any:
    """The hook's answer, or what the runner printed when it failed."""
    place, tree = tmp_path / "place", tmp_path / "tree"
    (place / "out").mkdir(parents=True)
    (tree / "inner").mkdir(parents=True)
    (tree / "backend.py").write_text(BACKEND)
    (tree / "inner" / "hidden.py").write_text(BACKEND)
    (place / "runner.py").write_bytes(RUNNER.read_bytes())
    (place / "json.py").write_text("raise SystemExit('found beside the runner')")
    (place / "request.json").write_text(json.dumps({"backend": backend, "backend_path": paths}))
    (place / "json.py").rename(place / "wheelhouse.py")
    done = subprocess.run(
        [sys.executable, str(place / "runner.py"), str(place), hook],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode != 0:
        return done.stdout + done.stderr
    return json.loads((place / "out" / "result.json").read_text())


def test_wheels_are_built_where_they_are_looked_for(tmp_path: Path) -> None:
    assert {"wheel": "x-1-py3-none-any.whl"} == run(tmp_path, "build_wheel")
    assert "0o22" == (tmp_path / "place" / "out" / "x-1-py3-none-any.whl").read_text()


@pytest.mark.parametrize(
    ("hook", "backend", "expected"),
    [
        ("get_requires_for_build_wheel", "backend", {"requires": ["a", "b>=1"]}),
        ("get_requires_for_build_editable", "backend", {"requires": []}),
        ("build_wheel", "backend:nested.deep", {"wheel": "nested.whl"}),
        ("build_editable", "backend:nested.deep", {"wheel": "editable.whl"}),
        ("build_editable", "backend", {"wheel": "x-1-py3-none-any.whl"}),
        ("prepare_metadata_for_build_wheel", "backend:nested.deep", {"metadata": "x.dist-info"}),
        ("prepare_metadata_for_build_wheel", "backend", {"wheel": "x-1-py3-none-any.whl"}),
    ],
)
def test_hooks_that_are_there_and_that_are_not(
    tmp_path: Path, hook: str, backend: str, expected: dict[str, Any]
) -> None:
    assert expected == run(tmp_path, hook, backend)


def test_a_backend_in_the_tree(tmp_path: Path) -> None:
    assert {"requires": ["a", "b>=1"]} == run(tmp_path, "get_requires_for_build_wheel", "hidden", ("inner",))


def test_a_backend_path_that_leads_out(tmp_path: Path) -> None:
    assert "leads out" in run(tmp_path, "build_wheel", "backend", ("..",))


def test_the_runner_s_own_directory_is_no_place_for_modules(tmp_path: Path) -> None:
    assert "No module named 'wheelhouse'" in run(tmp_path, "build_wheel", "wheelhouse")
