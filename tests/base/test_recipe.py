from __future__ import annotations

import pytest

from envbuild.base.recipe import BaseRecipe, check_python, choose, debian_keyring, load_recipes, recipe_named
from envbuild.errors import MachineError, RepoError
from envbuild.spec.model import PythonRequest

RECIPES = load_recipes()


def request(specifier: str, file: str = "pyproject.toml", *, hint: bool = False) -> PythonRequest:
    return PythonRequest(specifier, file, 3, hint)


def test_what_is_on_offer() -> None:
    assert [
        ("python-3.11", "3.11.2", "bookworm", "2.36"),
        ("python-3.13", "3.13.5", "trixie", "2.40"),
    ] == [(recipe.name, recipe.python, recipe.suite, recipe.glibc) for recipe in RECIPES]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_exclusion_and_every_script_has_a_reason(recipe: BaseRecipe) -> None:
    assert [] == [
        name for name, why in [*recipe.excluded.items(), *recipe.scripts.items()] if not why.strip()
    ]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_nothing_is_both_wanted_and_excluded(recipe: BaseRecipe) -> None:
    assert set() == set(recipe.packages) & set(recipe.excluded)


def test_the_keys_are_shipped() -> None:
    assert debian_keyring().is_file()


def test_a_recipe_by_name() -> None:
    assert RECIPES[0] == recipe_named("python-3.11")


def test_a_lock_may_name_a_recipe_that_is_not_there() -> None:
    with pytest.raises(MachineError, match=r"python-2\.7"):
        recipe_named("python-2.7")


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([], "3.13.5"),
        ([request(">=3.9")], "3.13.5"),
        ([request(">=3.9,<3.13")], "3.11.2"),
        ([request("==3.11.*")], "3.11.2"),
        ([request("~=3.11.0")], "3.11.2"),
        # Debian's 3.11 is older than this; its 3.13 is not
        ([request(">=3.11.5")], "3.13.5"),
        ([request(">=3.11.5"), request("==3.11.*", "a.ipynb", hint=True)], "3.13.5"),
        ([request(">=3.10"), request("<3.12", "setup.py")], "3.11.2"),
        ([request("==3.11.7", "runtime.txt")], "3.11.2"),
        ([request("==3.11.7", "binder/runtime.txt")], "3.11.2"),
        ([request("==3.13", ".python-version")], "3.13.5"),
        ([request("==3.11.*", "a.ipynb", hint=True)], "3.11.2"),
        ([request("==3.11.7", "a.ipynb", hint=True)], "3.11.2"),
        ([request("==3.8.*", "a.ipynb", hint=True)], "3.13.5"),
        ([request(">=3.12"), request("==3.11.*", "a.ipynb", hint=True)], "3.13.5"),
        ([request("==3.11.*", "a.ipynb", hint=True)] * 2 + [request("==3.13.*", "b", hint=True)], "3.11.2"),
        ([request("==3.11.*", "a.ipynb", hint=True), request("==3.13.*", "b", hint=True)], "3.13.5"),
    ],
)
def test_choose(requests: list[PythonRequest], expected: str) -> None:
    assert expected == choose(tuple(requests), RECIPES).python


@pytest.mark.parametrize(
    "requests",
    [
        [request("<3.11")],
        [request("==3.12.*", "runtime.txt")],
        [request("==3.12.4", "runtime.txt")],
        # exact versions are meant where ranges are usual
        [request("==3.11.7")],
        [request(">=3.9", "first.toml"), request(">=3.12", "second.toml"), request("<3.12")],
    ],
)
def test_what_nobody_offers_is_an_error_that_says_where_and_what_there_is(
    requests: list[PythonRequest],
) -> None:
    with pytest.raises(RepoError) as caught:
        choose(tuple(requests), RECIPES)

    assert "python-not-offered" == caught.value.code
    assert f"{requests[-1].file}:3" == caught.value.place
    assert "3.11.2, 3.13.5" in caught.value.message
    assert "`--python 3.13`" in (caught.value.remedy or "")


def test_a_specifier_that_is_none_is_an_error_at_its_line() -> None:
    with pytest.raises(RepoError, match=r"^pyproject.toml:3: `latest` is not"):
        choose((request("latest"),), RECIPES)


def test_another_patch_release_is_noted() -> None:
    (note,) = check_python((request("==3.11.7", "runtime.txt"), request(">=3.11")), "3.11.2", RECIPES[0])

    assert ("note", "runtime.txt", 3) == (note.level, note.file, note.line)
    assert "asks for Python ==3.11.7; the image has 3.11.2" == note.message


def test_requires_python_is_strict_about_the_patch_release() -> None:
    with pytest.raises(RepoError, match=r"pyproject.toml:3: asks for Python >=3\.11\.5"):
        check_python((request(">=3.11.5"),), "3.11.2", RECIPES[0])


def test_hints_are_never_wrong() -> None:
    assert () == check_python((request("==2.7.*", "old.ipynb", hint=True),), "3.13.5", RECIPES[0])
