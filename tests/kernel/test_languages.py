from __future__ import annotations

import pytest

from envbuild.kernel.languages import Packages, chosen_way, installed_way, known_language, remedy


@pytest.mark.parametrize(
    ("language", "packages", "kernel"),
    [
        ("r", {"apt": {"r-base"}}, ("apt", "r-cran-irkernel")),
        ("r", {"apt": {"r-cran-dplyr"}}, ("apt", "r-cran-irkernel")),
        ("r", {"conda": {"r-base"}}, ("conda", "r-irkernel")),
        ("r", {"apt": {"r-base"}, "conda": {"r-irkernel"}}, ("conda", "r-irkernel")),
        ("r", {"conda": {"xeus-r"}}, ("conda", "xeus-r")),
        ("octave", {"apt": {"octave"}}, ("index", "octave-kernel")),
        ("octave", {"conda": {"octave"}}, ("index", "octave-kernel")),
        ("bash", {}, ("index", "bash-kernel")),
        ("sql", {"conda": {"xeus-sql"}}, ("conda", "xeus-sql")),
    ],
)
def test_what_a_repository_asks_for_decides_where_its_kernel_is_from(
    language: str, packages: Packages, kernel: tuple[str, str]
) -> None:
    way = chosen_way(language, packages)

    assert way is not None
    assert kernel == way.kernel


@pytest.mark.parametrize(
    ("language", "packages"),
    [("r", {}), ("octave", {"index": {"octave-kernel"}}), ("julia", {"apt": {"julia"}}), ("lua", {})],
)
def test_no_way_without_the_language(language: str, packages: Packages) -> None:
    assert chosen_way(language, packages) is None


def test_a_kernel_is_installed_only_with_all_it_needs() -> None:
    assert installed_way("octave", {"apt": {"octave"}}) is None
    assert installed_way("octave", {"index": {"octave-kernel"}}) is None

    way = installed_way("octave", {"apt": {"octave"}, "index": {"octave-kernel"}})

    assert way is not None
    assert ("/srv/env/bin/python3", "-m", "octave_kernel", "-f", "{connection_file}") == way.argv


def test_conda_names_of_kernels_count() -> None:
    way = chosen_way("bash", {"conda": {"bash_kernel"}})

    assert way is not None
    assert way.is_complete({"conda": {"bash_kernel"}})


def test_every_known_language_can_be_had_by_following_the_remedy() -> None:
    languages = ("r", "octave", "c++", "lua", "sql")

    assert all(known_language(language) for language in languages)
    assert ["add"] * len(languages) == [remedy(language).partition(" ")[0] for language in languages]


def test_xeus_programs_are_called_without_a_shell() -> None:
    way = installed_way("c++", {"conda": {"xeus-cling"}})

    assert way is not None
    assert ("/srv/env/bin/xcpp", "-f", "{connection_file}", "-std=c++17") == way.argv
