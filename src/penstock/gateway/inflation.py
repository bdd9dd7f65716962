"""Bodies that a provider packed although it was asked not to: the client gets them as they are, we read them plain."""

import zlib

from penstock.gateway.upstream import Exchange
from penstock.metering.reading import Reading, StreamReader

LARGEST = 32 * 1024 * 1024
"""Bytes that a packed body or stream may unfold to: what is larger is a bomb, and is not read."""
PIECE = 64 * 1024
"""Bytes that are unpacked at a time."""


def plain_body(exchange: Exchange) -> bytes:
    """Return the body as the provider meant it; what cannot be unpacked is returned empty, and then counted."""
    if not exchange.headers:
        return exchange.body  # it came by the short cut, which a packed one does not take
    encoding = exchange.header(b"content-encoding").strip().lower()
    if encoding in {b"", b"identity"}:
        return exchange.body
    if encoding not in {b"gzip", b"deflate", b"x-gzip"}:
        return b""
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unpack.decompress(exchange.body, LARGEST)
    except zlib.error:
        return b""
    return plain if len(plain) < LARGEST else b""


class InflatingReader:
    """Reads a packed stream: what the client gets is untouched, what is read is unpacked."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._room = LARGEST

    def feed(self, data: bytes) -> bytes:
        """Unpack for reading; return the bytes as they came."""
        packed, plain = data, b""
        try:
            while self._room > 0 and (packed or len(plain) == PIECE):  # a full piece: there may be more inside
                plain = self._unpack.decompress(packed, PIECE)
                packed = self._unpack.unconsumed_tail
                self._room -= len(plain)
                self._reader.feed(plain)
        except zlib.error:
            self._room = 0
        return data

    def close(self) -> bytes:
        """Nothing was held back."""
        self._reader.close()
        return b""

    def reading(self) -> Reading:
        """Say what the unpacked stream reported."""
        return self._reader.reading()

    def text(self) -> str:
        """Return the unpacked text."""
        return self._reader.text()
