"""The two shapes in which nearly all replies come, read without the parser: a whole reply, and whole chunks.

Both accept a strict subset of what the parser accepts, and mean the same by it. Whatever is unusual is left to the
parser, which has not moved meanwhile.
"""

import re
from typing import NamedTuple

HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\t\x20-\x7e]*\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
OF_ONE_HOP = re.compile(
    rb"^(connection|keep-alive|transfer-encoding|content-length|content-encoding|trailer|upgrade):"
    rb"[\t ]*([^\r\n]*)\r\n",
    re.IGNORECASE | re.MULTILINE,
)
HEX = b"0123456789abcdefABCDEF"
SIZES: dict[bytes, int] = {}
"""Sizes of chunks as they were written: a stream's events come in few sizes."""


class WholeReply(NamedTuple):
    """A reply that is all there."""

    status: int
    head: bytes
    """Its header lines, without those of the hop; each ends with CRLF."""
    body: bytes


def whole_reply(data: bytes) -> WholeReply | None:
    """Read `data` if it is exactly one reply of stated length on a connection that stays open, and not packed."""
    head = HEAD.match(data)
    if head is None:
        return None
    length = -1
    for name, value in OF_ONE_HOP.findall(head[2]):
        said = name.lower()
        if said == b"content-length" and length < 0 and value.isdigit() and len(value) < 12:
            length = int(value)
        elif said != b"keep-alive" and (said != b"connection" or value.lower() != b"keep-alive"):
            return None
    start = head.end()
    status = int(head[1])
    if length < 0 or start + length != len(data) or status in {204, 304}:
        return None
    return WholeReply(status, OF_ONE_HOP.sub(b"", head[2]), data[start:])


def whole_chunks(data: bytes) -> tuple[list[bytes], int]:
    """Return the contents of the whole HTTP chunks at the beginning of `data`, and where they end.

    The last chunk (of size 0), one with an extension, and one that is not all there are not among them.
    """
    pieces: list[bytes] = []
    start = 0
    while (line := data.find(b"\r\n", start, start + 10)) > start:
        size = data[start:line]
        length = SIZES.get(size)
        if length is None:
            if size.strip(HEX):
                break
            length = int(size, 16)
            if len(SIZES) < 4096:
                SIZES[size] = length
        end = line + 2 + length
        if not length or data[end : end + 2] != b"\r\n":
            break
        pieces.append(data[line + 2 : end])
        start = end + 2
    return pieces, start
