from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from envbuild.engine import Engine, choose
from envbuild.errors import MachineError


@dataclass
class Fake:
    name: str
    reason: str | None
    asked: int = 0

    def unavailable(self) -> str | None:
        self.asked += 1
        return self.reason


def _choose(name: str, *engines: Fake) -> Engine:
    return choose(name, [cast(Engine, engine) for engine in engines])


def test_auto_takes_the_first_that_works_and_asks_no_further() -> None:
    works, never = Fake("b", None), Fake("c", None)
    assert _choose("auto", Fake("a", "broken"), works, never) is works  # type: ignore[comparison-overlap]
    assert never.asked == 0


def test_a_named_engine_is_taken_though_another_comes_first() -> None:
    wanted = Fake("b", None)
    assert _choose("b", Fake("a", None), wanted) is wanted  # type: ignore[comparison-overlap]


def test_none_that_works_is_one_error_with_every_reason() -> None:
    with pytest.raises(MachineError) as caught:
        _choose("auto", Fake("a", "no namespaces"), Fake("b", "no daemon"))
    assert "a: no namespaces. b: no daemon" in caught.value.message


def test_a_named_engine_that_does_not_work_is_not_replaced() -> None:
    with pytest.raises(MachineError, match="engine a does not work on this machine: a: broken"):
        _choose("a", Fake("a", "broken"), Fake("b", None))
