"""Two configs, statement by statement."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.proof.configuration import ConfigChange, config_difference

words = st.sampled_from(["a", "b"])
environments = st.dictionaries(words, words).map(lambda found: [f"{k}={v}" for k, v in sorted(found.items())])
configs = st.fixed_dictionaries(
    {},
    optional={
        "created": words,
        "config": st.fixed_dictionaries(
            {},
            optional={"Env": environments, "Labels": st.dictionaries(words, words), "Cmd": st.lists(words)},
        ),
        "history": st.lists(st.fixed_dictionaries({"created_by": words}), max_size=2),
    },
)


def _bare(config: dict[str, object]) -> dict[str, object]:
    """Without what is there and says nothing."""
    kept = {key: _bare(value) if isinstance(value, dict) else value for key, value in config.items()}
    return {key: value for key, value in kept.items() if value not in ({},) and (key, value) not in EMPTY}


EMPTY = [("Env", []), ("Labels", {}), ("history", [])]


@settings(max_examples=60)
@given(configs, configs)
def test_configs_that_say_something_else_have_a_change(
    one: dict[str, object], two: dict[str, object]
) -> None:
    assert (_bare(one) != _bare(two)) == bool(config_difference(one, two))


@settings(max_examples=60)
@given(configs, configs)
def test_the_way_back_is_turned_round(one: dict[str, object], two: dict[str, object]) -> None:
    there = config_difference(one, two)

    assert there == tuple(
        ConfigChange(change.name, change.after, change.before) for change in config_difference(two, one)
    )


def test_each_statement_by_its_name() -> None:
    before = {
        "config": {"Env": ["PATH=/bin", "A=1"], "Labels": {"x": "1"}, "User": "1000"},
        "history": [{"created_by": "a"}],
    }
    after = {"config": {"Env": ["A=2", "PATH=/bin"], "Labels": {}, "User": "0"}, "history": []}

    assert (
        ConfigChange("User", "1000", "0"),
        ConfigChange("history 1", '{"created_by": "a"}', None),
        ConfigChange("label x", "1", None),
        ConfigChange("variable A", "1", "2"),
    ) == config_difference(before, after)


def test_an_environment_that_sets_a_name_twice_is_compared_as_it_is() -> None:
    """Which of the two counts depends on who reads it."""
    before, after = {"config": {"Env": ["A=1", "A=2"]}}, {"config": {"Env": ["A=2", "A=1"]}}

    assert (ConfigChange("Env", '["A=1", "A=2"]', '["A=2", "A=1"]'),) == config_difference(before, after)


def test_layers_and_platform_are_no_statements() -> None:
    before = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["1"]}}
    after = {"os": "linux", "architecture": "arm64", "variant": "v8", "rootfs": {"diff_ids": ["2"]}}

    assert () == config_difference(before, after)
