"""JupyterHub with what ``envbuild hub config`` writes: two users, two environments, a bump, who may not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import chromium
from tests.support.hub_browser import LAB_ARGUMENT, HubUser
from tests.support.hub_fleet import TITLE, HubFleet, hub_fleet
from tests.support.jupyterhub import (
    DOCKER,
    Hub,
    HubPrograms,
    UserServer,
    containers_removed,
    docker_gateway,
    running_hub,
)
from tests.support.programs import Envbuild, output_of
from tests.support.servers import scratch_directory

pytestmark = [pytest.mark.network, pytest.mark.docker]


@dataclass(frozen=True, slots=True)
class Spawned:
    """What a user's server is, as whatever runs it says; memory in bytes, processor in cores."""

    image: str
    memory: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hub's servers run.

    ``form`` is the format of configuration, ``more`` what is configured beside it, ``address`` this machine
    as servers see it, ``environment`` variables for the hub, ``spawned`` asks what a user's server is.
    """

    form: str
    more: str
    address: str
    environment: Mapping[str, str]
    spawned: Callable[[str], Spawned]


@pytest.fixture(scope="module")
def fleet(envbuild: Envbuild, registry: str, scratch: Path) -> HubFleet:
    """The environments, in a registry."""
    return hub_fleet(envbuild, registry, scratch / "fleet")


def _results(server: UserServer) -> list[str]:
    """What the notebook gives in a server, without a browser."""
    return [one["data"]["text/plain"] for cell in server.execute("check.ipynb") for one in cell]


def visit(fleet: HubFleet, programs: HubPrograms, place: Place, scratch: Path) -> None:
    """Two users choose two environments, and run a notebook in a browser; then one environment is bumped."""
    course, lab, newer = (fleet.images[name] for name in ("course", "lab", "newer"))

    def configuration() -> str:
        file = scratch / f"{place.form}.py"
        file.write_text(fleet.configuration(place.form))
        return f"c.Spawner.args = [{LAB_ARGUMENT!r}]\n{place.more}load_subconfig({str(file)!r})\n"

    def hub_in(directory: Path) -> Any:
        return running_hub(
            programs,
            directory,
            address=place.address,
            more=configuration(),
            environment=place.environment,
        )

    with scratch_directory() as directory:
        with hub_in(directory) as hub:
            _ada_takes_the_lab(hub, scratch)
            assert lab == place.spawned("ada").image
            _bob_takes_the_course(hub, scratch)
            assert Spawned(course, 10**9, 2.0) == place.spawned("bob")
            hub.stop("bob")
            _bob_may_not_use_the_lab(hub)
            assert course == place.spawned("bob").image

        fleet.pin(course=newer)
        with hub_in(directory) as hub:
            # Bob's server was there all the time; Ada's is a new one.
            assert course == place.spawned("bob").image
            assert "'0.9.0'" == _results(UserServer(hub, "/user/bob"))[0]
            hub.stop("ada")
            assert "'0.10.0'" == _results(hub.start("ada", {"profile": "course"}))[0]
            assert newer == place.spawned("ada").image

            hub.stop("bob")
            hub.ask("POST", "/hub/api/groups/staff")
            hub.ask("POST", "/hub/api/groups/staff/users", {"users": ["bob"]})
            assert ["'0.9.0'", "True", "'lab'"] == _results(
                hub.as_user("bob").start("bob", {"profile": "lab"})
            )
            for user in ("ada", "bob"):
                hub.stop(user)


def _ada_takes_the_lab(hub: Hub, scratch: Path) -> None:
    with chromium(scratch / "ada") as browser:
        ada = HubUser(browser, hub, "ada")
        ada.log_in()
        assert ["course", "lab"] == ada.offered()
        assert 'Course "1" <b>{{ 7 * 7 }}</b>' in ada.page_text()
        assert "broken" != browser.title
        ada.choose("lab")
        ada.wait_for_lab()
        assert ["'0.9.0'", "True", "'lab'"] == ada.run_notebook("check.ipynb")
        assert "Python (lab)" == ada.kernel()


def _bob_takes_the_course(hub: Hub, scratch: Path) -> None:
    """A name that templates and shells would read otherwise is in his environment as it was written."""
    with chromium(scratch / "bob") as browser:
        bob = HubUser(browser, hub, "bob")
        bob.log_in()
        bob.start_the_only_one("course")
        bob.wait_for_lab()
        assert ["'0.9.0'", "False", repr(TITLE)] == bob.run_notebook("check.ipynb")


def _bob_may_not_use_the_lab(hub: Hub) -> None:
    """Not by asking for it himself; another image is not taken from him either."""
    own = hub.as_user("bob")
    for options in ({"profile": "lab"}, {"profile": "lab", "pool": "", "devices": ""}):
        # The hub answers before it knows when it is slow.
        with pytest.raises(AssertionError, match=r": 403 |failed to start"):
            own.start("bob", options)
        assert hub.ask("GET", "/hub/api/users/bob")["server"] is None
    lab = {"image": "registry.example.org/lab:1", "image--unlisted-choice": "registry.example.org/lab:1"}
    own.start("bob", {"profile": "course", **lab})


def test_dockerspawner(fleet: HubFleet, hub_programs: HubPrograms, docker_host: str, tmp_path: Path) -> None:
    """With a volume over the home directory."""
    docker = {"DOCKER_HOST": docker_host}

    def spawned(user: str) -> Spawned:
        (found,) = json.loads(output_of("docker", "inspect", f"jupyter-{user}", environment=docker))
        limits = found["HostConfig"]
        return Spawned(
            found["Config"]["Image"], limits["Memory"], limits["CpuQuota"] / (limits["CpuPeriod"] or 1)
        )

    volumes = f"c.DockerSpawner.volumes = { ({'home-of-{username}': '/home/jovyan'})!r}\n"
    place = Place("dockerspawner", DOCKER + volumes, docker_gateway(docker_host), docker, spawned)
    with containers_removed(docker_host):
        visit(fleet, hub_programs, place, tmp_path)
