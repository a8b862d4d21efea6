"""Configuration of hubs: what is in it, that it is harmless whatever people write, and who may use what."""

from __future__ import annotations

import ast
import string
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from envbuild.fleet.model import (
    Environment,
    Fleet,
    GitSource,
    Pin,
    Pool,
    Resources,
    Toleration,
)
from envbuild.hub.config import hub_config
from envbuild.hub.kubernetes import profile_list
from envbuild.hub.offers import python_literal
from envbuild.image.reference import parse_reference

_SOURCE = GitSource("https://git.example.org/r.git")
_GPU = "nvidia.com/gpu"
_FORMATS = ("dockerspawner", "kubespawner", "z2jh")


def _image(letter: str) -> str:
    return f"registry.example.org/envs@sha256:{letter * 64}"


def _fleet() -> tuple[Fleet, dict[str, Pin]]:
    pools = (
        Pool("cpu", selector=(("pool", "cpu"),), tolerations=(Toleration("cpu", "Exists"),)),
        Pool("gpu", selector=(("pool", "gpu"),), tolerations=(Toleration(_GPU, "Exists"),), gpu=_GPU),
    )
    environments = (
        Environment("open", _SOURCE, display_name="Open", pools=("cpu",), launches=1),
        Environment(
            "model",
            _SOURCE,
            display_name="Model",
            description="For GPUs",
            pools=("cpu", "gpu"),
            resources=Resources(0.5, 2, 10**9, 4 * 10**9, gpu=2),
            node_selector=(("zone", "a"),),
            tolerations=(Toleration("team", "Equal", "x", "NoSchedule"),),
            idle_timeout=1800,
            users=("Ada",),
            groups=("staff",),
            default=True,
            launches=5,
            variables=(("A", "${HOME} $(B) {username}"),),
        ),
        Environment("twin", _SOURCE, launches=9),
    )
    fleet = Fleet(
        "f", Path("fleet.toml"), environments, pools, "registry.example.org/envs", "hub", ("login",)
    )
    letters = {"open": "a", "model": "b", "twin": "a"}
    return fleet, {name: Pin(name, parse_reference(_image(letter))) for name, letter in letters.items()}


def test_a_profile_of_kubespawner_says_all_of_an_environment() -> None:
    expected = {
        "slug": "model",
        "display_name": "Model",
        "description": "For GPUs",
        "default": True,
        "kubespawner_override": {
            "image": _image("b"),
            "cpu_guarantee": 0.5,
            "cpu_limit": 2,
            "mem_guarantee": 10**9,
            "mem_limit": 4 * 10**9,
            "environment": {"A": "$${{HOME}} $$(B) {{username}}"},
            "args": [
                "--ServerApp.shutdown_no_activity_timeout=1800",
                "--MappingKernelManager.cull_idle_timeout=1800",
                "--MappingKernelManager.cull_interval=60",
                "--MappingKernelManager.cull_connected=True",
                "--TerminalManager.cull_inactive_timeout=1800",
                "--TerminalManager.cull_interval=60",
            ],
        },
        "profile_options": {
            "pool": {
                "display_name": "Nodes",
                "choices": {
                    "cpu": {
                        "display_name": "cpu",
                        "default": True,
                        "kubespawner_override": {
                            "node_selector": {"zone": "a", "pool": "cpu"},
                            "tolerations": [
                                {"key": "team", "operator": "Equal", "value": "x", "effect": "NoSchedule"},
                                {"key": "cpu", "operator": "Exists"},
                            ],
                        },
                    },
                    "gpu": {
                        "display_name": "gpu, with 2 GPUs",
                        "kubespawner_override": {
                            "node_selector": {"zone": "a", "pool": "gpu"},
                            "tolerations": [
                                {"key": "team", "operator": "Equal", "value": "x", "effect": "NoSchedule"},
                                {"key": _GPU, "operator": "Exists"},
                            ],
                            "extra_resource_limits": {_GPU: "2"},
                        },
                    },
                },
            }
        },
    }
    profiles = profile_list(*_fleet())
    assert ["open", "model", "twin"] == [profile["slug"] for profile in profiles]
    assert expected == profiles[1]
    assert {
        "slug": "twin",
        "display_name": "twin",
        "kubespawner_override": {"image": _image("a")},
    } == profiles[2]


