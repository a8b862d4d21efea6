"""URLs, git repositories and paths in requirements: what they mean, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.spec.direct import is_direct, read_direct
from envbuild.spec.model import SourceRequirement
from tests.spec.conftest import Files

Read = Callable[[str], SourceRequirement]
SHA = "0123456789abcdef" * 4


@pytest.fixture
def read(make_repo: Callable[[Files], Repo]) -> Read:
    """Read one requirement in a repository that has a few projects and archives."""
    repo = make_repo(
        {
            "pyproject.toml": "",
            "pkg/setup.py": "",
            "deep/er/pyproject.toml": "",
            "data/file.txt": "",
            "wheels/x-1-py3-none-any.whl": "",
            "x-1.tar.gz": "",
        }
    )
    return lambda text: read_direct(text, repo, "requirements.txt", 3)


def source(kind: str, location: str, **values: object) -> SourceRequirement:
    base = SourceRequirement(kind, location, "requirements.txt", 3)  # type: ignore[arg-type]
    return replace(base, **values)  # type: ignore[arg-type]


REPOSITORY = "https://example.org/me/x.git"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"git+{REPOSITORY}", source("vcs", REPOSITORY)),
        (f"git+{REPOSITORY}@v1.0", source("vcs", REPOSITORY, revision="v1.0")),
        (f"X_y @ git+{REPOSITORY}@feature/a", source("vcs", REPOSITORY, name="x-y", revision="feature/a")),
        (
            f"git+{REPOSITORY}@v1#egg=X[b,a]&subdirectory=sub/dir",
            source("vcs", REPOSITORY, name="x", extras=("a", "b"), revision="v1", subdirectory="sub/dir"),
        ),
        (
            f'x[a] @ git+{REPOSITORY} ; python_version<"3.13"',
            source("vcs", REPOSITORY, name="x", extras=("a",), marker='python_version < "3.13"'),
        ),
        ("git+ssh://git@example.org:22/me/x", source("vcs", "ssh://git@example.org:22/me/x")),
        ("x @ https://example.org/x.zip", source("url", "https://example.org/x.zip", name="x")),
        (
            f"https://example.org/x-1-py3-none-any.whl#sha256={SHA}",
            source("url", "https://example.org/x-1-py3-none-any.whl", hashes=(f"sha256:{SHA}",)),
        ),
        (
            "https://example.org/archive/v1.tar.gz?raw=true#egg=x",
            source("url", "https://example.org/archive/v1.tar.gz?raw=true", name="x"),
        ),
        (
            f"http://example.org/x-1.tar.gz#sha256={SHA}",
            source("url", "http://example.org/x-1.tar.gz", hashes=(f"sha256:{SHA}",)),
        ),
        (".", source("path", ".")),
        (".[Dev,test]", source("path", ".", extras=("dev", "test"))),
        ("pkg/", source("path", "pkg")),
        ("./pkg#egg=x", source("path", "pkg", name="x")),
        ("file:./pkg", source("path", "pkg")),
        ("file:pkg", source("path", "pkg")),
        ("./deep#subdirectory=er", source("path", "deep/er")),
        ("./wheels/x-1-py3-none-any.whl", source("path", "wheels/x-1-py3-none-any.whl")),
        ("x-1.tar.gz", source("path", "x-1.tar.gz")),
        ("x @ ./pkg ; python_version<'3'", source("path", "pkg", name="x", marker='python_version < "3"')),
    ],
)
def test_forms(read: Read, text: str, expected: SourceRequirement) -> None:
    assert is_direct(text)
    assert expected == read(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("git+https://me:secret@example.org/x", "credentials-in-url"),
        ("git+https://secret@example.org/x", "credentials-in-url"),
        ("git+ssh://me:secret@example.org/x", "credentials-in-url"),
        ("x @ https://example.org/x.whl?X-Amz-Signature=secret", "credentials-in-url"),
        ("https://${USER}:${TOKEN}@example.org/x.whl", "credentials-in-url"),
        ("git+http://example.org/x", "vcs-not-supported"),
        ("git+file:///home/somebody/x", "vcs-not-supported"),
        ("git+ext::sh -c touch% /tmp/x", "bad-requirement"),
        ("git+ext://sh/x", "vcs-not-supported"),
        ("hg+https://example.org/x", "vcs-not-supported"),
        ("git+git@example.org:me/x.git", "bad-requirement"),
        ("git+ssh://-oProxyCommand=x/y", "bad-requirement"),
        ("git+ssh://-o@example.org/y", "credentials-in-url"),
        ("git+https://example.org/x@--upload-pack=y", "bad-revision"),
        ("git+https://example.org/x@a..b", "bad-revision"),
        ("git+https://example.org/x@", "bad-revision"),
        ("git+https://example.org/--upload-pack=x", "bad-requirement"),
        ("git+https://example.org/", "bad-requirement"),
        ("git+https://example.org/x?y", "bad-requirement"),
        ("git+https://example.org/x#subdirectory=../y", "outside-repository"),
        ("git+https://example.org/x#subdirectory=/y", "outside-repository"),
        ("git+https://example.org/x#egg=a b", "bad-requirement"),
        ("git+https://example.org/x#egg=../x", "bad-requirement"),
        ("git+https://example.org/x#what=ever", "bad-requirement"),
        ("https://example.org/x.whl#sha256=00", "bad-hash"),
        ("https://example.org/a/../x.whl", "bad-requirement"),
        ("https://example.org/%2e%2e/x.whl", "bad-requirement"),
        ("https://exa mple.org/x.whl", "bad-requirement"),
        ("https:///x.whl", "bad-requirement"),
        ("https://[/x.whl", "bad-requirement"),
        ("ftp://example.org/x.whl", "bad-requirement"),
        ("http://example.org/x.whl", "unprotected-url"),
        ("https://example.org/me/x", "bad-requirement"),
        ("..", "outside-repository"),
        ("pkg/../../x", "outside-repository"),
        ("/etc", "outside-repository"),
        ("~/x", "outside-repository"),
        ("file:///etc", "outside-repository"),
        ("./missing", "file-not-found"),
        ("./data", "not-a-project"),
        ("x @ ./pkg ; nonsense", "bad-requirement"),
        ("./pkg\x1b[31m", "bad-requirement"),
        ("./" + "a" * 3000, "bad-requirement"),
    ],
)
def test_what_is_refused(read: Read, text: str, code: str) -> None:
    with pytest.raises(RepoError) as caught:
        read(text)

    assert (code, "requirements.txt:3") == (caught.value.code, caught.value.place)
    assert "secret" not in str(caught.value)


def test_links_that_lead_out_are_refused(make_repo: Callable[[Files], Repo], tmp_path: Path) -> None:
    repo = make_repo({})
    (tmp_path / "setup.py").touch()
    (repo.root / "pkg").symlink_to("..")

    with pytest.raises(RepoError) as caught:
        read_direct("./pkg", repo, "requirements.txt", 1)

    assert "outside-repository" == caught.value.code


WORDS = st.sampled_from(
    [
        *("git+", "https://", "ssh://", "file:", "git@", "example.org", "/", "..", "@", "#", "egg=", "&"),
        *(";", "[", "]", "x", "subdirectory=", "sha256=", ".whl", " ", "-", "%00", "\0", ":", "~", "\\"),
        *("é", "?", "a" * 99),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=12).map("".join))
def test_anything_is_read_or_refused(text: str) -> None:
    """And what is read is nothing a program could take for an option, or that leads out."""
    repo = Repo(Path(__file__).parent.resolve())
    try:
        found = read_direct(text, repo, "requirements.txt", 1)
    except RepoError:
        return

    assert not found.location.startswith(("-", "..", "/"))
    assert not (found.revision or "").startswith("-")
    assert ".." not in found.subdirectory.split("/")
    assert found.location.isprintable()
