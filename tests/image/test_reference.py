"""Names of images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import UsageError
from envbuild.image.reference import Reference, full_name, is_repository_name, parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo", "demo:latest"),
        ("demo:1.0", "demo:1.0"),
        ("team/demo", "team/demo:latest"),
        ("localhost:5000/demo", "localhost:5000/demo:latest"),
        ("localhost:5000/a/b-c__d.e:V_1", "localhost:5000/a/b-c__d.e:V_1"),
        ("Registry.Example.ORG/demo", "Registry.Example.ORG/demo:latest"),
    ],
)
def test_names(text: str, expected: str) -> None:
    assert expected == full_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "demo:",
        ":1",
        "Demo",
        "de mo",
        "demo:-1",
        "a//b",
        "/demo",
        "demo/",
        "../demo",
        "-demo",
        "a:1:2",
        "é",
        "d" * 256,
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        full_name(text)


@given(st.text())
def test_whatever_is_accepted_is_accepted_again(text: str) -> None:
    try:
        name = full_name(text)
    except UsageError:
        return
    assert name == full_name(name)


DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python", Reference("docker.io", "library/python", "latest", None)),
        ("docker.io/python:3.13", Reference("docker.io", "library/python", "3.13", None)),
        ("index.docker.io/me/demo", Reference("docker.io", "me/demo", "latest", None)),
        ("me/demo:1", Reference("docker.io", "me/demo", "1", None)),
        ("ghcr.io/a/b/c", Reference("ghcr.io", "a/b/c", "latest", None)),
        ("localhost/demo", Reference("localhost", "demo", "latest", None)),
        ("Registry.example.org/demo", Reference("registry.example.org", "demo", "latest", None)),
        ("registry:5000/demo:1", Reference("registry:5000", "demo", "1", None)),
        ("[::1]:5000/demo", Reference("[::1]:5000", "demo", "latest", None)),
        (f"ghcr.io/demo@{DIGEST}", Reference("ghcr.io", "demo", None, DIGEST)),
        (f"ghcr.io/demo:1@{DIGEST}", Reference("ghcr.io", "demo", "1", DIGEST)),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    reference = parse_reference(text)

    assert expected == reference
    assert expected == parse_reference(str(reference))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Demo",
        "@" + DIGEST,
        "demo@sha256:abc",
        "demo@" + DIGEST.upper(),
        "demo@sha512:" + "a1" * 64,
        f"demo@{DIGEST}@{DIGEST}",
        "demo:@" + DIGEST,
        "registry:99999/demo",
        "https://ghcr.io/demo",
        "me:secret@ghcr.io/demo",
        "ghcr.io/",
        "ghcr.io/../demo",
        "Registry/demo",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


@given(st.from_regex(r"\A([a-zA-Z0-9.:\[\]-]+/)?[a-z0-9._/-]+(:[\w.-]+)?(@sha256:[0-9a-f]+)?\Z"))
def test_what_a_reference_says_is_what_it_is_read_from(text: str) -> None:
    try:
        reference = parse_reference(text)
    except UsageError:
        return
    assert reference == parse_reference(str(reference))
    assert is_repository_name(reference.name)


def test_tag_and_digest_replace_each_other() -> None:
    reference = parse_reference("ghcr.io/demo:1")

    pinned = reference.with_digest(DIGEST)

    assert (None, DIGEST, f"ghcr.io/demo@{DIGEST}") == (pinned.tag, pinned.digest, str(pinned))
    assert "ghcr.io/demo:2" == str(pinned.with_tag("2"))
    with pytest.raises(UsageError):
        reference.with_tag("no tag")
    with pytest.raises(UsageError):
        reference.with_digest("sha256:abc")
