"""What kind of source a text is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import EnvbuildError, UsageError
from envbuild.source.address import (
    ArchiveSource,
    Directory,
    GitSource,
    RecordSource,
    parse_source,
    record_kind,
)
from tests.support.git import Upstream


def git(text: str) -> tuple[str, str | None]:
    source = parse_source(text)
    assert isinstance(source, GitSource), source
    return source.address.url, source.ref


@pytest.mark.parametrize(
    ("text", "url", "ref"),
    [
        ("https://example.org/a/b", "https://example.org/a/b", None),
        ("https://example.org/a/b.git#v1", "https://example.org/a/b.git", "v1"),
        ("https://example.org/a/b.git@v1", "https://example.org/a/b.git", "v1"),
        ("https://example.org/a/b@feature/x", "https://example.org/a/b", "feature/x"),
        ("https://example.org/a/b.git@feature/x", "https://example.org/a/b.git", "feature/x"),
        ("https://example.org/@a/b", "https://example.org/@a/b", None),
        ("https://me:pw@example.org/a/b", "https://example.org/a/b", None),
        ("https://me:pw@example.org/a/b@v1", "https://example.org/a/b", "v1"),
        ("git+https://example.org/a/b.zip", "https://example.org/a/b.zip", None),
        ("git@example.org:a/b.git", "git@example.org:a/b.git", None),
        ("git@example.org:a/b.git@v1", "git@example.org:a/b.git", "v1"),
        ("git@example.org:a/b#v1", "git@example.org:a/b", "v1"),
        ("ssh://git@example.org/a/b", "ssh://git@example.org/a/b", None),
        ("ssh://git@example.org/a/b@v1", "ssh://git@example.org/a/b", "v1"),
        ("file:///nowhere/b.git#v1", "file:///nowhere/b.git", "v1"),
        ("https://example.org/a/b#" + "a" * 40, "https://example.org/a/b", "a" * 40),
    ],
)
def test_git_addresses_and_refs(text: str, url: str, ref: str | None) -> None:
    assert (url, ref) == git(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-source"),
        ("a\0b", "bad-source"),
        ("--help", "bad-source"),
        ("ext::sh -c x", "bad-git-address"),
        ("git://example.org/a", "bad-git-address"),
        ("https://example.org/a#", "bad-ref"),
        ("https://example.org/a#--upload-pack=x", "bad-ref"),
        ("https://example.org/a#subdirectory=x", "bad-ref"),
        ("https://example.org/a.zip#main", "bad-ref"),
        ("github.com/a/b", "source-not-found"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text)

    assert code == caught.value.code


@pytest.mark.parametrize(
    ("page", "remedy"),
    [
        ("https://github.com/a/b/tree/main", "write https://github.com/a/b#main"),
        ("https://github.com/a/b/tree/main/x/y", "write https://github.com/a/b#main --subdir x/y"),
        ("https://gitlab.com/g/s/b/-/tree/v1", "write https://gitlab.com/g/s/b#v1"),
        ("https://github.com/a/b/blob/main/n.ipynb", "write https://github.com/a/b#main"),
    ],
)
def test_pages_about_a_repository(page: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(page)

    assert ("not-a-repository-address", remedy) == (caught.value.code, caught.value.remedy)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("doi:10.5281/zenodo.1234", "doi"),
        ("10.5281/zenodo.1234", "doi"),
        ("https://doi.org/10.5281/zenodo.1234", "doi"),
        ("https://zenodo.org/record/1234", "zenodo"),
        ("https://sandbox.zenodo.org/records/1234", "zenodo"),
        ("https://figshare.com/articles/dataset/a/9784088", "figshare"),
        ("https://www.hydroshare.org/resource/b8f6eae9d89241cf8b5904033460af61", "hydroshare"),
        ("https://data.example.org/dataset.xhtml?persistentId=doi:10.7910/DVN/TJCLKP", "dataverse"),
        ("https://data.example.org/api/access/datafile/3323458", "dataverse"),
        ("ckan+https://data.example.org/dataset/rivers", "ckan"),
        ("swh:1:dir:" + "0" * 40, "swhid"),
    ],
)
def test_records(text: str, kind: str) -> None:
    source = parse_source(text)

    assert isinstance(source, RecordSource)
    assert kind == source.kind


@pytest.mark.parametrize(
    "text",
    [
        "https://gitlab.com/a/b",
        "https://example.org/zenodo.org/record/1",
        "https://example.org/dataset/rivers",
    ],
)
def test_what_only_resembles_a_record(text: str) -> None:
    assert record_kind(text) is None


def test_archives(tmp_path: Path) -> None:
    local = tmp_path / "a.tar.gz"
    local.write_bytes(b"")
    digest = "a" * 64

    assert ArchiveSource(url="https://example.org/a.zip?x=1") == parse_source("https://example.org/a.zip?x=1")
    assert ArchiveSource(url="https://example.org/a.tgz", sha256=digest) == parse_source(
        f"https://example.org/a.tgz#sha256={digest}"
    )
    assert ArchiveSource(path=local) == parse_source(str(local))
    assert ArchiveSource(path=local, sha256=digest) == parse_source(f"{local}#sha256={digest}")


def test_directories_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    """Whatever a name looks like, if there is such a directory it is meant."""
    monkeypatch.chdir(tmp_path)
    for name in ("10.5281/data", "git@example.org:a", "a#b", "https:/example.org", "a@v1"):
        Path(name).mkdir(parents=True)
        assert Directory(name) == parse_source(name)
    assert Directory("nowhere") == parse_source("nowhere")
    assert (upstream.url, None) == git(str(upstream.path))
    assert (upstream.url, "v1") == git(f"{upstream.path}#v1")
    assert (upstream.work.as_uri(), "v1") == git(f"{upstream.work}#v1")
    assert Directory(str(upstream.work)) == parse_source(str(upstream.work))
    with pytest.raises(UsageError):
        parse_source("a@v1#v1")


@given(st.text(max_size=60) | st.from_regex(r"(?:git\+)?(?:https?|ssh|file)://[ -~]{0,40}", fullmatch=True))
@settings(max_examples=300)
def test_any_text_is_a_source_or_refused(text: str) -> None:
    try:
        source = parse_source(text)
    except EnvbuildError as error:
        assert "\n" not in error.message
        return
    if isinstance(source, GitSource):
        assert source.ref is None or not source.ref.startswith("-")
