"""Spec -> Lock, with a small index, one made-up base and no Debian mirror."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from envbuild.base.locking import LockedDebs
from envbuild.base.mirrors import Mirrors
from envbuild.base.recipe import BaseRecipe
from envbuild.errors import RemoteError, RepoError, UsageError
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.addresses import recall
from envbuild.lock.freshness import check
from envbuild.lock.locate import Locator
from envbuild.lock.lockfile import dump_lock, load_lock
from envbuild.lock.make import make_lock
from envbuild.lock.model import Artifact, Deb, Lock
from envbuild.lock.uv_process import Uv
from envbuild.pack import recipe as packing
from envbuild.progress import Silent
from envbuild.source.repo import Repo
from envbuild.spec.model import Adopted, EngineBuild, Problem, PythonRequest, Requirement, Spec
from envbuild.store import Store
from tests.lock.conftest import lines
from tests.support.index import Index, make_wheel

pytestmark = pytest.mark.slow  # a real resolver

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PLATFORMS = ("linux/amd64", "linux/arm64")
RECIPE = BaseRecipe(
    name="python-3.11",
    python="3.11.2",
    suite="bookworm",
    glibc="2.36",
    platforms=PLATFORMS,
    packages=("python3.11",),
    excluded={},
    scripts={},
    server=("jupyterlab>=4",),
    digest="0" * 64,
)
NEWER = replace(RECIPE, name="python-3.13", python="3.13.5", suite="trixie", glibc="2.40")


@dataclass
class Debian:
    """A mirror that has one package; counts how often it is asked."""

    python: str = ""
    version: str = "3.11.2-6"
    asked: int = 0
    failure: Exception | None = None

    def __call__(self, recipe: BaseRecipe, **options: Any) -> LockedDebs:
        self.asked += 1
        if self.failure:
            raise self.failure
        debs = {platform: self._debs(platform.partition("/")[2]) for platform in recipe.platforms}
        return LockedDebs(self.python or recipe.python, debs)

    def _debs(self, arch: str) -> tuple[Deb, ...]:
        filename = f"python3.11_{self.version}_{arch}.deb"
        artifact = Artifact(filename, "0" * 64, 1, "debian", f"pool/main/p/python3.11/{filename}")
        return (Deb("python3.11", self.version, arch, artifact),)


@dataclass
class Maker:
    """Calls :func:`make_lock` with everything but what a test is about."""

    repo: Repo
    store: Store
    environment: dict[str, str]
    debian: Debian = field(default_factory=Debian)

    def __call__(self, spec: Spec, **options: Any) -> Lock:
        values: dict[str, Any] = {
            "repo": self.repo,
            "store": self.store,
            "environment": self.environment,
            "mirrors": Mirrors((), ()),
            "platforms": ("linux/amd64",),
            "now": NOW,
            "reporter": Silent(),
            "recipes": (RECIPE, NEWER),
            "lock_debs": self.debian,
        }
        return make_lock(spec, **{**values, **options})


@pytest.fixture
def make(index: Index, store: Store, environment: dict[str, str], tmp_path: Path) -> Maker:
    for name in ("ipykernel", "pip", "traitlets"):
        index.add(make_wheel(name))
    index.add(make_wheel("jupyter-server"))
    index.add(make_wheel("jupyterlab", "4.0", requires=["jupyter-server"]))
    root = tmp_path / "repository"
    root.mkdir()
    return Maker(Repo(root), store, environment)


def spec(*texts: str, **changes: Any) -> Spec:
    values: dict[str, Any] = {
        "name": "demo",
        "display_name": "Demo",
        "python": (PythonRequest("==3.11.*", ".python-version", 1),),
        "requirements": tuple(lines(*texts)),
    }
    return Spec(**{**values, **changes})


def versions(lock: Lock, platform: str = "linux/amd64") -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.target(platform).wheels}


def server(lock: Lock, platform: str = "linux/amd64") -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.base.server[platform]}


def test_a_lock_has_the_packages_a_kernel_pip_and_a_server_beside_them(index: Index, make: Maker) -> None:
    index.add(make_wheel("app", requires=["traitlets"]))
    lock = make(spec("App"))
    assert {"app": "1.0", "traitlets": "1.0", "ipykernel": "1.0", "pip": "1.0"} == versions(lock)
    assert {"jupyterlab": "4.0", "jupyter-server": "1.0"} == server(lock)
    assert ["app"] == [wheel.name for wheel in lock.target("linux/amd64").wheels if wheel.direct]
    assert ("3.11.2", "2026-11-20T12:00:00Z", packing.VERSION) == (lock.base.python, lock.cutoff, lock.recipe)


def test_a_lock_is_written_fresh_and_free_of_addresses(index: Index, make: Maker) -> None:
    index.add(make_wheel("app"))
    asked = spec("app", kernels=("conda-env",))
    data = dump_lock(make(asked))
    assert [] == check(load_lock(data), asked)
    assert "127.0.0.1" not in data.decode()
    assert "://" not in data.decode()


def test_what_is_locked_can_be_fetched_from_the_address_learned(index: Index, make: Maker) -> None:
    entry = index.add(make_wheel("app", padding=1000))
    lock = make(spec("app"))
    (artifact,) = [wheel.artifact for wheel in lock.target("linux/amd64").wheels if wheel.name == "app"]
    assert (len(entry.data), entry.path) == (artifact.size, artifact.path)
    addresses = recall(make.store, make.environment)
    with Fetcher(make.store, Sources({"pypi": addresses})) as fetcher:
        assert entry.data == fetcher.fetch(artifact).read_bytes()


def test_credentials_stay_out_of_the_lock_and_the_cache(make: Maker, environment: dict[str, str]) -> None:
    with Index(credentials=("me", "hunter2")) as private:
        for name in ("app", "ipykernel", "pip", "jupyterlab"):
            private.add(make_wheel(name, "4.0"))
        environment["UV_DEFAULT_INDEX"] = private.url_with_credentials
        lock = make(spec("app"))
    assert b"hunter2" not in dump_lock(lock)
    kept = [
        path for path in make.store.root.rglob("*") if path.is_file() and make.store.uv not in path.parents
    ]
    assert not any(b"hunter2" in path.read_bytes() for path in kept)


def test_platforms_get_their_own_wheels_in_the_same_versions(index: Index, make: Maker) -> None:
    for machine in ("x86_64", "aarch64"):
        index.add(make_wheel("app", "1.0", tag=f"cp311-cp311-manylinux_2_17_{machine}"))
    index.add(make_wheel("app", "2.0", tag="cp311-cp311-manylinux_2_17_aarch64"))
    lock = make(spec("app"), platforms=PLATFORMS[::-1])
    assert PLATFORMS == tuple(target.platform for target in lock.targets)
    assert {"1.0"} == {versions(lock, platform)["app"] for platform in PLATFORMS}
    assert set(PLATFORMS) == set(lock.base.server)


def test_versions_stay_until_they_are_upgraded(index: Index, make: Maker) -> None:
    index.add(make_wheel("app", requires=["lib"]))
    index.add(make_wheel("lib"))
    asked = spec("app")
    first = make(asked)
    for name in ("app", "lib", "jupyterlab"):
        index.add(make_wheel(name, "5.0", requires=["lib"] if name == "app" else []))
    assert dump_lock(first) == dump_lock(make(asked, previous=first))
    one = make(asked, previous=first, upgrade_packages=["LIB"])
    assert ("1.0", "5.0", "4.0") == (versions(one)["app"], versions(one)["lib"], server(one)["jupyterlab"])
    everything = make(asked, previous=first, upgrade=True)
    assert ("5.0", "5.0") == (versions(everything)["app"], versions(everything)["lib"])
    assert "5.0" == server(everything)["jupyterlab"]
    base = make(asked, previous=first, upgrade_base=True)
    assert ("1.0", "5.0") == (versions(base)["app"], server(base)["jupyterlab"])


def test_the_base_stays_until_it_is_upgraded(index: Index, make: Maker) -> None:
    first = make(spec("pip"))
    make.debian.version = "3.11.2-6+deb12u9"
    index.add(make_wheel("app"))
    second = make(spec("pip", "app"), previous=first)
    assert (first.base, 1) == (second.base, make.debian.asked)
    third = make(spec("pip"), previous=first, upgrade_base=True)
    assert ("3.11.2-6+deb12u9", 2) == (third.base.debs["linux/amd64"][0].version, make.debian.asked)


def test_the_date_of_the_base_is_that_of_its_debs(index: Index, make: Maker) -> None:
    """The snapshot archive of another day would not have them."""
    first = make(spec("pip"))
    later = make(spec("pip", "ipykernel"), previous=first, now=NOW + timedelta(days=30))
    assert ("2026-11-20T12:00:00Z", "2026-12-20T12:00:00Z") == (later.base.date, later.cutoff)
    for entry in index.files.values():
        entry.attributes["data-upload-time"] = "2025-01-01T00:00:00Z"
    past = make(spec("pip"), exclude_newer="2027-01-01", now=NOW + timedelta(days=60))
    assert ("2027-01-19T12:00:00Z", "2027-01-02T00:00:00Z") == (past.base.date, past.cutoff)


def test_locking_again_changes_nothing_when_nothing_is_new(make: Maker) -> None:
    first = make(spec("pip"))
    later = NOW + timedelta(days=1)
    assert first == make(spec("pip"), previous=first, now=later)
    assert first == make(spec("pip"), previous=first, now=later, upgrade=True)


def test_another_platform_later_gets_the_servers_versions(index: Index, make: Maker) -> None:
    first = make(spec("pip"))
    index.add(make_wheel("jupyterlab", "5.0"))
    second = make(spec("pip"), previous=first, platforms=PLATFORMS)
    assert {"4.0"} == {server(second, platform)["jupyterlab"] for platform in PLATFORMS}
    assert 1 == make.debian.asked


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECIPE, server=("jupyterlab>=5",)),
        replace(RECIPE, packages=("python3.11", "tini")),
        replace(RECIPE, glibc="2.35"),
        replace(RECIPE, platforms=PLATFORMS[:1]),
    ],
)
def test_a_changed_recipe_is_a_new_base(index: Index, make: Maker, changed: BaseRecipe) -> None:
    first = make(spec("pip"))
    index.add(make_wheel("jupyterlab", "5.0"))
    make(spec("pip"), previous=first, recipes=(changed,))
    assert 2 == make.debian.asked


def test_another_python_is_another_base(make: Maker) -> None:
    first = make(spec("pip"))
    asked = spec("pip", python=(PythonRequest("==3.13.*", ".python-version", 1),))
    second = make(asked, previous=first)
    assert ("python-3.13", "3.13.5") == (second.base.recipe, second.base.python)


def test_the_python_of_the_mirror_decides(index: Index, make: Maker) -> None:
    """The recipe's version is only an expectation."""
    index.add(make_wheel("app", "2.0", requires_python=">=3.11.9"), requires_python=">=3.11.9")
    index.add(make_wheel("app", "1.0"))
    make.debian.python = "3.11.9"
    lock = make(spec("app"))
    assert ("3.11.9", "2.0") == (lock.base.python, versions(lock)["app"])