def test_values_of_the_chart() -> None:
    """Images by digest, each once, in the order of use after the default; pullers go where servers go."""
    values = yaml.safe_load(hub_config("z2jh", *_fleet()))
    assert {"hub", "singleuser", "prePuller"} == set(values)
    assert {"cmd", "image", "profileList"} == set(values["singleuser"])
    name = "registry.example.org/envs@sha256"
    assert {"name": name, "tag": "b" * 64, "pullSecrets": ["login"]} == values["singleuser"]["image"]
    assert profile_list(*_fleet()) == values["singleuser"]["profileList"]
    assert {
        "pullProfileListImages": False,
        "extraTolerations": [
            {"key": "cpu", "operator": "Exists"},
            {"key": _GPU, "operator": "Exists"},
            {"key": "team", "operator": "Equal", "value": "x", "effect": "NoSchedule"},
        ],
        "extraImages": {"001-twin": {"name": name, "tag": "a" * 64}},
    } == values["prePuller"]
    (code,) = values["hub"]["extraConfig"].values()
    compile(code, "extraConfig", "exec")


# Keys of the chart that envbuild writes, with the types that the chart's own schema (values.schema.yaml of
# zero-to-jupyterhub-k8s 4) has for them.
_SCHEMA: dict[str, Any] = {
    "hub": {"extraConfig": dict},
    "singleuser": {
        "cmd": str,
        "image": {"name": str, "tag": str, "pullSecrets": list},
        "profileList": list,
    },
    "prePuller": {"pullProfileListImages": bool, "extraTolerations": list, "extraImages": dict},
}


def _unfit(values: Any, schema: Any, path: str = "") -> list[str]:
    if isinstance(schema, type):
        return [] if isinstance(values, schema) else [path]
    return [
        wrong
        for key, value in values.items()
        for wrong in (_unfit(value, schema[key], f"{path}.{key}") if key in schema else [f"{path}.{key}"])
    ]


def test_values_fit_the_schema_of_the_chart() -> None:
    fleet, pins = _fleet()
    for one in (fleet, replace(fleet, pull_secrets=(), environments=fleet.environments[:1])):
        assert [] == _unfit(yaml.safe_load(hub_config("z2jh", one, pins)), _SCHEMA)


class _Config(SimpleNamespace):
    """What ``c`` is in a configuration file, as far as it is assigned to."""

    def __getattr__(self, name: str) -> Any:
        value = SimpleNamespace()
        setattr(self, name, value)
        return value


class _HTTPError(Exception):
    """Tornado's."""

    def __init__(self, status: int, _message: str) -> None:
        super().__init__(status)
        self.status = status


@pytest.fixture
def hub_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of a hub's libraries as the files import; the real ones are in tests/integration."""

    class DockerSpawner:
        async def start(self) -> str:
            return "started"

    def module(name: str, **content: Any) -> None:
        made = ModuleType(name)
        made.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, made)

    module("tornado.web", HTTPError=_HTTPError)
    module("dockerspawner", DockerSpawner=DockerSpawner)
    module("docker.errors", NotFound=KeyError)
    module("traitlets", default=lambda name: lambda method: method)


def _loaded(text: str) -> dict[str, Any]:
    """What a hub has after loading the configuration."""
    names: dict[str, Any] = {"c": _Config()}
    exec(compile(text, "config", "exec"), names)
    return names


def _spawner(user: str, groups: tuple[str, ...] = (), options: Any = None, pending: str | None = None) -> Any:
    return SimpleNamespace(
        user=SimpleNamespace(name=user, groups=[SimpleNamespace(name=name) for name in groups]),
        authenticator=SimpleNamespace(normalize_username=str.lower),
        user_options=options,
        pending=pending,
        args=["--first"],
        tolerations=[{"key": "hub"}],
    )


@pytest.mark.usefixtures("hub_modules")
@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("ada", (), ["open", "model", "twin"]),
        ("bob", ("staff",), ["open", "model", "twin"]),
        ("bob", ("students",), ["open", "twin"]),
        ("staff", (), ["open", "twin"]),
    ],
)
def test_profiles_are_those_that_a_user_may_use(
    user: str, groups: tuple[str, ...], expected: list[str]
) -> None:
    """By name as the hub writes names, or by group; what the hub had configured before is kept."""
    loaded = _loaded(hub_config("kubespawner", *_fleet()))
    profiles = loaded["c"].KubeSpawner.profile_list(_spawner(user, groups))
    assert expected == [profile["slug"] for profile in profiles]
    override = profiles[0]["kubespawner_override"]
    assert [{"key": "hub"}, {"key": "cpu", "operator": "Exists"}] == override["tolerations"]
    assert "args" not in override
    if "model" in expected:
        assert "--first" == profiles[1]["kubespawner_override"]["args"][0]


@pytest.mark.usefixtures("hub_modules")
def test_options_that_the_form_does_not_send_are_dropped() -> None:
    """KubeSpawner checks no choice without a profile, so a pool's nodes could be left out."""
    loaded = _loaded(hub_config("kubespawner", *_fleet()))
    for options, kept in (
        ({"profile": "model", "pool": "gpu", "image": "x"}, {"profile": "model", "pool": "gpu"}),
        ({"profile": "", "pool--unlisted-choice": "x", "pool": "gpu"}, {"profile": ""}),
    ):
        spawner = _spawner("ada", options=options)
        loaded["c"].KubeSpawner.profile_list(spawner)
        assert kept == spawner.user_options


