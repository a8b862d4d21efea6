"""requirements.txt and what it includes."""

from __future__ import annotations

import codecs
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.source import Repo
from envbuild.spec.findings import Findings
from envbuild.spec.model import Adopted, Problem, PythonRequest, Requirement, Spec
from envbuild.spec.requirements import Requirements, read_requirements
from tests.spec.conftest import Files

HASH = "sha256:" + "0a" * 32
OTHER_HASH = "sha256:" + "0b" * 32

Read = Callable[..., Requirements]
SpecOf = Callable[..., Spec]


@pytest.fixture
def read(make_repo: Callable[[Files], Repo], findings: Findings) -> Read:
    """Read requirements.txt with the given content, among other files."""

    def read(content: str | bytes, files: Files | None = None) -> Requirements:
        return read_requirements(
            make_repo({"requirements.txt": content, **(files or {})}), "requirements.txt", findings
        )

    return read


def _found(findings: Findings) -> list[tuple[str, str | None, int | None]]:
    return [(problem.code, problem.file, problem.line) for problem in findings.problems]


def test_lines(read: Read, findings: Findings) -> None:
    result = read(
        "# comment\n"
        "\n"
        "numpy\n"
        "  pandas[excel] >= 2 ; python_version < '3.13'   # why\n"
        "scipy \\\n"
        "    >=1 \\\n"
        "    # a comment ends it\n"
        "requests>=2,\\\n"
        "<3\n"
        "last"
    )
    assert [
        Requirement("numpy", "requirements.txt", 3),
        Requirement("pandas[excel] >= 2 ; python_version < '3.13'", "requirements.txt", 4),
        Requirement("scipy >=1", "requirements.txt", 5),
        Requirement("requests>=2,<3", "requirements.txt", 8),
        Requirement("last", "requirements.txt", 10),
    ] == result.requirements
    assert () == findings.problems


@pytest.mark.parametrize(
    "content",
    [
        b"numpy\r\npandas\r\n",
        b"numpy\rpandas",
        codecs.BOM_UTF8 + b"numpy\npandas",
        "numpy\npandas".encode("utf-16"),
        codecs.BOM_UTF32_BE + "numpy\npandas".encode("utf-32-be"),
        "# -*- coding: latin-1 -*-\nnumpy # caf\xe9\npandas".encode("latin-1"),
    ],
)
def test_encodings_and_line_ends(read: Read, findings: Findings, content: bytes) -> None:
    assert ["numpy", "pandas"] == [requirement.text for requirement in read(content).requirements]
    assert () == findings.problems


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"numpy\npandas\xff", 2),
        (b"# coding: no-such-codec\nnumpy", 1),
        (b"# coding: hex\nnumpy", 1),
        (b"numpy\n\0", None),
    ],
)
def test_what_is_no_text(read: Read, findings: Findings, content: bytes, line: int | None) -> None:
    read(content)
    assert [("bad-encoding", "requirements.txt", line)] == _found(findings)


def test_hashes(read: Read) -> None:
    result = read(
        f"numpy==2.0 --hash={OTHER_HASH} \\\n  --hash {HASH}\npandas==1 ; python_version>'3' --hash={HASH}\n"
    )

    assert [
        Requirement("numpy==2.0", "requirements.txt", 1, (HASH, OTHER_HASH)),
        Requirement("pandas==1 ; python_version>'3'", "requirements.txt", 3, (HASH,)),
    ] == result.requirements
    assert result.is_lock


@pytest.mark.parametrize(
    "content",
    [
        "",
        "numpy==2.0",
        f"numpy==2.0 --hash={HASH}\npandas==1",
        f"numpy>=2.0 --hash={HASH}",
        f"numpy==2.* --hash={HASH}",
        f"numpy==2.0,!=2.1 --hash={HASH}",
        "numpy==2.0 --hash=sha512:" + "0a" * 64,
    ],
)
def test_what_is_no_lock(read: Read, content: str) -> None:
    assert not read(content).is_lock


def test_partly_hashed_is_an_error_at_the_line_without(read: Read, findings: Findings) -> None:
    read(f"numpy==2.0 --hash={HASH}\npandas==1\nscipy>=1 --hash={HASH}\n")
    assert [("partly-hashed", "requirements.txt", 2), ("partly-hashed", "requirements.txt", 3)] == _found(
        findings
    )


