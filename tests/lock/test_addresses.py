from __future__ import annotations

import pytest

from envbuild.lock.addresses import recall, remember, split_url, with_credentials
from envbuild.store import Store

HASHED = "packages/" + "ab/cd/" + "0" * 60 + "/six-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        (f"https://files.example.org/{HASHED}", "https://files.example.org/", HASHED),
        (f"https://example.org/mirror/{HASHED}", "https://example.org/mirror/", HASHED),
        (
            f"https://me:secret@example.org:8443/a/b/{HASHED}#sha256=0",
            "https://example.org:8443/a/b/",
            HASHED,
        ),
        ("http://127.0.0.1:80/six/six-1.0.whl", "http://127.0.0.1:80/", "six/six-1.0.whl"),
        ("https://example.org/torch-2.0%2Bcpu.whl", "https://example.org/", "torch-2.0%2Bcpu.whl"),
        ("https://example.org/six.whl?token=secret", "https://example.org/", ""),
        ("https://example.org/a/../six.whl", "https://example.org/", ""),
    ],
)
def test_split_url(url: str, base: str, path: str) -> None:
    assert (base, path) == split_url(url)


def test_what_was_learned_depends_on_the_index_settings(store: Store) -> None:
    first = {"UV_DEFAULT_INDEX": "https://one.example.org/simple", "HOME": "/root"}
    second = {"UV_DEFAULT_INDEX": "https://two.example.org/simple"}
    remember(store, first, ["https://one.example.org/"])
    assert recall(store, first | {"HOME": "/elsewhere"}) == ("https://one.example.org/",)
    assert recall(store, second) == ()


def test_the_newest_address_comes_first_and_old_ones_are_forgotten(store: Store) -> None:
    for number in range(20):
        remember(store, {}, [f"https://{number}.example.org/"])
    remember(store, {}, ["https://15.example.org/"])
    known = recall(store, {})
    assert known[:2] == ("https://15.example.org/", "https://19.example.org/")
    assert len(known) == 8


def test_a_damaged_record_is_no_record(store: Store) -> None:
    remember(store, {}, ["https://example.org/"])
    (record,) = store.sources.iterdir()
    for damage in ("", "[]", '{"bases": 1}', "\0"):
        record.write_text(damage)
        assert recall(store, {}) == ()


def test_credentials_come_from_the_settings_and_are_not_kept(store: Store) -> None:
    settings = {"UV_INDEX": "https://other.example.org/x corp=https://me:hunter2@corp.example.org/simple"}
    remember(store, settings, ["https://corp.example.org/", "https://files.example.org/"])
    assert recall(store, settings) == ("https://me:hunter2@corp.example.org/", "https://files.example.org/")
    assert not any(b"hunter2" in path.read_bytes() for path in store.sources.iterdir())


@pytest.mark.parametrize(
    "url", ["https://corp.example.org:444/x", "http://corp.example.org/x", "https://example.org/"]
)
def test_credentials_go_to_their_own_host_only(url: str) -> None:
    settings = {"UV_DEFAULT_INDEX": "https://me:hunter2@corp.example.org/simple"}
    assert url == with_credentials(url, settings)
