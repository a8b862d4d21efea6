"""EB2: imports against what is in the locked wheels, and against names when there is no lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from envbuild.check.checker import Checked
from envbuild.lock.freshness import inputs_digest
from envbuild.source import Repo
from envbuild.spec import read_spec
from envbuild.store import Store
from tests.check.conftest import notebook
from tests.support.builds import lock_of
from tests.support.index import WheelFile, make_wheel

Check = Callable[..., Checked]

PILLOW = make_wheel("pillow", files={"PIL/__init__.py": b"", "PIL/Image.py": b""})
STORAGE = make_wheel("storage", files={"google/cloud/storage/__init__.py": b""})


@pytest.fixture
def in_cache(store: Store) -> Callable[..., None]:
    """A function that puts wheels into the cache, as a build does."""

    def put(*wheels: WheelFile) -> None:
        for wheel in wheels:
            store.artifact_path(wheel.sha256).write_bytes(wheel.data)

    return put


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("import PIL.Image", None),
        ("import pillow", "pillow"),
        ("from google.cloud import storage", None),
        ("import google.cloud.storage.blob", None),
        ("import google.cloud.bigquery", "google-cloud-bigquery"),
        ("import sklearn", "scikit-learn"),
        ("import os, helper, helpers.text", None),
        ("try:\n    import sklearn\nexcept ImportError:\n    pass", None),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sklearn", None),
        ("import sys\nif sys.platform == 'win32':\n    import winapi", None),
        ("%pip install scikit-learn\nimport sklearn", None),
        ("%%bash\nimport sklearn", None),
    ],
)
def test_imports_are_compared_with_contents(
    check: Check, in_cache: Callable[..., None], source: str, missing: str | None
) -> None:
    in_cache(PILLOW, STORAGE)
    files = {"requirements.txt": "", "n.ipynb": notebook(source), "helper.py": "", "helpers/text.py": ""}

    found = check(files, "EB201", lock=lock_of(PILLOW, STORAGE)).findings

    remedies = [f"add {missing} to requirements.txt, and run `envbuild lock`"] if missing else []
    assert remedies == [finding.remedy for finding in found]


def test_a_package_that_cannot_be_looked_into_is_trusted_by_its_name(check: Check) -> None:
    files = {"requirements.txt": "", "n.ipynb": notebook("import PIL\nimport numpy")}
    assert ["`import numpy`: nothing that is locked provides it"] == [
        finding.message for finding in check(files, "EB201", lock=lock_of(PILLOW)).findings
    ]


@pytest.mark.parametrize(
    ("declared", "source", "count"),
    [
        ("pandas", "import pandas, numpy", 0),
        ("pandas", "import seaborn", 1),
        ("opencv-contrib-python", "import cv2", 0),
        ("tensorflow-cpu", "import tensorflow", 0),
        ("scikit-image", "import sklearn", 1),
        ("PyYAML", "import yaml", 0),
        ("pandas", "import IPython, packaging, dateutil", 0),
        ("pymc", "import arviz", 0),
        ("numpy", "import StringIO, urllib2", 0),
        ("numpy", "!protoc person.proto\nimport person_pb2", 0),
        ("numpy", "!wget https://example.org/reader.py\nimport reader", 0),
        ("numpy", "import xgboost.pyspark", 1),
        ("anaconda", "import sympy", 0),
    ],
)
def test_without_a_lock_names_are_compared(check: Check, declared: str, source: str, count: int) -> None:
    files = {"requirements.txt": declared + "\n", "n.ipynb": notebook(source)}
    assert count == len(check(files, "EB2").findings)


def test_what_many_bring_along_is_a_note(check: Check) -> None:
    files = {"requirements.txt": "geoplot\n", "n.ipynb": notebook("import matplotlib.pyplot\nimport sympy")}
    assert ["note", "warning"] == [finding.severity for finding in check(files, "EB2").findings]


def test_what_only_a_build_knows_is_not_judged(check: Check) -> None:
    files = {"setup.py": "", "n.ipynb": notebook("import numpy, sympy")}
    assert () == check(files, "EB2").findings


def test_packages_that_nobody_imports(check: Check, in_cache: Callable[..., None], repo: Repo) -> None:
    wheels = [make_wheel(name) for name in ("used", "bymodule", "unused", "openpyxl")]
    in_cache(*wheels)
    files = {
        "requirements.txt": "used\nbymodule\nunused\nopenpyxl\n",
        "n.ipynb": notebook("import used\nimport tool"),
        "tool.py": "import bymodule\n",
    }
    check(files)
    lock = lock_of(*wheels)
    direct = tuple(replace(wheel, direct=True) for wheel in lock.targets[0].wheels)
    lock = replace(
        lock, targets=(replace(lock.targets[0], wheels=direct),), inputs=inputs_digest(read_spec(repo))
    )

    found = check(files, "EB203", lock=lock).findings

    assert [("requirements.txt", 3, "note")] == [(one.file, one.line, one.severity) for one in found]
