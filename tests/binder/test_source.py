"""Repositories and refs as BinderHub's providers give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.binder.source import read_source
from envbuild.errors import UsageError

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("repository", "ref", "source"),
    [
        pytest.param("https://github.com/a/b", _COMMIT, f"https://github.com/a/b#{_COMMIT}", id="GitHub"),
        pytest.param(
            "https://gitlab.com/a/b/c.git", _COMMIT, f"https://gitlab.com/a/b/c.git#{_COMMIT}", id="GitLab"
        ),
        pytest.param(
            "https://gist.github.com/a/1f.git",
            _COMMIT,
            f"https://gist.github.com/a/1f.git#{_COMMIT}",
            id="Gist",
        ),
        pytest.param("git@example.org:a/b", "main", "git@example.org:a/b#main", id="git over ssh"),
        pytest.param("https://example.org/a/b", "HEAD", "https://example.org/a/b", id="the default branch"),
        pytest.param("https://example.org/a/b", None, "https://example.org/a/b", id="no ref"),
        pytest.param(
            "https://doi.org/10.5281/zenodo.3242074",
            "3242074",
            "https://doi.org/10.5281/zenodo.3242074",
            id="Zenodo",
        ),
        pytest.param(
            "https://doi.org/10.6084/m9.figshare.9782777.v1",
            "9782777.v1",
            "https://doi.org/10.6084/m9.figshare.9782777.v1",
            id="Figshare",
        ),
        pytest.param(
            "https://doi.org/10.7910/DVN/TJCLKP",
            "3035124.v3.0",
            "https://doi.org/10.7910/DVN/TJCLKP",
            id="Dataverse",
        ),
        pytest.param(
            "https://www.hydroshare.org/resource/b8f6eae9",
            "b8f6eae9.v1",
            "https://www.hydroshare.org/resource/b8f6eae9",
            id="HydroShare",
        ),
        pytest.param(
            "https://demo.ckan.org/dataset/one-2",
            "one-2.v1717501747",
            "ckan+https://demo.ckan.org/dataset/one-2",
            id="CKAN",
        ),
        pytest.param(
            "https://demo.ckan.org/dataset/one?activity_id=4",
            "one.v1717501747",
            "ckan+https://demo.ckan.org/dataset/one?activity_id=4",
            id="CKAN, a version",
        ),
        pytest.param(
            "https://example.org/dataset/one", "v1", "https://example.org/dataset/one#v1", id="group dataset"
        ),
    ],
)
def test_sources(repository: str, ref: str | None, source: str) -> None:
    assert (source, ()) == read_source(repository, ref, None)


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    source, notes = read_source(str(tmp_path), "v1", None)

    assert (str(tmp_path), 1) == (source, len(notes))


@pytest.mark.parametrize(
    ("repository", "source"),
    [
        ("https://example.org/a/b", "https://oauth2:p%40ss%2Fw@example.org/a/b#v1"),
        ("https://me:own@example.org/a/b", "https://me:own@example.org/a/b#v1"),
        ("ssh://git@example.org/a/b", "ssh://git@example.org/a/b#v1"),
    ],
)
def test_the_login_goes_where_a_password_can_go(repository: str, source: str) -> None:
    assert (source, ()) == read_source(repository, "v1", ("oauth2", "p@ss/w"))


@pytest.mark.parametrize("repository", ["git://example.org/a", "ext::sh -c id", "-oProxyCommand=x", ""])
def test_what_is_no_source_is_an_error(repository: str) -> None:
    with pytest.raises(UsageError):
        read_source(repository, "v1", None)
