"""``Pipfile`` without a lock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.errors import UsageError
from envbuild.source import Repo
from envbuild.spec import Spec
from envbuild.spec.findings import Findings
from envbuild.spec.model import PythonRequest
from envbuild.spec.pipfile import read_pipfile
from tests.spec.conftest import Files

SpecOf = Callable[..., Spec]

PIPFILE = """\
[[source]]
url = "https://example.org/simple"
verify_ssl = true
name = "pypi"

[packages]
NumPy = "*"
requests = { version = ">=2.31", extras = ["socks"] }
colorama = { version = "==0.4", sys_platform = "== 'win32'", markers = "os_name == 'nt'" }

[dev-packages]
pytest = "8.0"

[docs]
sphinx = "~=8.0"

[requires]
python_version = "3.11"
"""


def texts(spec: Spec) -> list[str]:
    return [requirement.text for requirement in spec.requirements]


def codes(spec: Spec) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in spec.problems if problem.level == "error"]


def test_packages(spec_of: SpecOf) -> None:
    spec = spec_of({"Pipfile": PIPFILE})

    assert [
        "numpy",
        "requests[socks]>=2.31",
        "colorama==0.4 ; (os_name == 'nt') and (sys_platform == 'win32')",
    ] == texts(spec)
    assert [7, 8, 9] == [requirement.line for requirement in spec.requirements]
    assert (PythonRequest("==3.11.*", "Pipfile", 18),) == spec.python
    assert [] == codes(spec)


def test_groups_are_the_other_sections(spec_of: SpecOf) -> None:
    assert ["pytest==8.0", "sphinx~=8.0"] == texts(spec_of({"Pipfile": PIPFILE}, groups=("dev", "docs")))[3:]
    with pytest.raises(UsageError) as caught:
        spec_of({"Pipfile": PIPFILE}, groups=("other",))
    assert ("unknown-group", "choose from: dev, docs") == (caught.value.code, caught.value.remedy)


def test_packages_from_elsewhere(spec_of: SpecOf) -> None:
    spec = spec_of(
        {
            "Pipfile": (
                "[packages]\n"
                'a = { git = "https://example.org/a", ref = "v1" }\n'
                'b = { file = "https://example.org/b-1.zip" }\n'
                'c = { path = "lib", editable = true }\n'
            ),
            "lib/setup.py": "",
        }
    )

    assert [("vcs", "a", "v1"), ("url", "b", None), ("path", "c", None)] == [
        (source.kind, source.name, source.revision) for source in spec.sources
    ]
    assert [] == codes(spec)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ("[packages]\na = 1", "bad-requirement", 2),
        ("[packages]\na = { version = 1 }", "bad-requirement", 2),
        ('[packages]\na = { extras = "x" }', "bad-requirement", 2),
        ("[packages]\na = { markers = 1 }", "bad-requirement", 2),
        ('[packages]\na = "snake"', "bad-requirement", 2),
        ('[packages]\n"--index-url" = "*"', "bad-requirement", 2),
        ("[packages]\na = '*'\nA = '*'\na = '*'", "bad-toml", 4),
        ('[packages]\na = { version = "*", index = "own" }', "index-in-repository", 2),
        ("[requires]\npython_version = 3.10", "bad-pipfile", 2),
        ('[requires]\npython_version = "snake"', "bad-pipfile", 2),
        (PIPFILE.replace("[packages]", '[[source]]\nname = "own"\n[packages]'), "index-in-repository", 7),
    ],
)
def test_what_is_wrong(spec_of: SpecOf, content: str, code: str, line: int) -> None:
    assert [(code, line)] == codes(spec_of({"Pipfile": content}))


def test_the_patch_release_is_the_bases(spec_of: SpecOf) -> None:
    spec = spec_of({"Pipfile": '[requires]\npython_version = "3.9"\npython_full_version = "3.11.7"\n'})

    assert ["==3.11.*"] == [request.specifier for request in spec.python]


KEYS = st.sampled_from(
    ["packages", "dev-packages", "requires", "source", "a", "version", "git", "python_version"]
)
VALUES = st.recursive(
    st.sampled_from(["*", "1", ">=1", "https://example.org/x"]) | st.integers() | st.booleans(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(KEYS, children, max_size=4),
    max_leaves=10,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_shape_is_read(make_repo: Callable[[Files], Repo], data: dict[str, object]) -> None:
    findings = Findings()
    pipfile = read_pipfile(make_repo({"Pipfile": tomli_w.dumps(data)}), "Pipfile")
    pipfile.python(findings)
    pipfile.check_sources(findings, locked=False)
    assert all(
        isinstance(text, str) for text, _ in pipfile.dependencies(pipfile.groups, findings, locked=False)
    )
    assert all(problem.file == "Pipfile" for problem in findings.problems)
