"""Encoders and decoders of layer blobs, with output that depends only on the input.

Every encoder is single-threaded, has a pinned library version and level (:data:`recipe.ENCODERS`) and is
fed blocks of one size, so that the way callers cut their writes cannot show in the result. Parallelism is
across layers (docs/adr/0004-compression.md).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, Protocol

import zstandard
from zlib_ng import zlib_ng

from envbuild.pack import recipe
from envbuild.pack.tar import Sink

__all__ = ["Encoder", "decode", "encoder"]


class Encoder(Protocol):
    """Compresses what is written to it into a sink; :meth:`finish` must be called once at the end."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""

    def finish(self) -> None:
        """Write what is still held back and the end of the stream."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Gzip:
    """A gzip stream (RFC 1952) with a header of constants: no name, no time, unknown system."""

    def __init__(self) -> None:
        self._deflate = zlib_ng.compressobj(recipe.GZIP_LEVEL, zlib_ng.DEFLATED, -zlib.MAX_WBITS)
        self._crc = 0
        self._size = 0
        self._header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

    def compress(self, data: bytes) -> bytes:
        self._crc = zlib_ng.crc32(data, self._crc)
        self._size += len(data)
        header, self._header = self._header, b""
        return header + self._deflate.compress(data)

    def flush(self) -> bytes:
        trailer = struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)
        return self._header + self._deflate.flush() + trailer


class _Plain:
    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class _BlockEncoder:
    """Cuts writes into blocks of :data:`recipe.ENCODER_BLOCK` bytes for a compressor."""

    def __init__(self, compressor: _Compressor, sink: Sink) -> None:
        self._compressor = compressor
        self._sink = sink
        self._pending = bytearray()

    def write(self, data: bytes, /) -> None:
        self._pending += data
        while len(self._pending) >= recipe.ENCODER_BLOCK:
            self._emit(self._compressor.compress(bytes(self._pending[: recipe.ENCODER_BLOCK])))
            del self._pending[: recipe.ENCODER_BLOCK]

    def finish(self) -> None:
        self._emit(self._compressor.compress(bytes(self._pending)))
        self._pending.clear()
        self._emit(self._compressor.flush())

    def _emit(self, data: bytes) -> None:
        if data:
            self._sink.write(data)


def encoder(compression: str, sink: Sink) -> Encoder:
    """The encoder users call ``compression`` (``zstd``, ``gzip`` or ``none``), writing to ``sink``.

    Raises:
        KeyError: there is no such encoder.
    """
    compressors: dict[str, type[_Gzip] | type[_Plain]] = {"gzip": _Gzip, "none": _Plain}
    if compression == "zstd":
        # threads=0: the single-threaded code path; any other number gives other bytes.
        compressor: _Compressor = zstandard.ZstdCompressor(level=recipe.ZSTD_LEVEL, threads=0).compressobj()
    else:
        compressor = compressors[compression]()
    return _BlockEncoder(compressor, sink)


def decode(compression: str, stream: IO[bytes]) -> Iterator[bytes]:
    """The uncompressed bytes of a layer blob, in chunks of at most about a megabyte.

    Raises:
        ValueError: the stream is damaged or ends too early.
    """
    if compression == "zstd":
        try:
            reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
            while chunk := reader.read(recipe.ENCODER_BLOCK):
                yield chunk
        except zstandard.ZstdError as error:
            raise ValueError(f"damaged zstd stream: {error}") from error
        return
    if compression == "none":
        while chunk := stream.read(recipe.ENCODER_BLOCK):
            yield chunk
        return
    inflate = zlib_ng.decompressobj(zlib.MAX_WBITS | 16)
    try:
        while data := stream.read(1 << 18):
            while data:
                if inflate.eof:  # several members, one after the other (RFC 1952): layers of others may be so
                    inflate = zlib_ng.decompressobj(zlib.MAX_WBITS | 16)
                yield inflate.decompress(data, recipe.ENCODER_BLOCK)
                data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    except zlib_ng.error as error:  # type: ignore[misc]  # the stub calls it Any
        raise ValueError(f"damaged gzip stream: {error}") from error
    if not inflate.eof:
        raise ValueError("the gzip stream ends too early")
