"""The resolver against a small index: solutions, and every way of there being none."""

from __future__ import annotations

import pytest

from envbuild.errors import EnvbuildError, MachineError, RemoteError, RepoError
from envbuild.lock.uv import uv_platform
from envbuild.spec.model import Requirement
from tests.lock.conftest import Resolve
from tests.support.index import Index, make_wheel

pytestmark = pytest.mark.slow  # a real resolver


def fill(index: Index) -> None:
    """``app`` 1 and 2 need ``lib`` of the same number; ``lib`` also has a version 3."""
    for version in ("1.0", "2.0"):
        index.add(make_wheel("app", version, requires=[f"lib=={version}"]))
    for version in ("1.0", "2.0", "3.0"):
        index.add(make_wheel("lib", version))


def versions(pins: dict[str, object]) -> dict[str, str]:
    return {name: pin.version for name, pin in pins.items()}  # type: ignore[attr-defined]


def failure(solve: Resolve, *texts: str | Requirement, **options: object) -> EnvbuildError:
    with pytest.raises(EnvbuildError) as caught:
        solve(*texts, **options)
    return caught.value


def test_the_newest_versions_that_fit_with_name_hash_and_url(index: Index, solve: Resolve) -> None:
    fill(index)
    pins = solve("app")
    listed = {entry.filename: entry for entry in index.files.values()}
    entry = listed["lib-2.0-py3-none-any.whl"]
    assert {"app": "2.0", "lib": "2.0"} == versions(pins)
    assert (entry.filename, entry.sha256, index.base + entry.path) == (
        pins["lib"].filename,
        pins["lib"].sha256,
        pins["lib"].url,
    )


def test_constraints_limit_but_do_not_add(index: Index, solve: Resolve) -> None:
    fill(index)
    assert {"app": "1.0", "lib": "1.0"} == versions(solve("app", constraints=("lib<2", "unrelated==1")))


def test_earlier_versions_are_kept_while_they_fit(index: Index, solve: Resolve) -> None:
    fill(index)
    assert {"app": "1.0", "lib": "1.0"} == versions(solve("app", preferences={"app": "1.0", "lib": "1.0"}))
    assert {"app": "2.0", "lib": "2.0"} == versions(solve("app>=2", preferences={"app": "1.0", "lib": "1.0"}))


def test_markers_and_wheels_are_those_of_the_target(index: Index, solve: Resolve) -> None:
    index.add(make_wheel("app", requires=["arm-only; platform_machine == 'aarch64'"]))
    index.add(make_wheel("arm-only", tag="cp311-cp311-manylinux_2_17_aarch64"))
    index.add(make_wheel("arm-only", tag="cp313-cp313-manylinux_2_40_aarch64"))
    assert {"app"} == set(solve("app"))
    on_bookworm = solve("app", platform="linux/arm64")
    on_trixie = solve("app", platform="linux/arm64", python="3.13.5", glibc="2.40")
    assert "arm_only-1.0-cp311-cp311-manylinux_2_17_aarch64.whl" == on_bookworm["arm-only"].filename
    assert "arm_only-1.0-cp313-cp313-manylinux_2_40_aarch64.whl" == on_trixie["arm-only"].filename


def test_the_patch_version_of_python_counts(index: Index, solve: Resolve) -> None:
    """Debian's 3.11.2 must not get what needs 3.11.5, whatever Python runs envbuild."""
    index.add(make_wheel("app", "1.0"))
    index.add(make_wheel("app", "2.0", requires_python=">=3.11.5"), requires_python=">=3.11.5")
    assert {"app": "1.0"} == versions(solve("app"))
    assert {"app": "2.0"} == versions(solve("app", python="3.11.7"))


def test_exclude_newer_hides_what_was_published_later(index: Index, solve: Resolve) -> None:
    index.add(make_wheel("app", "1.0"), uploaded="2025-01-01T00:00:00Z")
    index.add(make_wheel("app", "2.0"), uploaded="2026-01-01T00:00:00Z")
    assert {"app": "1.0"} == versions(solve("app", exclude_newer="2025-06-01T00:00:00Z"))
    error = failure(solve, "app>=2", exclude_newer="2025-06-01T00:00:00Z")
    assert ("too-new", 1) == (error.code, error.line)


def test_hashes_given_with_a_requirement_choose_among_its_wheels(index: Index, solve: Resolve) -> None:
    pure = index.add(make_wheel("app"))
    index.add(make_wheel("app", tag="cp311-cp311-manylinux_2_17_x86_64"))
    hashed = Requirement("app==1.0", "requirements.txt", 3, (f"sha256:{pure.sha256}",))
    assert pure.sha256 == solve(hashed)["app"].sha256
    wrong = Requirement("app==1.0", "requirements.txt", 3, ("sha256:" + "0" * 64,))
    error = failure(solve, wrong)
    assert ("hash-mismatch", "requirements.txt:3") == (error.code, error.place)


