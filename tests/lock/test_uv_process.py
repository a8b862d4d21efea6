"""uv sees the user's settings and nothing of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.lock.addresses import same_index
from envbuild.lock.uv_process import Uv, UvFailure
from envbuild.store import Store
from tests.support.index import Index, make_wheel


def compile_app(uv: Uv) -> list[str]:
    lock = uv.compile(["app"], preferences={}, python="3.11.2", uv_platform="x86_64-manylinux_2_36")
    return [f"{package.name}=={package.version}" for package in lock.packages]


@pytest.fixture(autouse=True)
def _two_versions(index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.add(make_wheel("app", version))


def test_configuration_above_the_cache_is_not_found(
    index: Index, tmp_path: Path, environment: dict[str, str]
) -> None:
    """The cache may be inside a repository; uv looks for its files in every directory above."""
    with Index() as evil:
        evil.add(make_wheel("app", "99"))
        (tmp_path / "uv.toml").write_text(f'index-url = "{evil.url}"\n')
        (tmp_path / "pyproject.toml").write_text(
            f'[project]\nname = "x"\nversion = "1"\n[tool.uv]\nindex-url = "{evil.url}"\n'
        )
        (tmp_path / ".python-version").write_text("2.7\n")
        store = Store(tmp_path / "cache")
        store.prepare()
        assert ["app==2.0"] == compile_app(Uv(store, environment))
        assert [] == evil.requests


def test_a_project_above_the_cache_constrains_nothing(index: Index, tmp_path: Path, uv: Uv) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\n'
        '[tool.uv]\nconstraint-dependencies = ["app<2"]\noverride-dependencies = ["app==1.0"]\n'
        "[tool.uv.workspace]\nmembers = []\n"
    )
    assert ["app==2.0"] == compile_app(uv)


def test_a_workspace_above_the_cache_is_not_the_projects(index: Index, tmp_path: Path, uv: Uv) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["**"]\n')
    (tmp_path / "uv.lock").write_text("this is not a lock")
    lock = b'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n\n[[package]]\nname = "demo"\n'
    lock += b'version = "0"\nsource = { virtual = "." }\n'
    project = b'[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\n'
    exported = uv.export({"pyproject.toml": project, "uv.lock": lock}, options=["--no-emit-project"])
    assert [] == list(exported.packages)


def test_configuration_in_the_current_directory_is_not_found(
    index: Index, uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("uv.toml", "pip.conf"):
        (repository / name).write_text("this is not valid anywhere =\n")
    monkeypatch.chdir(repository)
    assert ["app==2.0"] == compile_app(uv)


def test_the_users_own_configuration_counts(index: Index, uv: Uv, environment: dict[str, str]) -> None:
    del environment["UV_DEFAULT_INDEX"]
    configuration = Path(environment["HOME"]) / ".config" / "uv"
    configuration.mkdir(parents=True)
    (configuration / "uv.toml").write_text(f'[[index]]\nurl = "{index.url}"\ndefault = true\n')
    assert ["app==2.0"] == compile_app(uv)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("UV_CONSTRAINT", "/nonexistent"),
        ("UV_OVERRIDE", "/nonexistent"),
        ("UV_EXCLUDE_NEWER", "2000-01-01"),
        ("UV_PYTHON", "2.7"),
        ("UV_PROJECT", "/nonexistent"),
        ("UV_WORKING_DIR", "/nonexistent"),
        ("UV_RESOLUTION", "lowest"),
        ("UV_NO_CACHE", "nonsense"),
        ("PYTHONHOME", "/nonexistent"),
        ("VIRTUAL_ENV", "/nonexistent"),
    ],
)
def test_variables_that_would_change_the_answer_are_left_out(
    uv: Uv, environment: dict[str, str], variable: str, value: str
) -> None:
    environment[variable] = value
    assert ["app==2.0"] == compile_app(uv)


def test_nothing_is_left_in_the_cache_but_uvs_own(uv: Uv) -> None:
    compile_app(uv)
    with pytest.raises(UvFailure):
        uv.compile(["nope"], preferences={}, python="3.11.2", uv_platform="x86_64-manylinux_2_36")
    assert [] == list(uv.store.tmp.iterdir())


def test_the_environment_is_not_shown(store: Store) -> None:
    assert "hunter2" not in repr(Uv(store, {"UV_DEFAULT_INDEX": "https://me:hunter2@example.org"}))


def test_export_does_not_obey_the_projects_settings(uv: Uv) -> None:
    """``--frozen`` neither asks an index nor builds the project."""
    pyproject = b"""
[project]
name = "demo"
dynamic = ["version", "dependencies"]
requires-python = ">=3.13"
[build-system]
requires = ["evil"]
build-backend = "evil"
[tool.uv]
required-version = "==0.0.1"
index-url = "http://127.0.0.1:1/simple"
cache-dir = "canary"
"""
    lock = b'version = 1\nrevision = 3\nrequires-python = ">=3.13"\n\n[[package]]\nname = "demo"\n'
    lock += b'source = { editable = "." }\n'
    exported = uv.export({"pyproject.toml": pyproject, "uv.lock": lock}, options=["--no-emit-project"])
    assert [] == list(exported.packages)


def test_the_users_indexes(index: Index, store: Store, environment: dict[str, str], tmp_path: Path) -> None:
    """Told by uv itself, which nobody is asked for."""
    environment["UV_INDEX"] = "https://me:secret@example.org/simple"
    environment["UV_FIND_LINKS"] = str(tmp_path)
    own = Uv(store, environment).indexes()

    assert 3 == len(own)
    assert any(same_index(str(tmp_path), one) for one in own)
    assert any(same_index(index.url + "/", one) for one in own)
    assert any(same_index("https://example.org/simple", one) for one in own)
    assert not any(same_index("https://example.org/other", one) for one in own)
    assert [] == index.requests
