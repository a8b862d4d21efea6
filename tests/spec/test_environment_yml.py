"""``environment.yml`` and ``pixi.toml``: what is asked of conda and of pip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envbuild.spec import Spec
from envbuild.spec.match_spec import parse_match_spec
from envbuild.spec.model import CondaRequest, PythonRequest, Requirement

SpecOf = Callable[..., Spec]

ENVIRONMENT = """\
name: analysis
channels:
  - lab/label/dev
  - https://repo.example.org/channel/
  - defaults
dependencies:
  - python=3.10
  - conda-forge::numpy >=1.20, <2
  - R-base==4.3.1=h1_0
  - pip
  - pip:
    - requests>=2  # why
    - -r more.txt
    - -e .
"""


def _problems(spec: Spec) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in spec.problems]


def test_everything_is_read_with_its_line(spec_of: SpecOf) -> None:
    project = '[project]\nname = "p"\nversion = "1"\n[build-system]\nrequires = []\nbuild-backend = "b"\n'
    spec = spec_of({"environment.yml": ENVIRONMENT, "more.txt": "six\n", "pyproject.toml": project})
    file = "environment.yml"

    assert (
        CondaRequest(
            file,
            ("lab/label/dev", "https://repo.example.org/channel", "pkgs/main", "pkgs/r", "conda-forge"),
            (
                Requirement("python 3.10.*", file, 7),
                Requirement("conda-forge::numpy >=1.20,<2", file, 8),
                Requirement("r-base ==4.3.1 h1_0", file, 9),
                Requirement("pip", file, 10),
            ),
        )
        == spec.conda
    )
    assert (PythonRequest("==3.10.*", file, 7),) == spec.python
    assert (Requirement("requests>=2", file, 12), Requirement("six", "more.txt", 1)) == spec.requirements
    assert [(".", 14, True)] == [(one.location, one.line, one.editable) for one in spec.sources]


def test_the_community_channel_is_added_as_on_binder(spec_of: SpecOf) -> None:
    def channels(text: str) -> tuple[str, ...]:
        spec = spec_of({"environment.yml": text + "dependencies: [python]\n"})
        return spec.conda.channels if spec.conda else ()

    assert ("conda-forge",) == channels("")
    assert ("bioconda", "conda-forge") == channels("channels: [bioconda]\n")
    assert ("bioconda",) == channels("channels: [bioconda, nodefaults]\n")


def test_files_that_would_choose_a_python_are_named(spec_of: SpecOf) -> None:
    spec = spec_of(
        {
            "environment.yml": "dependencies: [python=3.12]\n",
            "runtime.txt": "python-3.9",
            ".python-version": "3.8",
            "requirements.txt": "numpy",
        }
    )
    reasons = {file.path: (file.used, file.reason) for file in spec.files}

    assert (False, "environment.yml decides which Python there is") == reasons["runtime.txt"]
    assert (False, "environment.yml decides which Python there is") == reasons[".python-version"]
    assert (False, "environment.yml comes first") == reasons["requirements.txt"]
    assert ["==3.12.*"] == [request.specifier for request in spec.python]


def test_what_is_not_followed_is_named(spec_of: SpecOf) -> None:
    text = (
        "channels: [nodefaults, lab]\ndependencies: [python]\nprefix: /me\nvariables:\n  A: b\nsurprise: 1\n"
    )

    assert [("unknown-key", 6), ("not-followed", 3)] == _problems(spec_of({"environment.yml": text}))


def test_lines_for_other_platforms_are_left_out(spec_of: SpecOf) -> None:
    text = (
        "channels: [nodefaults, lab]\ndependencies:\n"
        "- a  # [linux]\n- b  # [win]\r\n- c # as on a Mac [osx]\n- d #[not win]\n- e # [not  linux]\n"
        "- f # [py>3]\n- g # a word [here] and [there]\n- h[build=x]#[win]\n"
        "# [win]\n- i # [linux64]\n- pip: # [unix]\n  - j # [win64]\n  - k\n"
    )
    spec = spec_of({"environment.yml": text})

    assert spec.conda is not None
    assert ["a", "d", "f", "g", "i"] == [one.text for one in spec.conda.packages]
    assert ["k"] == [one.text for one in spec.requirements]
    assert [("bad-conda-spec", 10), ("unknown-selector", 8)] == _problems(spec)[:2]
    assert {("other-platform", line) for line in (4, 5, 7, 14)} == set(_problems(spec)[2:])


def test_variables_are_what_is_written(spec_of: SpecOf) -> None:
    text = "dependencies: [python]\nvariables:\n  ZONE: Europe/Bern\n  DEBUG: true\n  EMPTY: ''\n"
    spec = spec_of({"environment.yml": text})

    assert spec.conda is not None
    assert (("DEBUG", "true"), ("EMPTY", ""), ("ZONE", "Europe/Bern")) == spec.conda.variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("bad-environment-yml", 1)),
        ("dependencies: numpy\n", ("bad-yaml", 1)),
        ("- numpy\n", ("bad-yaml", 1)),
        ("dependencies:\n- python\n- [a]\n", ("bad-yaml", 3)),
        ("dependencies:\n- python\n- 'a; rm -rf /'\n", ("bad-conda-spec", 3)),
        ("dependencies:\n- --override\n", ("bad-conda-spec", 2)),
        ("dependencies:\n- npm: [a]\n", ("bad-conda-spec", 2)),
        ("dependencies:\n- pip:\n  - --index-url https://x.example\n", ("index-in-repository", 3)),
        ("dependencies: []\nchannels:\n- https://me:secret@example.org/lab\n", ("bad-channel", 3)),
        ("dependencies: []\nchannels:\n- https://example.org/t/secret/lab\n", ("bad-channel", 3)),
        ("dependencies: []\nchannels:\n- file:///etc\n", ("bad-channel", 3)),
        ("dependencies: []\nchannels:\n- ../../etc\n", ("bad-channel", 3)),
        ("dependencies: []\nvariables: a\n", ("bad-yaml", 2)),
        ("dependencies: []\nvariables:\n  A: b\n  PATH: /mine\n", ("bad-variable", 4)),
        ("dependencies: []\nvariables:\n  LD_PRELOAD: x.so\n", ("bad-variable", 3)),
        ("dependencies: []\nvariables:\n  A=B: c\n", ("bad-variable", 3)),
        ("dependencies: []\nvariables:\n  A:\n", ("bad-variable", 3)),
        ("dependencies: []\nvariables:\n  A: [b]\n", ("bad-variable", 3)),
        ('dependencies: []\nvariables:\n  A: "b\\nc"\n', ("bad-variable", 3)),
        ("dependencies:\n- python=3.1\ndependencies:\n- python=3.2\n", ("bad-yaml", 3)),
    ],
)
def test_mistakes_have_a_line(spec_of: SpecOf, text: str, expected: tuple[str, int]) -> None:
    spec = spec_of({"environment.yml": text})
    errors = [(problem.code, problem.line) for problem in spec.problems if problem.level == "error"]

    assert [expected] == errors
    assert not any("secret" in problem.message for problem in spec.problems)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("numpy", "numpy"),
        ("NumPy=1.20", "numpy 1.20.*"),
        ("numpy =1.20", "numpy 1.20.*"),
        ("numpy=1.*", "numpy 1.*"),
        ("numpy 1.20", "numpy ==1.20"),
        ("numpy==1.20", "numpy ==1.20"),
        ("numpy>=1,<2", "numpy >=1,<2"),
        ("numpy >= 1 , < 2", "numpy >=1,<2"),
        ("numpy=1.20|=1.22", "numpy =1.20|=1.22"),
        ("numpy=1.20=py310_0", "numpy ==1.20 py310_0"),
        ("numpy 1.20 py310*", "numpy ==1.20 py310*"),
        ("numpy=*=*cuda*", "numpy * *cuda*"),
        ("numpy[version='>=1',build=py_0]", "numpy >=1 py_0"),
        ("lab::numpy", "lab::numpy"),
        ("https://repo.example.org/lab::numpy", "https://repo.example.org/lab::numpy"),
    ],
)
def test_spellings_of_one_package(text: str, canonical: str) -> None:
    """rattler, which solves, reads what we make of a spec as it reads the spec itself."""
    import rattler

    spec = parse_match_spec(text)

    assert spec is not None
    assert canonical == spec.text
    assert str(rattler.MatchSpec(text.lower())) == str(rattler.MatchSpec(canonical))


@pytest.mark.parametrize(
    "text", ["", "*", "-n", "a b c d", "a;b", "a\n--x", "a[md5=0]", "a[", "a >=", "./x.conda"]
)
def test_no_specs(text: str) -> None:
    assert parse_match_spec(text) is None


@settings(max_examples=60, deadline=None)
@given(st.text("ab1.=<>!~*|,:[]'\" \n-_", max_size=30))
@example("1<*")
@example("1 1*1")
def test_what_is_accepted_is_read_by_rattler(text: str) -> None:
    import rattler
    from rattler.exceptions import InvalidMatchSpecError, InvalidVersionSpecError

    spec = parse_match_spec(text)
    if spec is None:
        return
    assert parse_match_spec(spec.text) == spec
    assert "\n" not in spec.text
    try:
        rattler.MatchSpec(spec.text)
    except (InvalidMatchSpecError, InvalidVersionSpecError):
        # It is a version that only rattler can judge, and locking names it; never the rest.
        rattler.MatchSpec(replace(spec, version="").text)


PIXI = """\
[workspace]
name = "demo"
channels = ["conda-forge", { channel = "https://repo.example.org/lab", priority = 1 }]
platforms = ["linux-64"]