def test_includes(read: Read, findings: Findings) -> None:
    """Relative to the file that includes; -r below -c stays a constraint; twice is once."""
    result = read(
        "-r sub/a.txt\n-rsub/a.txt\n--requirement=sub/a.txt\n-c c.txt\n",
        {"sub/a.txt": "a\n-r ../b.txt", "b.txt": "b", "c.txt": "c<1\n--requirement b.txt"},
    )
    assert ["a", "b"] == [requirement.text for requirement in result.requirements]
    assert ["c<1", "b"] == [requirement.text for requirement in result.constraints]
    assert {"sub/a.txt", "b.txt", "c.txt"} == set(result.included)
    assert () == findings.problems


@pytest.mark.parametrize(
    ("content", "files", "code"),
    [
        ("-r requirements.txt", {}, "requirements-cycle"),
        ("-r a.txt", {"a.txt": "-r ./x/../requirements.txt", "x/y": ""}, "requirements-cycle"),
        ("-r missing.txt", {}, "file-not-found"),
        ("-r ../../outside", {}, "outside-repository"),
        ("-c /etc/passwd", {}, "outside-repository"),
        ("-r sub", {"sub/x": ""}, "is-a-directory"),
        ("-r https://me:secret@example.org/r.txt", {}, "not-supported-yet"),
    ],
)
def test_bad_includes(read: Read, findings: Findings, content: str, files: Files, code: str) -> None:
    read(content, files)
    (problem,) = findings.problems

    assert code == problem.code
    assert problem.file in ("requirements.txt", "a.txt")
    assert 1 == problem.line
    assert "secret" not in problem.message


def test_endless_chains_end(read: Read, findings: Findings, make_repo: Callable[[Files], Repo]) -> None:
    """A link to the directory itself gives every file endless names."""
    (make_repo({}).root / "again").symlink_to(".")
    read("-r again/requirements.txt")

    assert {"requirements-cycle"} <= {problem.code for problem in findings.problems}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("git+https://me:secret@example.org/a.git", "credentials-in-url"),
        ("a @ git+ssh://git:secret@example.org/a@v1", "credentials-in-url"),
        ("a @ https://me:secret@example.org/a.whl", "credentials-in-url"),
        ("a @ https://example.org/a.whl?token=me:secret", "credentials-in-url"),
        ("-e .", "not-a-project"),
        ("--editable=./a", "file-not-found"),
        ("../a", "outside-repository"),
        ("a-1-py3-none-any.whl", "file-not-found"),
        ("file:///a", "outside-repository"),
        ("a===https://me:secret@example.org/a.whl", "bad-requirement"),
        ("--no-binary :all:", "no-binary-all"),
        ("--no-binary=a,--b", "bad-requirement"),
        ("--index-url https://me:secret@example.org/simple", "index-in-repository"),
        ("-i https://me:secret@example.org/simple", "index-in-repository"),
        ("--extra-index-url=https://me:secret@example.org/simple", "index-in-repository"),
        ("-f https://me:secret@example.org", "index-in-repository"),
        ("--no-index", "index-in-repository"),
        ("--trusted-host example.org", "index-in-repository"),
        ("--pre", "option-ignored"),
        ("--unknown secret", "bad-requirement"),
        ("a b secret", "bad-requirement"),
        ("a==", "bad-requirement"),
        ("a>=1.*", "bad-requirement"),
        ("a; nonsense", "bad-requirement"),
        ("a --unknown x", "bad-requirement"),
        ("a --hash=md5:00", "bad-hash"),
        ("a --hash", "bad-hash"),
        ("a" * 3000, "bad-requirement"),
    ],
)
def test_lines_that_are_not_followed(read: Read, findings: Findings, line: str, code: str) -> None:
    """Each is named at its place, and the lines around it are read."""
    result = read(f"before\n{line}\nafter")

    assert [(code, "requirements.txt", 2)] == _found(findings)
    assert {"before", "after"} <= {requirement.text for requirement in result.requirements}
    assert "me:secret" not in str(findings.problems)
    assert len(findings.problems[0].message) < 300


@pytest.mark.parametrize(
    "line", ["--require-hashes", "--prefer-binary", "--only-binary :all:", "--use-feature=x"]
)
def test_options_that_change_nothing(read: Read, findings: Findings, line: str) -> None:
    assert ["a"] == [requirement.text for requirement in read(f"{line}\na").requirements]
    assert () == findings.problems


def test_control_characters_do_not_reach_the_message(read: Read, findings: Findings) -> None:
    read("\x1b[31m red \u202e")
    (problem,) = findings.problems

    assert problem.message.isprintable()