@pytest.mark.parametrize(
    ("texts", "constraints", "code", "place", "words"),
    [
        (["lib", "no-such-thing"], [], "unknown-package", "requirements.txt:2", ["no-such-thing"]),
        (["lib", "app", "no_such.thing>2"], [], "unknown-package", "requirements.txt:3", ["no-such-thing"]),
        (["app", "lib==99"], [], "no-such-version", "requirements.txt:2", ["lib==99"]),
        (
            ["app==1.0", "lib==2.0"],
            [],
            "unsolvable",
            "requirements.txt:1",
            ["lib==1.0", "requirements.txt:2"],
        ),
        (["lib==2.0"], ["lib<2"], "unsolvable", "requirements.txt:1", ["lib<2", "constraints.txt:1"]),
        (["lib", "lib==1", "lib>=2"], [], "unsolvable", "requirements.txt:2", ["requirements.txt:3"]),
        (["lib", "broken"], [], "unknown-package", "requirements.txt:2", ["no-such-thing"]),
        (["lib", "arm-only"], [], "no-wheel", "requirements.txt:2", ["arm-only==1.0", "linux/amd64"]),
        (["lib", "source-only"], [], "no-wheel", "requirements.txt:2", ["source-only==1.0"]),
        (["lib", "yanked"], [], "yanked", "requirements.txt:2", ["yanked==1.0", "it was wrong"]),
        (["lib", "new-python"], [], "python-conflict", "requirements.txt:2", ["3.12", "3.11.2"]),
    ],
)
def test_no_solution_names_the_line_and_the_reason(
    index: Index,
    solve: Resolve,
    texts: list[str],
    constraints: list[str],
    code: str,
    place: str,
    words: list[str],
) -> None:
    fill(index)
    index.add(make_wheel("broken", requires=["no-such-thing"]))
    index.add(make_wheel("arm-only", tag="cp311-cp311-manylinux_2_17_aarch64"))
    index.add_source("source-only", "1.0")
    index.add(make_wheel("yanked"), yanked="it was wrong")
    index.add(make_wheel("new-python", requires_python=">=3.12"), requires_python=">=3.12")
    error = failure(solve, *texts, constraints=tuple(constraints))
    assert (RepoError, code, place) == (type(error), code, error.place)
    for word in words:
        assert word in error.message
    assert error.remedy
    assert "\n" not in error.message
    assert "conclude" not in error.message


def test_a_long_argument_is_shortened_and_kept_as_detail(index: Index, solve: Resolve) -> None:
    for number in range(12):
        index.add(make_wheel(f"link-{number}", requires=[f"link-{number + 1}"]))
    index.add(make_wheel("link-12", requires=["lib<2"]))
    fill(index)
    error = failure(solve, "link-0", "lib>=2")
    assert "unsolvable" == error.code
    assert len(error.message) < 400
    assert "link-12" in str(error.detail)


def test_a_yanked_version_can_be_pinned(index: Index, solve: Resolve) -> None:
    index.add(make_wheel("app"), yanked="broken")
    assert {"app": "1.0"} == versions(solve("app==1.0"))


@pytest.mark.parametrize(
    "text",
    [
        "-r /etc/passwd",
        "--index-url=https://example.org",
        "./local",
        "app\n-r /etc/passwd",
        "app ==",
        "/etc/passwd",
        "",
    ],
)
def test_what_is_not_a_requirement_never_reaches_uv(solve: Resolve, text: str) -> None:
    error = failure(solve, "app", text)
    assert ("bad-requirement", "requirements.txt:2") == (error.code, error.place)


def test_a_url_is_not_supported_and_its_credentials_are_not_shown(index: Index, solve: Resolve) -> None:
    error = failure(solve, "app @ https://me:hunter2@example.org/app-1.0-py3-none-any.whl")
    assert ("url-requirement", "requirements.txt:1") == (error.code, error.place)
    assert "hunter2" not in str(error)
    assert [] == index.requests


def test_an_index_that_is_down_is_the_remotes_fault(environment: dict[str, str], solve: Resolve) -> None:
    with Index() as gone:
        pass
    environment["UV_DEFAULT_INDEX"] = gone.url_with_credentials
    error = failure(solve, "app")
    assert (RemoteError, "index-unreachable", 4) == (type(error), error.code, error.exit_code)
    assert "password" not in f"{error}{error.detail}"


def test_an_index_that_fails_is_the_remotes_fault(index: Index, solve: Resolve) -> None:
    fill(index)
    index.failures["/simple/app/"] = [500]
    assert RemoteError is type(failure(solve, "app"))


def test_refused_credentials_are_told_from_a_missing_package(
    environment: dict[str, str], solve: Resolve
) -> None:
    with Index(credentials=("me", "hunter2")) as private:
        private.add(make_wheel("app"))
        environment["UV_DEFAULT_INDEX"] = private.url.replace("://", "://me:hunter3@")
        error = failure(solve, "app")
        environment["UV_DEFAULT_INDEX"] = private.url_with_credentials
        pins = solve("app")
    assert "index-unauthorized" == error.code
    assert "hunter" not in f"{error}{error.detail}{error.remedy}{pins!r}"


def test_an_answer_of_uv_that_is_not_understood_is_not_the_repositorys_fault(
    environment: dict[str, str], solve: Resolve
) -> None:
    environment["UV_CONFIG_FILE"] = "/nonexistent/uv.toml"
    assert MachineError is type(failure(solve, "app"))


def test_uv_platform() -> None:
    assert "x86_64-manylinux_2_40" == uv_platform("linux/amd64", "2.40")