def test_packages_keep_their_layers_when_they_grow(index: Index, make: Maker) -> None:
    index.add(make_wheel("app", "1.0"))
    asked = spec("app")
    first = make(asked)
    index.add(make_wheel("app", "2.0", padding=packing.SOLO_WHEEL_BYTES + 1))
    second = make(asked, previous=first, upgrade=True)
    fresh = make(asked)

    def layer(lock: Lock) -> str:
        return next(wheel.layer for wheel in lock.target("linux/amd64").wheels if wheel.name == "app")

    assert layer(first) == layer(second)
    assert "app" == layer(fresh)


def test_what_an_engine_builds_is_not_locked(make: Maker) -> None:
    with pytest.raises(RepoError) as caught:
        make(spec(engine_build=EngineBuild("Dockerfile", "binder/Dockerfile")))
    assert ("nothing-to-lock", "binder/Dockerfile") == (caught.value.code, caught.value.file)


def test_a_server_among_the_packages_gets_its_lab(make: Maker) -> None:
    lock = make(spec("jupyter-server"))
    assert {"jupyter-server", "jupyterlab", "ipykernel", "pip"} == set(versions(lock))


def test_a_server_among_the_packages_is_completed_when_that_changes_nothing(
    index: Index, make: Maker
) -> None:
    """Then the image needs no second server beside it."""
    index.add(make_wheel("jupyterhub", requires=["traitlets"]))
    recipes = (replace(RECIPE, server=("jupyterhub", "jupyterlab>=4")),)

    lock = make(spec("jupyterlab"), recipes=recipes)
    without = make(spec("traitlets"), recipes=recipes)

    assert {"jupyterhub", "jupyterlab", "jupyter-server"} <= set(versions(lock))
    assert {"ipykernel", "pip", "traitlets"} == set(versions(without))
    assert ["jupyterlab"] == [wheel.name for wheel in lock.target("linux/amd64").wheels if wheel.direct]


