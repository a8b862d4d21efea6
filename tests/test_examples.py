"""What is planned for the examples, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import Envbuild

pytestmark = pytest.mark.slow  # reads every example

_EXAMPLES = Path(__file__).parents[1] / "examples"
_EXPECTED: dict[str, dict[str, Any]] = {
    "binder-folder": {
        "requirements": {"packaging", "requests[socks]", 'tzdata; sys_platform == "win32"'},
        "python": {"==3.11.*"},
        "kernels": {"binder-folder", "python3"},
        "inferred": False,
    },
    "ci": {
        "requirements": {"tabulate>=0.9"},
        "python": set(),
        "kernels": {"ci", "python3"},
        "inferred": False,
    },
    "conda": {
        "requirements": {"tqdm"},
        "python": {"==3.11.*"},
        "kernels": {"conda-example", "python3"},
        "inferred": False,
    },
    "inferred": {
        "requirements": {"python-dateutil", "PyYAML"},
        "python": set(),
        "kernels": {"conda-env-holidays-py", "inferred", "python3"},
        "inferred": True,
    },
    "octave": {
        "requirements": set(),
        "python": set(),
        "kernels": {"octave", "python3"},
        "inferred": True,
        "executed": ["maintainer scripts of 4 Debian packages and what they need"],
    },
    "postbuild": {
        "requirements": {"tabulate>=0.9"},
        "python": set(),
        "kernels": {"postbuild", "python3"},
        "inferred": False,
        "executed": ["postBuild"],
    },
    "local-package": {
        "requirements": {"numpy>=2"},
        "python": {">=3.11"},
        "kernels": {"python3", "tides"},
        "inferred": False,
        "executed": ["building tides from source"],
    },
    "pip-tools": {
        "requirements": {
            "markdown-it-py==4.3.0",
            "mdurl==0.1.2",
            "pygments==2.21.0",
            "rich==15.0.0",
            "tabulate==0.10.0",
        },
        "python": {"==3.11.*"},
        "kernels": {"pip-tools", "python3"},
        "inferred": False,
    },
    "pyproject-groups": {
        "requirements": {"polars>=1.9", "tabulate>=0.9"},
        "python": {"==3.11.*"},
        "kernels": {"python3", "letter-report"},
        "inferred": False,
    },
    "r-apt": {
        "requirements": set(),
        "python": set(),
        "kernels": {"ir", "python3", "r-apt"},
        "inferred": True,
        "executed": ["maintainer scripts of 2 Debian packages and what they need"],
    },
    "quickstart": {
        "requirements": {"matplotlib>=3.9", "numpy>=2", "pandas>=2.2"},
        "python": set(),
        "kernels": {"python3", "quickstart"},
        "inferred": False,
    },
}


def test_every_example_is_tested() -> None:
    """A new example needs an expectation here; the fleet is read in tests/fleet."""
    assert sorted([*_EXPECTED, "fleet"]) == sorted(path.name for path in _EXAMPLES.iterdir() if path.is_dir())


@pytest.mark.parametrize("name", sorted(_EXPECTED))
def test_plan_of_an_example(name: str, tmp_path: Path) -> None:
    """Requirements, Python and kernels are read as its README says, and what would be executed."""
    plan = Envbuild(tmp_path).document("plan", _EXAMPLES / name, "--offline")
    seen = {
        "requirements": {requirement["requirement"] for requirement in plan["requirements"]},
        "python": {request["specifier"] for request in plan["python"]["requested"]},
        "kernels": set(plan["kernels"]),
        "inferred": plan["inferred"],
        "executed": [execution["what"] for execution in plan["will_execute"]],
    }
    assert {"executed": [], **_EXPECTED[name]} == seen
    assert [] == [problem for problem in plan["problems"] if problem["level"] == "error"]
