from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from envbuild.spec import Spec
from envbuild.spec.findings import Findings
from envbuild.spec.languages import read_kernels
from envbuild.spec.model import CondaRequest, Notebook, OtherKernel, Requirement
from tests.spec.documents import notebook

SpecOf = Callable[[Mapping[str, str | bytes]], Spec]


def test_r_of_debian_gets_its_kernel(spec_of: SpecOf) -> None:
    spec = spec_of({"apt.txt": "r-base\n", "a.ipynb": notebook(kernel="ir", language="R")})

    assert (OtherKernel("ir", "r", "a.ipynb"),) == spec.other_kernels
    assert [("r-base", "apt.txt", 1), ("r-cran-irkernel", "a.ipynb", None)] == [
        (package.name, package.file, package.line) for package in spec.apt
    ]
    assert ("kernel-added", "r-cran-irkernel is added, because this notebook is in R") in [
        (problem.code, problem.message) for problem in spec.problems
    ]
    assert () == spec.kernels


def test_nothing_is_added_to_what_is_complete(spec_of: SpecOf) -> None:
    spec = spec_of({"apt.txt": "r-cran-irkernel\n", "a.ipynb": notebook(kernel="ir", language="R")})

    assert ["r-cran-irkernel"] == [package.name for package in spec.apt]
    assert "kernel-added" not in [problem.code for problem in spec.problems]


def test_octave_and_bash_get_packages_of_the_index(spec_of: SpecOf) -> None:
    spec = spec_of(
        {
            "apt.txt": "octave\n",
            "requirements.txt": "numpy\n",
            "a.ipynb": notebook(kernel="octave", language="octave"),
            "b.ipynb": notebook(kernel="bash", language="bash"),
        }
    )

    assert ("bash-kernel", "octave-kernel") == spec.kernel_packages
    assert ["bash", "octave"] == [kernel.name for kernel in spec.other_kernels]
    assert ["numpy"] == [requirement.text for requirement in spec.requirements]


def test_a_kernel_that_is_required_is_not_added(spec_of: SpecOf) -> None:
    files = {
        "requirements.txt": "Octave_Kernel>=0.35\n",
        "apt.txt": "octave\n",
        "a.ipynb": notebook(kernel="octave", language="octave"),
    }

    assert () == spec_of(files).kernel_packages


def test_a_language_without_kernel_name_gets_the_usual_one(spec_of: SpecOf) -> None:
    spec = spec_of({"apt.txt": "octave\n", "a.ipynb": notebook(kernel=None, language="octave")})

    assert ["octave"] == [kernel.name for kernel in spec.other_kernels]


@pytest.mark.parametrize(
    ("language", "message", "remedy"),
    [
        (
            "R",
            "this notebook is in R (kernel 'some'), and",
            "add r-cran-irkernel to apt.txt, or r-irkernel to env",
        ),
        (
            "octave",
            "this notebook is in Octave (kernel 'some'), and",
            "add octave to apt.txt, or to environment.yml",
        ),
        (
            "julia",
            "this notebook is in 'julia' (kernel 'some'), and",
            "move the notebook out of the repository",
        ),
    ],
)
def test_a_language_that_cannot_be_had(spec_of: SpecOf, language: str, message: str, remedy: str) -> None:
    spec = spec_of({"a.ipynb": notebook(kernel="some", language=language), "requirements.txt": ""})

    (problem,) = [one for one in spec.problems if one.level == "warning"]
    assert ("kernel-not-supported", "a.ipynb") == (problem.code, problem.file)
    assert problem.message.startswith(message)
    assert (problem.remedy or "").startswith(remedy)


def test_one_name_for_two_languages_is_refused(spec_of: SpecOf) -> None:
    spec = spec_of(
        {
            "apt.txt": "octave\n",
            "a.ipynb": notebook(kernel="mine", language="octave"),
            "b.ipynb": notebook(kernel="Mine", language="python"),
            "c.ipynb": notebook(kernel="python3", language="bash"),
            "requirements.txt": "",
        }
    )

    assert [("kernel-conflict", "a.ipynb"), ("kernel-conflict", "c.ipynb")] == [
        (problem.code, problem.file) for problem in spec.problems if problem.level == "error"
    ]


def test_conda_with_r_gets_its_kernel_from_conda() -> None:
    conda = CondaRequest(
        "environment.yml", ("conda-forge",), (Requirement("conda-forge::R-base >=4", "environment.yml", 3),)
    )
    notebooks = [Notebook("a.ipynb", "ir", "R", None, ())]

    kernels = read_kernels(
        notebooks, apt=(), conda=conda, requirements=(), locked=frozenset(), findings=Findings()
    )

    assert kernels.conda is not None
    assert ["conda-forge::R-base >=4", "r-irkernel"] == [one.text for one in kernels.conda.packages]
    assert () == kernels.apt


def test_kernels_of_an_adopted_lock_count() -> None:
    kernels = read_kernels(
        [Notebook("a.ipynb", "bash", "bash", None, ())],
        apt=(),
        conda=None,
        requirements=(),
        locked=frozenset({"bash-kernel"}),
        findings=Findings(),
    )

    assert () == kernels.requirements


@pytest.mark.parametrize(
    ("locked", "conda_locked", "codes"),
    [
        ({"r-base", "r-irkernel"}, True, []),
        ({"xeus-r"}, True, []),
        ({"r-base"}, True, ["kernel-not-supported"]),
        ({"r-base", "r-irkernel"}, False, ["kernel-not-supported"]),
    ],
)
def test_a_lock_of_conda_has_the_kernel_or_not(
    locked: set[str], conda_locked: bool, codes: list[str]
) -> None:
    findings = Findings()
    read_kernels(
        [Notebook("a.ipynb", "ir", "R", None, ())],
        apt=(),
        conda=None,
        requirements=(),
        locked=frozenset(locked),
        conda_locked=conda_locked,
        findings=findings,
    )

    assert codes == [problem.code for problem in findings.problems]
