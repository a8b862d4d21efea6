"""Reading fingerprints of which nobody knows who wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import UsageError
from envbuild.fingerprint.document import parse_fingerprint, read_fingerprint
from envbuild.fingerprint.program import text_of


def test_what_the_program_prints_comes_back(document: dict[str, Any]) -> None:
    found = parse_fingerprint(text_of(document).encode())

    assert document == found.to_json()


def test_the_image_is_added_and_does_not_change_the_digest(document: dict[str, Any]) -> None:
    found = parse_fingerprint(text_of(document).encode())

    known = found.of_image("sha256:2", "sha256:3")

    assert {"lock": "sha256:1", "image_id": "sha256:2", "digest": "sha256:3"} == known.image
    assert found.digest == known.digest


def test_a_digest_that_was_made_up_is_not_believed(document: dict[str, Any]) -> None:
    found = parse_fingerprint(text_of({**document, "digest": "sha256:0"}).encode())

    assert document["digest"] == found.to_json()["digest"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "is not a fingerprint of version 1"),
        ({"environment": []}, "is not a fingerprint"),
        ({"environment": {"packages": {"a": 1}}}, "is not a fingerprint"),
        ({"environment": {"packages": {"a": {"altered": 1}}}}, "is not a fingerprint"),
        ({"environment": {"packages": {}, "conda": {"a": 1}}}, "is not a fingerprint"),
        ({"machine": None}, "is not a fingerprint"),
        ({"machine": json.loads("[" * 50 + "]" * 50)}, "is not a fingerprint"),
        ({"machine": {"a": json.loads("[" * 50 + "]" * 50)}}, "is not a fingerprint"),
    ],
)
def test_other_documents_are_refused(
    change: dict[str, Any], reason: str, document: dict[str, Any], tmp_path: Path
) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps({**document, **change}))

    with pytest.raises(UsageError) as error:
        read_fingerprint(saved)

    assert ("bad-fingerprint", f"{saved}: {reason}") == (error.value.code, str(error.value))


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 100_000, b"[]", b"1"])
def test_files_that_are_no_document_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_bytes(content)

    with pytest.raises(UsageError, match=r"is not JSON|is not a fingerprint|is nested too deeply"):
        read_fingerprint(tmp_path / "saved.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        read_fingerprint(tmp_path / "saved.json")
