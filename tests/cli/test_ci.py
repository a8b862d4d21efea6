"""What a CI job is told: lines and Markdown of a build's document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.ci import Job, summary, variables
from envbuild.errors import MachineError, RepoError

_DIGEST = "sha256:" + "a" * 64


def _document(**changed: Any) -> dict[str, Any]:
    layers = [
        {"size": 30_000_000, "cached": True},
        {"size": 2_000_000, "cached": False},
        {"size": 1_000, "cached": False},
    ]
    document = {
        "image_id": "sha256:" + "b" * 64,
        "digest": _DIGEST,
        "env": "env-0123456789abcdef",
        "layers": layers,
        "platforms": {"linux/amd64": {}},
        "pushed": {
            "digest": _DIGEST,
            "references": ["registry.example.org:5000/team/demo:1"],
            "uploaded": {"blobs": 3, "bytes": 2_001_500},
        },
        "previous": "registry.example.org:5000/team/demo:1",
        "changes": [
            {"kind": "setting", "name": "locked", "before": "x", "after": "y"},
            {"kind": "wheel", "name": "pandas", "before": "2.2.0", "after": "2.2.1"},
        ],
        "seconds": {"pack": 1.25, "push": 0.5},
    }
    return document | changed


def test_variables_of_a_pushed_image() -> None:
    """The image is named by digest; a port is no tag."""
    assert {
        "digest": _DIGEST,
        "image": f"registry.example.org:5000/team/demo@{_DIGEST}",
        "image_id": "sha256:" + "b" * 64,
        "env": "env-0123456789abcdef",
        "layers_built": "2",
        "layers_reused": "1",
        "bytes_sent": "2001500",
        "packages_changed": "1",
    } == variables(_document())


def test_variables_of_an_image_that_went_nowhere() -> None:
    """What is not known is empty, and not the text None."""
    told = variables(_document(pushed=None, changes=None, env=None))

    assert {"image": "", "env": "", "bytes_sent": "", "packages_changed": ""} == {
        name: told[name] for name in ("image", "env", "bytes_sent", "packages_changed")
    }


def test_summary_names_what_changed() -> None:
    """Packages only, not the lock's date."""
    text = "\n".join(summary("demo", _document()))

    assert text == (
        "### demo\n\n| | |\n|---|---|\n"
        "| pushed | `registry.example.org:5000/team/demo:1` |\n"
        f"| digest | `{_DIGEST}` |\n"
        f"| image ID | `sha256:{'b' * 64}` |\n"
        "| environment | `env-0123456789abcdef` |\n"
        "| platforms | linux/amd64 |\n"
        "| layers | 2 built, 1 reused; 32.0 MB |\n"
        "| sent | 2.0 MB |\n"
        "| time | pack 1.2 s, push 0.50 s |\n\n"
        "1 package not as in `registry.example.org:5000/team/demo:1`:\n\n"
        "| package | before | now |\n|---|---|---|\n"
        "| pandas | 2.2.0 | 2.2.1 |\n"
    )


def test_nothing_of_a_repository_is_markdown() -> None:
    """A name with a pipe or a tag in it stays a name."""
    hostile = {"kind": "conda", "name": "<img src=x>|`a`", "before": None, "after": "1"}

    assert "| \\<img src=x\\>\\|\\`a\\` |  | 1 |" in summary("demo", _document(changes=[hostile]))


def test_files_are_appended_to(tmp_path: Path) -> None:
    """GitHub's files may have lines already."""
    output = tmp_path / "output"
    output.write_text("mine=1\n")

    Job(output, None).tell("demo", _document())

    lines = output.read_text().splitlines()
    assert ["mine=1", f"digest={_DIGEST}"] == lines[:2]


def test_a_failure_is_summarised_and_goes_on(tmp_path: Path) -> None:
    """With the place and what to do, as text that cannot be anything else."""
    page = tmp_path / "summary"
    error = RepoError(
        "<b>out of date", code="lock-stale", file="envbuild.lock", remedy="run it", detail="pandas was added"
    )

    with pytest.raises(RepoError), Job(None, page).told_of_failure():
        raise error

    assert (
        "### The image could not be built\n\n"
        "    error: envbuild.lock: <b>out of date\n    pandas was added\n    help: run it\n"
    ) == page.read_text()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as caught:
        Job(tmp_path / "missing" / "file", None).tell("demo", _document())

    assert "output-not-writable" == caught.value.code