def test_a_server_that_does_not_fit_beside_the_users_pins_stays_out_of_them(
    index: Index, make: Maker
) -> None:
    index.add(make_wheel("jupyterhub", requires=["traitlets>=2"]))
    index.add(make_wheel("traitlets", "2.0"))
    recipes = (replace(RECIPE, server=("jupyterhub", "jupyterlab>=4")),)

    lock = make(spec("jupyterlab", "traitlets<2"), recipes=recipes)

    assert "jupyterhub" not in versions(lock)
    assert "1.0" == versions(lock)["traitlets"]
    assert "2.0" == server(lock)["traitlets"]


def test_exclude_newer_is_passed_on_and_recorded(index: Index, make: Maker) -> None:
    for entry in index.files.values():
        entry.attributes["data-upload-time"] = "2025-01-01T00:00:00Z"
    index.add(make_wheel("app", "1.0"), uploaded="2025-03-01T00:00:00Z")
    index.add(make_wheel("app", "2.0"), uploaded="2025-03-02T10:00:00Z")
    index.add(make_wheel("app", "3.0"), uploaded="2025-03-03T00:00:01Z")
    by_date = make(spec("app"), exclude_newer="2025-03-02")
    assert ("2.0", "2025-03-03T00:00:00Z") == (versions(by_date)["app"], by_date.cutoff)
    by_time = make(spec("app"), exclude_newer="2025-03-02T11:00:00+02:00")
    assert ("1.0", "2025-03-02T09:00:00Z") == (versions(by_time)["app"], by_time.cutoff)
    with pytest.raises(UsageError, match="'soon' is not a date"):
        make(spec("app"), exclude_newer="soon")


