"""Import names and distribution names."""

from __future__ import annotations

import re
from importlib import resources

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from envbuild.spec.imports import distribution_of, imported_name
from envbuild.spec.pep508 import canonical_name

TABLE: dict[str, str] = tomli.loads((resources.files("envbuild.spec") / "imports.toml").read_text("utf-8"))[
    "distributions"
]


def test_the_table_is_sorted() -> None:
    assert sorted(TABLE) == list(TABLE)


def test_the_table_has_only_what_differs() -> None:
    """An entry that says what would be assumed anyway is noise; parents of dotted names are not."""
    same = {
        key for key, value in TABLE.items() if value and canonicalize_name(key) == canonicalize_name(value)
    }
    dotted = {key for key in TABLE if "." in key}

    assert set() == same - dotted


def test_the_table_has_valid_names() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*|", value) for value in TABLE.values())


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("numpy.linalg.norm", "numpy"),
        ("sklearn.svm.SVC", "scikit-learn"),
        ("PIL.Image", "pillow"),
        ("cv2", "opencv-python-headless"),
        ("yaml", "PyYAML"),
        ("bs4.BeautifulSoup", "beautifulsoup4"),
        ("google.cloud.storage.Client", "google-cloud-storage"),
        ("google.protobuf.message", "protobuf"),
        ("google.unheard.of", ""),
        ("google.colab.drive", ""),
        ("ruamel.yaml.YAML", "ruamel.yaml"),
        ("mpl_toolkits.mplot3d.Axes3D", "matplotlib"),
    ],
)
def test_distribution(module: str, distribution: str) -> None:
    assert distribution == distribution_of(imported_name(module))


@pytest.mark.parametrize(
    "module", ["os", "os.path", "__future__.annotations", "distutils.core", "tomllib", "imp", "__main__"]
)
def test_the_standard_library_is_nobodys(module: str) -> None:
    assert "" == imported_name(module)


@given(st.text())
def test_any_text_is_a_module(module: str) -> None:
    distribution_of(imported_name(module))


def test_what_comes_along_is_lists_of_names() -> None:
    tables = tomli.loads((resources.files("envbuild.spec") / "imports.toml").read_text("utf-8"))
    assert sorted(tables["brought_by"]) == list(tables["brought_by"])
    assert {str} == {type(name) for names in tables["brought_by"].values() for name in names}
    assert {str} == {type(name) for name in tables["distributions"].values()}
    assert sorted(tables["common"]["modules"]) == tables["common"]["modules"]
    used = tables["used_without_import"]["distributions"]
    assert sorted(map(canonical_name, used)) == used
