"""pip-tools as a resolver: uv's answers, for another machine, with nothing downloaded to hash it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.errors import EnvbuildError, RemoteError, RepoError
from envbuild.lock.pip_tools import PipTools
from envbuild.lock.resolver import Resolver
from envbuild.lock.select import Pin
from envbuild.lock.uv import UvResolver
from envbuild.lock.uv_process import Uv
from envbuild.spec.model import Requirement
from envbuild.store import Store
from tests.lock.conftest import lines
from tests.support.index import Index, make_wheel

pytestmark = pytest.mark.slow  # a real resolver

TARGET = {"python": "3.11.2", "glibc": "2.36", "platform": "linux/amd64"}


@pytest.fixture
def pip_tools(store: Store, environment: dict[str, str]) -> PipTools:
    return PipTools(store, environment)


def solve(resolver: Resolver, *texts: str | Requirement, **options: object) -> dict[str, Pin]:
    pins = resolver.resolve(lines(*texts), **{**TARGET, **options})  # type: ignore[arg-type]
    return {pin.name: pin for pin in pins}


def refusal(resolver: Resolver, *texts: str, **options: object) -> EnvbuildError:
    with pytest.raises(EnvbuildError) as caught:
        solve(resolver, *texts, **options)
    return caught.value


def test_both_resolvers_give_the_same_pins_for_another_machine(
    index: Index, pip_tools: PipTools, uv: Uv
) -> None:
    """Neither this machine's processor nor its Python has a say; extras and markers count."""
    for tag in ("cp313-cp313-manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_17_x86_64", "py3-none-win32"):
        index.add(
            make_wheel(
                "app",
                "2.0",
                tag=tag,
                requires=["old; python_version < '3.12'", "arm; platform_machine == 'aarch64'"],
            )
        )
    index.add(make_wheel("app", "3.0", tag="cp311-cp311-manylinux_2_17_x86_64"))
    index.add(make_wheel("base", extras=["plot"], requires=["plotter; extra == 'plot'"]))
    for name in ("old", "arm", "plotter"):
        index.add(make_wheel(name))
    target = {"python": "3.13.5", "glibc": "2.40", "platform": "linux/arm64"}

    found = solve(pip_tools, "app", "base[plot]", **target)

    assert {"app": "2.0", "arm": "1.0", "base": "1.0", "plotter": "1.0"} == {
        name: pin.version for name, pin in found.items()
    }
    assert solve(UvResolver(uv), "app", "base[plot]", **target) == found


def test_no_file_is_downloaded_whole(index: Index, pip_tools: PipTools) -> None:
    """Hashes are those of the index's links; of wheels only the end, with the metadata, is read."""
    wheel = make_wheel("app", padding=3_000_000)
    entry = index.add(wheel)

    found = solve(pip_tools, "app")

    assert wheel.sha256 == found["app"].sha256
    asked = [method for method, path in index.requests if path == f"/{entry.path}" and method == "GET"]
    assert len(index.ranges) == len(asked) > 0
    assert {"bytes=0-"} & set(index.ranges) == set()


@pytest.mark.slow
def test_versions_are_kept_where_they_fit(index: Index, pip_tools: PipTools) -> None:
    for version in ("1.0", "2.0"):
        index.add(make_wheel("app", version))
        index.add(make_wheel("tool", version))

    kept = solve(pip_tools, "app", "tool>=2", preferences={"app": "1.0", "tool": "1.0"})

    assert {"app": "1.0", "tool": "2.0"} == {name: pin.version for name, pin in kept.items()}


@pytest.mark.slow
def test_constraints_hold_without_asking_for_a_package(index: Index, pip_tools: PipTools) -> None:
    for version in ("1.0", "2.0"):
        index.add(make_wheel("app", version))
    index.add(make_wheel("other"))

    pins = pip_tools.resolve(lines("app"), lines("app<2", "other==1.0", file="constraints.txt"), **TARGET)

    assert [("app", "1.0")] == [(pin.name, pin.version) for pin in pins]


def test_an_unknown_package_is_named_with_its_line(index: Index, pip_tools: PipTools) -> None:
    index.add(make_wheel("app"))

    error = refusal(pip_tools, "app", "nope>=1")

    assert (RepoError, "unknown-package", "requirements.txt:2") == (type(error), error.code, error.place)
    assert "there is no package named 'nope' in the package index" == error.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tag", "asked", "code"),
    [("py3-none-any", "app==9", "no-such-version"), ("cp39-cp39-win32", "app", "no-wheel")],
)
def test_versions_and_wheels_that_are_not_there(
    index: Index, pip_tools: PipTools, tag: str, asked: str, code: str
) -> None:
    index.add(make_wheel("app", tag=tag))

    error = refusal(pip_tools, asked)

    assert (code, "requirements.txt:1") == (error.code, error.place)


@pytest.mark.slow
def test_a_package_that_is_only_a_source_has_no_wheel(index: Index, pip_tools: PipTools) -> None:
    index.add_source("app", "1.0")

    assert "no-wheel" == refusal(pip_tools, "app").code