# Adopted locks


def hashed(index: Index, name: str, line: int = 1) -> Requirement:
    (entry,) = [entry for entry in index.files.values() if entry.filename.startswith(f"{name}-1.0")]
    return Requirement(f"{name}==1.0", "requirements.txt", line, (f"sha256:{entry.sha256}",))


def adopting(*requirements: Requirement) -> Spec:
    return replace(spec(), requirements=requirements, adopted=Adopted("requirements.txt", "requirements.txt"))


def test_an_adopted_lock_is_completed_but_not_changed(index: Index, make: Maker) -> None:
    (make.repo.root / "requirements.txt").write_text("# the reader has read it\n")
    index.add(make_wheel("lib", "1.0"))
    pin = hashed(index, "lib")
    index.add(make_wheel("lib", "2.0"))
    index.add(make_wheel("ipykernel", "2.0", requires=["lib"]))
    lock = make(adopting(pin))
    assert {"lib": "1.0", "ipykernel": "2.0", "pip": "1.0"} == versions(lock)
    assert not any(wheel.direct for wheel in lock.target("linux/amd64").wheels)


def test_what_cannot_complete_an_adopted_lock_says_so(index: Index, make: Maker) -> None:
    (make.repo.root / "requirements.txt").write_text("# the reader has read it\n")
    index.add(make_wheel("lib", "1.0"))
    pin = hashed(index, "lib")
    for entry in [entry for entry in index.files.values() if entry.filename.startswith("ipykernel")]:
        del index.files["/" + entry.path]
    index.add(make_wheel("ipykernel", "2.0", requires=["lib>=2"]))
    with pytest.raises(RepoError, match="ipykernel, pip cannot be added") as caught:
        make(adopting(pin))
    assert ("cannot-complete-lock", "requirements.txt") == (caught.value.code, caught.value.file)


