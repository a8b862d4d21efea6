"""How long a server and a kernel take, of real images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import Built
from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.slow]

_PHASES = {"server", "kernel", "imports"}


def test_an_image_is_started_and_measured(envbuild: Envbuild, built: Built) -> None:
    """Its kernel adds, and imports what the repository asks for."""
    place = f"oci:{built.layout}"

    document = envbuild.document("probe", place, "--engine", "bubblewrap", "--repeat", "2")

    (one,) = document["environments"]
    assert (place, "bubblewrap", 2) == (one["environment"], one["engine"], len(one["starts"]))
    assert _PHASES == one["median"].keys() == one["worst"].keys()
    assert 0 < one["starts"][0]["server"] < one["starts"][0]["kernel"]
    assert {"matplotlib", "numpy", "pandas"} <= set(one["packages"])
    assert ([], [], True) == (one["broken"], one["exceeded"], document["kept"])


def test_thresholds_are_for_gates(envbuild: Envbuild, built: Built, tmp_path: Path) -> None:
    """Exit code 1, and what was asked for in the text; metrics say so, too."""
    textfile = tmp_path / "envbuild.prom"
    options = ("--kernel-start", "1ms", "--server-start", "1h", "--repeat", "1", "--engine", "bubblewrap")

    done = envbuild.run("probe", f"oci:{built.layout}", *options, "--metrics-file", textfile)

    assert 1 == done.returncode, done.stderr
    assert "MORE than 0.001 s" in done.stdout
    assert "within 3600 s" in done.stdout
    text = textfile.read_text()
    assert f'envbuild_probe_success{{engine="bubblewrap",environment="oci:{built.layout}"}} 0.0' in text
    assert 'phase="kernel"}' in text


def test_an_image_without_a_server_is_an_error(envbuild: Envbuild, built: Built, tmp_path: Path) -> None:
    done = envbuild.run("probe", str(tmp_path / "none"), "--engine", "bubblewrap")

    assert 2 == done.returncode
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
