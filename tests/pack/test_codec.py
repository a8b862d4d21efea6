"""Encoders: pinned output, independence of how writes are cut, and damage that is noticed."""

from __future__ import annotations

import gzip
import hashlib
import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from envbuild.pack import recipe
from envbuild.pack.codec import decode, encoder

SAMPLE = b"".join(f"line {number} of some text\n".encode() for number in range(120_000))


def encoded(compression: str, data: bytes, cut: int = 1 << 16) -> bytes:
    sink = io.BytesIO()
    stream = encoder(compression, sink)
    for start in range(0, len(data), cut):
        stream.write(data[start : start + cut])
    stream.finish()
    return sink.getvalue()


@pytest.mark.parametrize(
    ("compression", "digest"),
    [
        ("zstd", "a67918849dfe0d8b0b56989659717e18b732c1ba13c119927425aef7f478ca4d"),
        ("gzip", "4d1c8d4603e7707c70ecc0433b3f8cccdcc8dfffeb5e8c5a8038b6fef1807b95"),
        ("none", "5a3138a96b2747a3f2789049b740b399def946623105b93be441c8a4993d821a"),
    ],
)
def test_golden_digests(compression: str, digest: str) -> None:
    """Another library version or level gives other bytes: then recipe.ENCODERS must change too."""
    assert recipe.ENCODERS["zstd"] == "zstandard-0.25.0:3:single"
    assert recipe.ENCODERS["gzip"] == "zlib-ng-1.1.0:3:single"
    assert hashlib.sha256(encoded(compression, SAMPLE)).hexdigest() == digest


@pytest.mark.parametrize("compression", sorted(recipe.ENCODERS))
@given(data=st.binary(max_size=5000), cut=st.integers(1, 700))
def test_round_trip_and_cuts(compression: str, data: bytes, cut: int) -> None:
    whole = encoded(compression, data)

    assert encoded(compression, data, cut) == whole
    assert b"".join(decode(compression, io.BytesIO(whole))) == data


def test_other_tools_read_the_streams() -> None:
    assert gzip.decompress(encoded("gzip", SAMPLE)) == SAMPLE
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(encoded("zstd", SAMPLE))) as reader:
        assert reader.read() == SAMPLE


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_damage_is_noticed(compression: str) -> None:
    data = bytearray(encoded(compression, SAMPLE))
    data[len(data) // 2] ^= 0xFF
    digest = hashlib.sha256()
    try:
        for chunk in decode(compression, io.BytesIO(bytes(data))):
            digest.update(chunk)
    except ValueError:
        return
    # zstd frames carry no checksum here; the diff ID is what finds the rest.
    assert digest.digest() != hashlib.sha256(SAMPLE).digest()


def test_a_gzip_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(ValueError, match="ends too early"):
        list(decode("gzip", io.BytesIO(encoded("gzip", SAMPLE)[:-20])))
