"""The arguments of ``envbuild run``; what it does is tested where it is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envbuild.cli.main import run
from envbuild.cli.notebook_arguments import split_arguments


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a notebook, which is the current directory."""
    made = tmp_path / "repository"
    made.mkdir()
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (made / "a.ipynb").write_text(json.dumps(notebook))
    (made / "list.yaml").write_text("- 1\n")
    monkeypatch.chdir(made)
    return made


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.ipynb", "--", "make"], "a command after -- goes with neither notebooks nor --json"),
        (["--"], "a command after -- goes with neither notebooks nor --json, and must not be empty"),
        (["a.ipynb", "-p", "1x", "1"], "'1x' is not the name of a variable in Python"),
        (["a.ipynb", "-p", "import", "1"], "'import' is not the name of a variable in Python"),
        (["a.ipynb", "-p", "x; import os", "1"], "'x; import os' is not the name of a variable"),
        (["a.ipynb", "-f", "missing.yaml"], "missing.yaml: the file with parameters cannot be read"),
        (["a.ipynb", "-f", "list.yaml"], "list.yaml: parameters are a mapping of names to values"),
        (["b.ipynb"], "'b.ipynb' is not in the repository"),
        (["../b.ipynb"], "'../b.ipynb' is not in the repository"),
        (["b*.ipynb"], "fits 'b*.ipynb'"),
        (["a.ipynb", "-o", "."], "the result of a.ipynb would replace the notebook a.ipynb"),
        (["a.ipynb", "--memory", "2M"], "--memory is at least 256M"),
        (["a.ipynb", "--memory", "much"], "'much' is not a size"),
        (["a.ipynb", "--timeout", "0"], "--timeout"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), (".", ())),
        (("a.ipynb", "b.ipynb"), (".", ("a.ipynb", "b.ipynb"))),
        ((".", "maps"), (".", ("maps",))),
        (("maps",), ("maps", ())),
        (("**/*.ipynb",), (".", ("**/*.ipynb",))),
        (("maps/*",), (".", ("maps/*",))),
        (("https://example.org/r?x", "a.ipynb"), ("https://example.org/r?x", ("a.ipynb",))),
    ],
)
def test_the_source_is_what_is_no_notebook(
    arguments: tuple[str, ...], expected: tuple[str, tuple[str, ...]]
) -> None:
    assert expected == split_arguments(arguments)