def test_all_mistakes_are_found(read: Read, findings: Findings) -> None:
    read("a b\nc d\n-r missing")
    assert [1, 2, 3] == [problem.line for problem in findings.problems]


def test_a_file_of_a_mistake_is_the_included_one(read: Read, findings: Findings) -> None:
    read("-r a.txt", {"a.txt": b"ok\n\xff"})
    assert [("bad-encoding", "a.txt", 2)] == _found(findings)


def test_problem_is_complete(read: Read, findings: Findings) -> None:
    read("numpy >> 2")
    assert (
        Problem(
            "error",
            "bad-requirement",
            "'numpy >> 2' is not a requirement",
            "requirements.txt",
            1,
            "write `name`, or `name>=version`, as PEP 508 says",
        ),
    ) == findings.problems


LINES = st.lists(
    st.sampled_from(
        [
            "a",
            "==1",
            " ",
            "\\\n",
            "\n",
            "#",
            "-r ",
            "-c ",
            "requirements.txt",
            "../x",
            "--hash=",
            HASH,
            "--",
            "-e ",
            "@ ",
            "https://",
            ";",
            "python_version",
            "<'3'",
            "[x]",
            "\r",
            "\0",
            "$",
            "{",
            "-i",
            "=",
        ]
    ),
    max_size=20,
).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(), st.text().map(str.encode), LINES.map(str.encode)))
def test_any_bytes_are_read(make_repo: Callable[[Files], Repo], content: bytes) -> None:
    """Never an exception; what comes out is safe to hand to a resolver, one line each."""
    result = read_requirements(make_repo({"requirements.txt": content}), "requirements.txt", Findings())
    for requirement in result.requirements + result.constraints:
        assert requirement.text[0].isalnum()
        assert "\n" not in requirement.text
        assert "://" not in requirement.text


@pytest.mark.parametrize(
    "content",
    [
        " " * 3_000_000 + "x",
        "a" + "\t" * 1_000_000 + "--",
        "@" * 500_000,
        "a --hash=" + "-" * 1_000_000,
        "\\\n" * 500_000,
    ],
)
def test_hostile_files_end(read: Read, content: str) -> None:
    """No pattern takes more than linear time."""
    read(content)


@pytest.mark.parametrize(
    ("heading", "python"),
    [
        (
            "#\n# This file is autogenerated by pip-compile with Python 3.11\n# by the following command:",
            "3.11",
        ),
        ("# This file is autogenerated by pip-compile\n", None),
        ("# This file was autogenerated by uv via the following command:\n#    uv pip compile x", None),
        ("# This file is @generated by PDM.\n# Please do not edit it manually.", None),
    ],
)
def test_compiled_files(read: Read, heading: str, python: str | None) -> None:
    result = read(
        f"{heading}\n#\nnumpy==2.0.0 \\\n    # via -r requirements.in\nrich==13.0 ; os_name == 'nt'\n"
    )

    assert result.compiled_with is not None
    assert (True, False, python) == (result.is_compiled, result.is_lock, result.compiled_with[1])


@pytest.mark.parametrize(
    "content",
    [
        "numpy==2.0.0",
        "# This file was autogenerated by uv\nnumpy>=2.0.0",
        "# This file was autogenerated by uv\nnumpy==2.*",
        "numpy==2.0.0\n" + "#\n" * 2000 + "# This file was autogenerated by uv\n",
    ],
)
def test_files_that_are_not_compiled(read: Read, content: str) -> None:
    assert not read(content).is_compiled


def test_a_compiled_file_is_taken_over(spec_of: SpecOf) -> None:
    content = "# This file is autogenerated by pip-compile with Python 3.11\nnumpy==2.0.0\n"
    spec = spec_of({"requirements.txt": content})

    assert Adopted("requirements.txt", "requirements.txt") == spec.adopted
    assert (PythonRequest("==3.11.*", "requirements.txt", hint=True),) == spec.python
    assert spec_of({"requirements.txt": content + "./local\n", "local/setup.py": ""}).adopted is None


def test_an_index_that_is_the_users_anyway(spec_of: SpecOf) -> None:
    files = {"requirements.txt": "-i https://example.org/simple\n--extra-index-url https://other.org\na==1\n"}
    spec = spec_of(files, is_own_index=lambda url: "example.org" in url)

    assert [("error", "index-in-repository", 2), ("note", "index-is-yours", 1)] == [
        (problem.level, problem.code, problem.line) for problem in spec.problems
    ]
