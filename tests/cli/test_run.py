"""The arguments of ``envbuild run``; what it does is tested where it is done."""

from __future__ import annotations

import pytest

from envbuild.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a notebook, or a command after --"),
        (["a.ipynb", "--", "make"], "a command after -- goes with neither notebooks nor --json"),
        (["--"], "a command after -- goes with neither notebooks nor --json, and must not be empty"),
        (["a.ipynb", "-p", "1x", "1"], "'1x' is not the name of a variable"),
        (["a.ipynb", "-p", "import", "1"], "'import' is not the name of a variable"),
        (["a.ipynb", "-p", "x; import os", "1"], "'x; import os' is not the name of a variable"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", *arguments]) == 2
    assert message in capsys.readouterr().err