@pytest.mark.slow
def test_conflicts_name_the_requirements(index: Index, pip_tools: PipTools) -> None:
    index.add(make_wheel("one", requires=["shared<2"]))
    index.add(make_wheel("two", requires=["shared>=2"]))
    for version in ("1.0", "2.0"):
        index.add(make_wheel("shared", version))

    error = refusal(pip_tools, "one", "two")

    assert ("unsolvable", "requirements.txt:1") == (error.code, error.place)
    assert "one==1.0 depends on shared<2; two==1.0 depends on shared>=2" in error.message
    assert "see also requirements.txt:2" in error.message


@pytest.mark.slow
def test_a_hash_given_must_be_the_indexes(index: Index, pip_tools: PipTools) -> None:
    index.add(make_wheel("app"))
    asked = Requirement("app==1.0", "requirements.txt", 1, ("sha256:" + "0" * 64,))
    with pytest.raises(RepoError) as caught:
        solve(pip_tools, asked)
    assert "hash-mismatch" == caught.value.code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "index-unauthorized"),
        (403, "index-unauthorized"),
        (429, "index-unreachable"),
        (503, "index-unreachable"),
    ],
)
def test_an_index_that_refuses_is_the_indexs_fault(
    index: Index, pip_tools: PipTools, status: int, code: str
) -> None:
    index.add(make_wheel("app"))
    index.failures["/simple/app/"] = [status] * 20

    error = refusal(pip_tools, "app")

    assert (RemoteError, code) == (type(error), error.code)
    assert index.url in error.message


@pytest.mark.slow
def test_nobody_listens(pip_tools: PipTools, environment: dict[str, str]) -> None:
    environment["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple"
    error = refusal(pip_tools, "app")
    assert "index-unreachable" == error.code
    assert "http://127.0.0.1:9/simple" in error.message


@pytest.mark.slow
def test_credentials_of_the_address_work_and_are_not_shown(store: Store, environment: dict[str, str]) -> None:
    with Index(credentials=("me", "hunter2")) as private:
        private.add(make_wheel("app"))
        environment["UV_DEFAULT_INDEX"] = private.url_with_credentials
        assert {"app"} == set(solve(PipTools(store, environment), "app"))
        environment["UV_DEFAULT_INDEX"] = private.url.replace("://", "://me:wrong-secret@")
        error = refusal(PipTools(store, environment), "app")
    assert "index-unauthorized" == error.code
    assert "wrong-secret" not in repr(error.to_json())


@pytest.mark.slow
def test_a_date_the_index_does_not_tell(index: Index, pip_tools: PipTools) -> None:
    index.add(make_wheel("app"))
    assert "no-upload-times" == refusal(pip_tools, "app", exclude_newer="2026-01-01T00:00:00Z").code


@pytest.mark.slow
def test_an_index_in_json_tells_dates(store: Store, environment: dict[str, str]) -> None:
    with Index(json=True) as index:
        environment["UV_DEFAULT_INDEX"] = index.url
        index.add(make_wheel("app", "1.0"), uploaded="2025-01-01T00:00:00Z")
        index.add(make_wheel("app", "2.0"), uploaded="2026-01-01T00:00:00Z")
        before = {"exclude_newer": "2025-06-01T00:00:00Z"}
        pins = [
            solve(resolver, "app", **before)["app"]
            for resolver in (UvResolver(Uv(store, environment)), PipTools(store, environment))
        ]
    assert ["1.0", "1.0"] == [pin.version for pin in pins]
    assert pins[0].sha256 == pins[1].sha256
    assert len(make_wheel("app", "1.0").data) == pins[0].size


def test_offline_it_says_so_at_once(index: Index, store: Store, environment: dict[str, str]) -> None:
    error = refusal(PipTools(store, environment, offline=True), "app")
    assert "offline" == error.code
    assert [] == index.requests


@pytest.mark.slow
def test_configuration_in_the_current_directory_is_not_found(
    index: Index, pip_tools: PipTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither files of a repository nor modules in it reach the process."""
    index.add(make_wheel("app"))
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/simple\n")
    for name in ("piptools", "json", "sitecustomize"):
        (repository / f"{name}.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(repository)
    assert {"app"} == set(solve(pip_tools, "app"))


def test_what_of_pip_and_pip_tools_is_used_is_there() -> None:
    """They are pinned because these are not public: whoever raises the pins starts here."""
    from pip._internal.cli.req_command import RequirementCommand
    from pip._internal.index import collector
    from pip._internal.models.target_python import TargetPython
    from pip._vendor.packaging import markers
    from piptools import writer
    from piptools.repositories import PyPIRepository
    from piptools.scripts import compile as pip_compile

    assert callable(markers.default_environment)
    assert callable(collector._handle_get_simple_fail)
    assert "target_python" in RequirementCommand._build_package_finder.__code__.co_varnames
    assert "py_version_info" in RequirementCommand.make_resolver.__code__.co_varnames
    assert {"_get_hashes_from_pypi", "_get_file_hash"} <= vars(PyPIRepository).keys()
    assert TargetPython(["manylinux_2_36_x86_64"], (3, 11, 2), None, "cp").get_sorted_tags()
    assert pip_compile.PyPIRepository is PyPIRepository
    assert hasattr(writer.sys, "version_info")