@pytest.mark.usefixtures("hub_modules")
def test_a_choice_of_last_time_matters_only_when_a_server_starts() -> None:
    """Somebody who may no longer use it can still see the form, and choose another one."""
    profile_list = _loaded(hub_config("kubespawner", *_fleet()))["c"].KubeSpawner.profile_list
    assert 2 == len(profile_list(_spawner("bob", options={"profile": "model"})))
    for chosen in ("model", ["model"], "none"):
        with pytest.raises(_HTTPError) as raised:
            profile_list(_spawner("bob", options={"profile": chosen}, pending="spawn"))
        assert 403 == raised.value.status


@pytest.mark.usefixtures("hub_modules")
def test_who_may_use_nothing_gets_nothing() -> None:
    """Not KubeSpawner's own default image either."""
    fleet, pins = _fleet()
    only = replace(fleet, environments=fleet.environments[1:2])
    with pytest.raises(_HTTPError) as raised:
        _loaded(hub_config("kubespawner", only, pins))["c"].KubeSpawner.profile_list(_spawner("bob"))
    assert 403 == raised.value.status


@pytest.mark.usefixtures("hub_modules")
@pytest.mark.parametrize(
    ("user", "options", "expected"),
    [
        ("ada", {}, ("model", "cpu")),
        ("ada", None, ("model", "cpu")),
        ("ada", {"profile": "model", "devices": "gpu"}, ("model", "gpu")),
        ("ada", {"profile": "open", "devices": "gpu"}, 400),
        ("bob", {}, ("open", "cpu")),
        ("bob", {"profile": "model"}, 403),
        ("bob", {"profile": ["model"]}, 403),
        ("bob", {"profile": "../model"}, 403),
    ],
)
def test_what_dockerspawner_starts(user: str, options: Any, expected: Any) -> None:
    loaded = _loaded(hub_config("dockerspawner", *_fleet()))
    spawner = loaded["EnvbuildSpawner"]()
    vars(spawner).update(vars(_spawner(user, options=options)))
    if isinstance(expected, int):
        with pytest.raises(_HTTPError) as raised:
            spawner.envbuild_chosen()
        assert expected == raised.value.status
    else:
        profile, devices = spawner.envbuild_chosen()
        assert expected == (profile["slug"], devices)


_HOSTILE = st.text(
    string.printable + "\"'\\{}%$<>&#é日\u2028\U0001f600\x00\x7f", max_size=40
) | st.sampled_from(
    ['"""', "'''", "{{ 1 }}", "{% raw %}", "\\N{DIGIT ONE}", "%s", "1e3", "yes", "- a: b", "# c"]
)


@given(
    title=_HOSTILE.map(lambda text: text.replace("\n", " ")),
    description=_HOSTILE,
    value=_HOSTILE,
    user=_HOSTILE,
)
def test_texts_are_texts_wherever_they_get(title: str, description: str, value: str, user: str) -> None:
    """Whatever people write, the files are valid, say the same, and give a page no markup of theirs."""
    environment = Environment(
        "a", _SOURCE, display_name=title, description=description, variables=(("V", value),), users=(user,)
    )
    fleet = replace(_fleet()[0], environments=(environment,))
    pins = {"a": Pin("a", parse_reference(_image("a")))}
    expected = profile_list(fleet, pins)
    for shown in (expected[0]["display_name"], expected[0].get("description", "").replace("<br>", "")):
        assert set("<>\"'{}%").isdisjoint(shown)
    values = yaml.safe_load(hub_config("z2jh", fleet, pins))
    assert expected == values["singleuser"]["profileList"]
    (code,) = values["hub"]["extraConfig"].values()
    for text in (code, hub_config("kubespawner", fleet, pins), hub_config("dockerspawner", fleet, pins)):
        assigned = dict(_assignments(text))
        assert {"a": {"users": [user], "groups": []}} == assigned["ENVBUILD_ACCESS"]
    assert {"V": value} == assigned["ENVBUILD_PROFILES"][0]["settings"]["environment"]


def _assignments(text: str) -> list[tuple[str, Any]]:
    """Constants in Python code, read and not run."""
    return [
        (node.targets[0].id, ast.literal_eval(node.value))
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Dict | ast.List)
    ]


def test_the_same_files_give_the_same_configuration() -> None:
    for form in _FORMATS:
        assert hub_config(form, *_fleet()) == hub_config(form, *_fleet())


def test_literals_have_a_line_for_each_element() -> None:
    value = {"a": ["b" * 60, "c" * 60], "d": None}
    expected = f'{{\n    "a": [\n        "{"b" * 60}",\n        "{"c" * 60}",\n    ],\n    "d": None,\n}}'
    assert expected == python_literal(value)
