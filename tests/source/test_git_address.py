"""Which addresses git is given, and what of them is shown."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import UsageError
from envbuild.source.git_address import GitAddress, check_ref, git_address, relative_address


@pytest.mark.parametrize(
    ("text", "url", "scheme", "host", "name"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b.git", "https", "example.org", "b"),
        ("git+https://example.org/a/b", "https://example.org/a/b", "https", "example.org", "b"),
        ("HTTPS://example.org:8443/b/", "https://example.org:8443/b/", "https", "example.org", "b"),
        ("ssh://git@example.org:22/a/b.git", "ssh://git@example.org:22/a/b.git", "ssh", "example.org", "b"),
        ("git@example.org:a/b.git", "git@example.org:a/b.git", "ssh", "example.org", "b"),
        ("file:///srv/b.git", "file:///srv/b.git", "file", "", "b"),
        ("file://localhost/srv/b.git", "file:///srv/b.git", "file", "", "b"),
        ("https://[::1]:80/b", "https://[::1]:80/b", "https", "::1", "b"),
        ("https://example.org/é/b", "https://example.org/%C3%A9/b", "https", "example.org", "b"),
    ],
)
def test_addresses(text: str, url: str, scheme: str, host: str, name: str) -> None:
    address = git_address(text)

    assert (url, scheme, host, name) == (address.url, address.scheme, address.host, address.name)


def test_credentials_are_kept_apart() -> None:
    address = git_address("https://me:s%40cret@example.org/a/b.git")

    assert ("https://example.org/a/b.git", "me", "s@cret") == (address.url, address.user, address.password)
    assert "s@cret" not in repr(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x",
        "ext::sh -c touch% /tmp/x",
        "ext::x",
        "fd::17",
        "git://example.org/a",
        "ftp://example.org/a",
        "transport::https://example.org/a",
        "https://-oProxyCommand=x/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://git@-oProxyCommand=x/a",
        "ssh://-l@example.org/a",
        "ssh://git:secret@example.org/a",
        "ssh://example.org/-a",
        "-x@example.org:a",
        "git@-example.org:a",
        "git@example.org:-a",
        "https://example.org",
        "https://example.org/",
        "https:///a",
        "https://example.org/a?x=1",
        "https://example.org/a#b",
        "https://example.org/a%00b",
        "https://example.org/a%0ab",
        "https://example.org:port/a",
        "https://[::1/a",
        "https://exa mple.org/a",
        "https://example.org/a\nb",
        "file://elsewhere/a",
        "file://",
        "/srv/b.git",
        "https://example.org/" + "a" * 3000,
    ],
)
def test_what_git_is_never_given(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        git_address(text)

    assert "bad-git-address" == caught.value.code
    assert "secret" not in str(caught.value.to_json())


@given(st.text(string.printable + "é\0", max_size=60))
@settings(max_examples=300)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = git_address(text)
    except UsageError:
        return

    assert address.scheme in ("https", "http", "ssh", "file")
    assert not address.url.startswith("-")
    assert "::" not in address.url.partition("/")[0]
    assert address == git_address(address.url) or address.user is not None


@pytest.mark.parametrize(
    "ref", ["main", "v1.0", "feature/x", "refs/heads/main", "a" * 40, "1.x", "release-2026", "ümlaut", "HEAD"]
)
def test_names_that_refs_have(ref: str) -> None:
    assert ref == check_ref(ref)


@pytest.mark.parametrize(
    "ref",
    [
        *(
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "@",
            "a@{1}",
        ),
        *("/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.", "a\n", "a\x7f", "a" * 300, "a\u202eb"),
    ],
)
def test_names_that_refs_cannot_have(ref: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_ref(ref)

    assert "bad-ref" == caught.value.code


HTTPS = GitAddress("https://example.org/team/rivers.git", "me", "secret")
SCP = GitAddress("git@example.org:team/rivers.git")
LOCAL = GitAddress("file:///srv/rivers.git")


@pytest.mark.parametrize(
    ("base", "text", "url"),
    [
        (HTTPS, "../maps.git", "https://example.org/team/maps.git"),
        (HTTPS, "./maps", "https://example.org/team/rivers.git/maps"),
        (HTTPS, "../../other/maps", "https://example.org/other/maps"),
        (HTTPS, "https://example.com/a", "https://example.com/a"),
        (HTTPS, "git@example.com:a/b", "git@example.com:a/b"),
        (SCP, "../maps.git", "git@example.org:team/maps.git"),
        (LOCAL, "../maps.git", "file:///srv/maps.git"),
        (LOCAL, "/srv/maps.git", "file:///srv/maps.git"),
    ],
)
def test_addresses_of_submodules(base: GitAddress, text: str, url: str) -> None:
    assert url == relative_address(base, text).url


def test_credentials_go_along_on_the_same_server_only() -> None:
    assert "secret" == relative_address(HTTPS, "../maps").password
    assert relative_address(HTTPS, "https://example.org/maps").password is None


@pytest.mark.parametrize(
    ("base", "text"),
    [
        (HTTPS, "file:///etc"),
        (HTTPS, "/etc"),
        (HTTPS, "http://example.org/a"),
        (HTTPS, "../../../../etc"),
        (HTTPS, "ext::sh"),
        (HTTPS, "-u./payload"),
        (SCP, "../../../a"),
        (LOCAL, "git://example.org/a"),
    ],
)
def test_addresses_that_submodules_may_not_have(base: GitAddress, text: str) -> None:
    with pytest.raises(UsageError):
        relative_address(base, text)
