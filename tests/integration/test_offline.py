"""``--offline`` in a network namespace in which there is no network."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.conftest import Built
from tests.support.programs import Envbuild, require

pytestmark = [pytest.mark.network, pytest.mark.slow]

# Only this machine's loopback, over which kernels talk.
_ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@pytest.fixture
def alone(envbuild: Envbuild) -> Envbuild:
    require("unshare", "ip", root=True)
    return replace(envbuild, prefix=_ALONE)


def test_the_namespace_has_no_network(alone: Envbuild, quickstart: Path) -> None:
    """Otherwise the other tests prove nothing."""
    done = alone.run("lock", quickstart, "--upgrade-base", "--json")
    assert 4 == done.returncode, done.stdout


def test_everything_is_packed_from_what_was_downloaded(alone: Envbuild, built: Built, scratch: Path) -> None:
    cache = scratch / "offline-cache"
    for bucket in ("artifacts-v1", "debian-v2"):
        shutil.copytree(alone.cache / bucket, cache / bucket, copy_function=os.link)

    document = replace(alone, cache=cache).document(
        "build", built.repository, "--locked", "--offline", "--platform", "linux/amd64"
    )

    shutil.rmtree(cache)
    assert built.document["digest"] == document["digest"]


def test_plan_check_and_run_work(alone: Envbuild, built: Built, scratch: Path) -> None:
    envbuild = replace(alone, prefix=())
    envbuild.document("run", built.repository, "analysis.ipynb", "-o", scratch / "online")

    alone.document("plan", built.repository, "--offline")
    alone.document("lock", built.repository, "--check", "--offline")
    alone.document(
        "run", built.repository, "analysis.ipynb", "--locked", "--offline", "-o", scratch / "offline"
    )

    assert (scratch / "offline" / "analysis.ipynb").exists()


def test_what_a_cold_cache_lacks_is_listed(alone: Envbuild, built: Built, scratch: Path) -> None:
    cold = replace(alone, cache=scratch / "cold-cache")

    done = cold.run("build", built.repository, "--locked", "--offline", "--json")

    shutil.rmtree(cold.cache)
    error = json.loads(done.stdout)
    assert (4, "offline") == (done.returncode, error["error"])
    missing = set(error["detail"].splitlines())
    locked = (built.repository / "envbuild.lock").read_text()
    assert {"numpy", "pandas", "jupyterlab"} <= {name.split("-")[0] for name in missing}
    assert any(name.endswith("_amd64.deb") for name in missing)
    assert all(name.split("-")[0].split("_")[0].lower() in locked.lower() for name in missing)