# Errors


def test_problems_of_reading_come_first(index: Index, make: Maker) -> None:
    problem = Problem("error", "unsupported-file", "conda is not supported yet", "environment.yml", 1, "wait")
    with pytest.raises(RepoError) as caught:
        make(spec("app", problems=(Problem("note", "x", "y"), problem)))
    assert ("unsupported-file", "environment.yml:1", "wait") == (
        caught.value.code,
        caught.value.place,
        caught.value.remedy,
    )
    assert [] == index.requests


def test_a_package_we_add_is_not_blamed_on_a_line(index: Index, make: Maker) -> None:
    """A conflict with ipykernel points at the user's line, which is what can be changed."""
    index.add(make_wheel("ipykernel", "2.0", requires=["traitlets>=1"]))
    for entry in [entry for entry in index.files.values() if entry.filename.startswith("ipykernel-1")]:
        del index.files["/" + entry.path]
    index.add(make_wheel("traitlets", "0.9"))
    with pytest.raises(RepoError) as caught:
        make(spec("pip", "traitlets<1"))
    assert "requirements.txt:2" == caught.value.place


def test_a_line_that_is_no_requirement(make: Maker) -> None:
    with pytest.raises(RepoError) as caught:
        make(spec("pip", "not a requirement"))
    assert ("bad-requirement", "requirements.txt:2") == (caught.value.code, caught.value.place)


def test_a_kernel_asked_for_elsewhere_only_is_added_here(make: Maker) -> None:
    assert {"ipykernel", "pip"} == set(versions(make(spec("ipykernel; sys_platform == 'win32'"))))


def test_a_mirror_that_fails_is_the_remotes_fault(make: Maker) -> None:
    make.debian.failure = RemoteError("no answer", code="mirror-unreachable")
    with pytest.raises(RemoteError, match="no answer"):
        make(spec("pip"))


def test_nothing_is_left_in_the_temporary_directory(make: Maker) -> None:
    make(spec("pip"))
    with pytest.raises(RepoError):
        make(spec("no-such-thing"))
    assert [] == list(make.store.tmp.iterdir())


def test_an_unknown_resolver(make: Maker) -> None:
    with pytest.raises(UsageError):
        make(spec("pip"), resolver="magic")


def test_wheels_in_a_directory_of_this_machine(index: Index, make: Maker, tmp_path: Path) -> None:
    """The directory's path stays out of the lock; the wheel is looked up again by name and hash."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = make_wheel("app")
    (wheels / wheel.filename).write_bytes(wheel.data)
    make.environment["UV_FIND_LINKS"] = str(wheels)
    lock = make(spec("app"))
    (artifact,) = [wheel.artifact for wheel in lock.target("linux/amd64").wheels if wheel.name == "app"]
    assert Artifact(wheel.filename, wheel.sha256, len(wheel.data), "pypi", "") == artifact
    assert load_lock(dump_lock(lock)) == lock
    locate = Locator(lock, Uv(make.store, make.environment))
    with Fetcher(make.store, Sources({}), locate=locate) as fetcher:
        assert wheel.data == fetcher.fetch(artifact).read_bytes()
