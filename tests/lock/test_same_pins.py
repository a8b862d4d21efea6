"""uv and pip-tools are asked the same questions of the real index and give the same pins."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.lock.pip_tools import PipTools
from envbuild.lock.select import Pin
from envbuild.lock.uv import UvResolver
from envbuild.lock.uv_process import Uv
from envbuild.store import Store
from tests.lock.conftest import lines

pytestmark = [pytest.mark.network, pytest.mark.slow]

SETS = {
    "small": ("requests", "rich", "attrs>=23"),
    "scientific": (
        *("numpy", "pandas", "scipy", "matplotlib", "scikit-learn", "seaborn", "statsmodels", "sympy"),
        *("networkx", "pillow", "requests", "beautifulsoup4", "ipywidgets", "jupyterlab", "ipykernel"),
    ),
    "extras and markers": (
        "dask[array,dataframe]",
        "uvicorn[standard]",
        "tomli>=2; python_version < '3.13'",
        "pyzmq; platform_machine == 'aarch64'",
    ),
}
TARGETS = {
    "3.11 amd64": {"python": "3.11.2", "glibc": "2.36", "platform": "linux/amd64"},
    "3.13 arm64": {"python": "3.13.5", "glibc": "2.40", "platform": "linux/arm64"},
    "3.11 arm64": {"python": "3.11.2", "glibc": "2.36", "platform": "linux/arm64"},
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The machine's, without anybody's own indexes."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SETS)
def test_the_pins_are_the_same(name: str, target: str, store: Store, environment: dict[str, str]) -> None:
    asked = lines(*SETS[name])

    by_uv = UvResolver(Uv(store, environment)).resolve(asked, **TARGETS[target])
    by_pip_tools = PipTools(store, environment).resolve(asked, **TARGETS[target])

    # Some indexes tell one of them how large a file is and the other not; locking asks where nobody did.
    assert _without_sizes(by_uv) == _without_sizes(by_pip_tools)
    known = {pin.sha256: pin.size for pin in by_uv if pin.size is not None}
    assert all(pin.size in (None, known.get(pin.sha256, pin.size)) for pin in by_pip_tools)


def _without_sizes(pins: Iterable[Pin]) -> list[Pin]:
    return [replace(pin, size=None) for pin in pins]
