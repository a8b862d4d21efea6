"""One lock, one manifest digest: whoever builds it, wherever, with whatever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Built
from tests.support.programs import Envbuild, install, other_python

pytestmark = [pytest.mark.network, pytest.mark.slow]

_BUILD = ("--locked", "--platform", "linux/amd64")


def test_process_settings_do_not_matter(built: Built, downloads_only: Callable[[str], Envbuild]) -> None:
    """Working directory, umask, time zone, locale, hash seed and number of jobs; another cache."""
    cache = downloads_only("settings").cache
    program = Envbuild(
        cache,
        prefix=("sh", "-c", 'umask 077; exec "$@"', "sh"),
        environment={"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "17"},
    )
    document = program.document("build", built.repository, *_BUILD, "--jobs", "1", cwd=Path("/"))
    assert built.document["layers"] == _come_by(document["layers"], built.document["layers"])
    assert built.document["digest"] == document["digest"]


def test_host_python_does_not_matter(
    built: Built, downloads_only: Callable[[str], Envbuild], scratch: Path
) -> None:
    """Bytecode is made by the image's Python, never by the one that envbuild runs on."""
    program = install(other_python(), scratch / "other-python")
    document = Envbuild(downloads_only("other").cache, program).document("build", built.repository, *_BUILD)
    assert built.document["digest"] == document["digest"]


def test_user_does_not_matter(built: Built, nobody: Envbuild) -> None:
    """Built by ``nobody``, in a cache of theirs, from a repository they may not write to; then run."""
    document = nobody.document("build", built.repository, *_BUILD)
    assert built.document["digest"] == document["digest"]

    executed = nobody.document("run", built.repository, "analysis.ipynb", "-o", nobody.cache / "out")
    assert (nobody.cache / "out" / "analysis.ipynb").is_file(), executed


def _come_by(layers: list[dict[str, object]], like: list[dict[str, object]]) -> list[dict[str, object]]:
    """``layers``, come by as those of ``like``: whether a cache had them, and which, may differ."""
    return [
        {**layer, "cached": other["cached"], "found": other["found"]}
        for layer, other in zip(layers, like, strict=True)
    ]
