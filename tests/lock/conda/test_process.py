"""conda-lock over py-rattler, the real programs, with a channel over http."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import RemoteError, RepoError
from envbuild.lock.conda.channels import Channels
from envbuild.lock.conda.process import CondaLock, virtual_packages
from envbuild.spec.conda_locked import LockedCondaPackage
from envbuild.spec.model import CondaRequest, Requirement
from envbuild.store import Store
from tests.support.conda import CondaFile, make_channel, make_conda
from tests.support.conda_channel import ChannelServer, demo_packages

pytestmark = pytest.mark.slow

Solve = Callable[..., dict[str, LockedCondaPackage]]


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_channel(tmp_path_factory.mktemp("channel") / "demo", demo_packages())


@pytest.fixture
def server(channel: Path) -> Iterator[ChannelServer]:
    with ChannelServer(channel) as server:
        yield server


@pytest.fixture
def solve(server: ChannelServer, tmp_path: Path) -> Solve:
    """Solve for one platform; packages by name."""
    store = Store(tmp_path / "cache")
    store.prepare()

    def solve(
        *specs: str,
        channels: Sequence[str] = ("conda-forge",),
        mirrors: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        platform: str = "linux/amd64",
        offline: bool = False,
        preferred: Sequence[str] = (),
        **options: Any,
    ) -> dict[str, LockedCondaPackage]:
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **(environment or {})}
        where = Channels({"conda-forge": server.url} if mirrors is None else mirrors, variables)
        packages = tuple(Requirement(text, "environment.yml", number) for number, text in enumerate(specs, 5))
        answer = CondaLock(store, where, variables, offline).solve(
            CondaRequest("environment.yml", tuple(channels), packages),
            platforms=(platform,),
            glibc="2.36",
            preferred={platform: list(preferred)},
            **options,
        )
        return {package.name: package for package in answer[platform]}

    return solve


@pytest.mark.parametrize(
    ("platform", "subdir"), [("linux/amd64", "linux-64"), ("linux/arm64", "linux-aarch64")]
)
def test_the_records_of_every_package(solve: Solve, channel: Path, platform: str, subdir: str) -> None:
    found = solve("python 3.12.*", "program", "renamed", "old-format", platform=platform)

    assert [
        *(
            "_demo_mutex",
            "ipykernel",
            "library",
            "old-format",
            "pip",
            "program",
            "python",
            "renamed",
            "tornado",
        )
    ] == sorted(found)
    assert ("3.12.4", subdir) == (found["python"].version, found["python"].subdir)
    assert ("noarch", "python", ("pkg:pypi/other-name",)) == (
        found["renamed"].subdir,
        found["renamed"].noarch,
        found["renamed"].purls,
    )
    assert "old-format-1.0-0.tar.bz2" == found["old-format"].filename
    for package in found.values():
        data = (channel / package.subdir / package.filename).read_bytes()
        assert CondaFile(package.subdir, package.filename, data).sha256 == package.sha256
        assert len(data) == package.size
        assert "conda-forge" == package.channel


@pytest.mark.parametrize(
    ("spec", "code", "words"),
    [
        ("impossible", "unsolvable", "library >=1,<2"),
        ("nothing-such", "unknown-package", "nothing-such"),
        ("python <3", "no-such-version", "python <3"),
        ("needs-new-glibc ==2.0", "needs-newer-system", "__glibc >=2.99"),
        ("needs-cuda", "needs-newer-system", "__cuda >=12"),
    ],
)
def test_no_solution_names_the_line_and_the_reason(solve: Solve, spec: str, code: str, words: str) -> None:
    with pytest.raises(RepoError) as caught:
        solve("library", spec)

    assert (code, "environment.yml:6") == (caught.value.code, caught.value.place)
    assert words in caught.value.message


def test_what_the_machine_has_can_be_overridden(solve: Solve) -> None:
    environment = {"CONDA_OVERRIDE_GLIBC": "2.99", "CONDA_OVERRIDE_CUDA": "12.4"}
    found = solve("needs-new-glibc", "needs-cuda", environment=environment)

    assert "1.0" == solve("needs-new-glibc")["needs-new-glibc"].version
    assert ("2.0", "1.0") == (found["needs-new-glibc"].version, found["needs-cuda"].version)


def test_what_is_newer_than_the_date_is_not_seen(solve: Solve) -> None:
    assert "2.0" == solve("recent")["recent"].version
    assert "1.0" == solve("recent", exclude_newer="2025-01-01T00:00:00Z")["recent"].version


def test_earlier_versions_are_kept_while_they_fit(solve: Solve) -> None:
    assert "1.1" == solve("library", preferred=["library ==1.1 0"])["library"].version
    assert "2.0" == solve("library >=2", preferred=["library ==1.1 0"])["library"].version


def test_offline_with_what_was_seen_before(solve: Solve, server: ChannelServer) -> None:
    with pytest.raises(RemoteError):
        solve("library", offline=True)
    seen = solve("library")
    before = len(server.requests)

    assert seen == solve("library", offline=True)
    assert before == len(server.requests)


@pytest.mark.parametrize("where", ["http://127.0.0.1:9/none", "{base}/none"])
def test_a_channel_that_is_not_there(solve: Solve, server: ChannelServer, where: str) -> None:
    with pytest.raises(RemoteError) as caught:
        solve("python", mirrors={"conda-forge": where.format(base=server.base)})

    assert (4, "channel-unreachable") == (caught.value.exit_code, caught.value.code)


def test_ipykernel_is_left_out_where_no_channel_has_it(solve: Solve, tmp_path: Path) -> None:
    packages = [package for package in demo_packages() if not package.filename.startswith(("ipyk", "pip-"))]
    with ChannelServer(make_channel(tmp_path / "bare", packages)) as bare:
        found = solve("library", mirrors={"conda-forge": bare.url})

    assert ["library", "python"] == sorted(found)


def test_ipykernel_that_contradicts_what_is_asked_for_is_left_out(solve: Solve, tmp_path: Path) -> None:
    strict = make_conda("ipykernel", "9.0", noarch="python", depends=["library <2"])
    with ChannelServer(make_channel(tmp_path / "strict", [*demo_packages()[5:], strict])) as server:
        found = solve("library >=2", mirrors={"conda-forge": server.url})

    assert ["library"] == sorted(found)


def test_channels_by_address_and_by_name_of_a_package(solve: Solve, tmp_path: Path) -> None:
    other = make_channel(tmp_path / "other", [make_conda("library", "9.0"), make_conda("rare", "1.0")])
    with ChannelServer(other) as server:
        found = solve("conda-forge::library", "rare", channels=(server.url, "conda-forge"))

        assert {"library": "conda-forge", "rare": server.url} == {
            name: found[name].channel for name in ("library", "rare")
        }


@pytest.mark.parametrize("kind", ["address", "netrc", "stored", "token", "stored-token"])
def test_credentials_are_the_users_and_stay_theirs(
    solve: Solve, channel: Path, tmp_path: Path, kind: str
) -> None:
    token = "very-secret" if "token" in kind else None
    options: dict[str, Any] = {"token": token} if token else {"credentials": ("me", "very-secret")}
    with ChannelServer(channel, **options) as guarded:
        host = guarded.base.removeprefix("http://")
        address, environment = guarded.url, {}
        if kind == "address":
            address = guarded.url.replace("://", "://me:very-secret@")
        elif kind == "token":
            address = f"{guarded.base}/t/very-secret/demo"
        elif kind == "netrc":
            (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password very-secret\n")
        else:
            stored = '{"CondaToken": "very-secret"}'
            if kind == "stored":
                stored = '{"BasicHTTP": {"username": "me", "password": "very-secret"}}'
            (tmp_path / "auth.json").write_text(f'{{"{host}": {stored}}}')
            environment["RATTLER_AUTH_FILE"] = str(tmp_path / "auth.json")
        with pytest.raises(RemoteError) as caught:
            solve("library", mirrors={"conda-forge": guarded.url.replace("://", "://me:wrong-secret@")})
        found = solve("library", mirrors={"conda-forge": address}, environment=environment)

    assert "channel-unauthorized" == caught.value.code
    assert "secret" not in f"{caught.value.message}{caught.value.detail}"
    assert "secret" not in repr(found)
    assert "conda-forge" == found["library"].channel


def test_nothing_of_the_users_conda_configuration_counts(solve: Solve, tmp_path: Path) -> None:
    (tmp_path / ".condarc").write_text("channels: [nowhere]\npinned_packages: [library=1.0]\n")
    environment = {"CONDA_PINNED_PACKAGES": "library=1.0", "CONDA_CHANNELS": "nowhere"}

    assert "2.0" == solve("library", environment=environment)["library"].version


def test_virtual_packages_are_the_bases() -> None:
    found = virtual_packages(("linux/arm64",), "2.41", {"CONDA_OVERRIDE_CUDA": ""})

    assert [
        ("__unix", "0", "0"),
        ("__linux", "5.10", "0"),
        ("__glibc", "2.41", "0"),
        ("__archspec", "1", "aarch64"),
    ] == found["linux-aarch64"]
