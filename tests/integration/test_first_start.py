"""The first start of an image finds everything compiled, and makes nothing that it could have had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.slow]

_KERNEL = "ipykernel.kernelapp, matplotlib.pyplot, pandas"
_SERVER = "jupyterlab.labapp, notebook.app, jupyterhub.singleuser.app, nbconvert.exporters"
_CODE = """
import json, os, sys
import {modules}
specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
sources = [spec for spec in specs if spec is not None and (spec.origin or "").endswith(".py")]
print(json.dumps([len(sources), sorted(spec.origin for spec in sources if not os.path.exists(spec.cached))]))
"""


@pytest.mark.parametrize(("place", "modules"), [("env", _KERNEL), ("jupyter", _SERVER)])
def test_whatever_is_imported_has_bytecode(
    envbuild: Envbuild, quickstart: Path, place: str, modules: str
) -> None:
    """But for a file of Debian's configuration, of two lines."""
    command = (f"/srv/{place}/bin/python3", "-B", "-c", _CODE.format(modules=modules))

    done = envbuild.run("run", quickstart, "--quiet", "--", *command)

    assert 0 == done.returncode, done.stderr
    imported, compiled_anew = json.loads(done.stdout)
    assert imported > 300
    assert ["sitecustomize.py"] == [Path(path).name for path in compiled_anew]