[dependencies]
python = "3.12.*"
numpy = { version = ">=1,<2", channel = "conda-forge" }

[pypi-dependencies]
requests = ">=2"
pandas = { version = "*", extras = ["excel"] }

[tasks]
start = "python x.py"

[feature.test.dependencies]
pytest = "*"
"""


def test_pixi_toml(spec_of: SpecOf) -> None:
    spec = spec_of({"pixi.toml": PIXI})

    assert (
        CondaRequest(
            "pixi.toml",
            ("https://repo.example.org/lab", "conda-forge"),
            (
                Requirement("python 3.12.*", "pixi.toml", 7),
                Requirement("conda-forge::numpy >=1,<2", "pixi.toml", 8),
            ),
        )
        == spec.conda
    )
    assert [("requests>=2", 11), ("pandas[excel]", 12)] == [(one.text, one.line) for one in spec.requirements]
    assert "demo" == spec.name
    assert ["not-followed"] == [problem.code for problem in spec.problems]


def test_pixi_in_pyproject(spec_of: SpecOf) -> None:
    project = '[project]\nname = "p"\nrequires-python = ">=3.11"\ndependencies = ["six"]\n'
    pixi = "[tool.pixi.workspace]\nchannels = ['lab']\n[tool.pixi.dependencies]\nnumpy = '*'\n"
    spec = spec_of({"pyproject.toml": project + pixi})

    assert spec.conda is not None
    assert ["numpy"] == [package.text for package in spec.conda.packages]
    assert ["six"] == [requirement.text for requirement in spec.requirements]


@pytest.mark.parametrize(
    "table",
    [
        "dependencies = 3",
        "[dependencies]\nnumpy = { git = 'https://x.example/y' }",
        "[dependencies]\nnumpy = 3",
        "[pypi-dependencies]\nnumpy = { version = 3 }",
        '[pypi-dependencies]\nnumpy = "*\\n--index-url x"',
        "[target.linux-64.dependencies]\nnumpy = '*'",
        "[workspace]\nchannels = ['https://a:b@c.example/d']",
    ],
)
def test_mistakes_in_pixi_toml(spec_of: SpecOf, table: str) -> None:
    head = "" if "workspace" in table else "[workspace]\nchannels = ['lab']\n"
    text = f"{table}\n{head}" if table.startswith("dep") else f"{head}{table}\n"
    spec = spec_of({"pixi.toml": text})

    assert "error" in [problem.level for problem in spec.problems]
