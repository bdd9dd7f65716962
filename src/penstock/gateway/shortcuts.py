"""The two shapes in which nearly all replies come, read without the parser: a whole reply, and whole chunks.

Both accept a strict subset of what the parser accepts, and mean the same by it. Whatever is unusual is left to the
parser, which has not moved meanwhile.
"""

import re
from typing import NamedTuple

FIELD = re.compile(rb"\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:")
PLAIN = bytes({*range(0x20, 0x100), *b"\r\n\t"} - {0x7F})
"""Bytes that a head may hold."""
UNUSUAL = re.compile(rb"\r\n(?:transfer-encoding|content-encoding|trailer|upgrade|keep-alive):")
KEEP_ALIVE = re.compile(rb"\r\nconnection:[\t ]*keep-alive[\t ]*(?=\r\n)", re.IGNORECASE)
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
    end = data.find(b"\r\n\r\n")
    if end < 0 or not data.startswith(b"HTTP/1.1 ") or data[12:13] != b" ":
        return None
    head = data[:end]
    fields = head.count(b"\r\n")
    if fields != head.count(b"\n") or fields != head.count(b"\r") or head.translate(None, PLAIN):
        return None
    lower = head.lower()
    length = lower.find(b"\r\ncontent-length:")
    if length < 0 or UNUSUAL.search(lower) or len(FIELD.findall(head)) != fields:
        return None
    stop = head.find(b"\r\n", length + 2)
    stop = stop if stop >= 0 else end
    stated = head[length + 17 : stop].strip(b" \t")
    if not stated.isdigit() or len(stated) > 11 or end + 4 + int(stated) != len(data):
        return None
    if lower.find(b"\r\ncontent-length:", stop) >= 0 or b"text/event-stream" in lower:
        return None
    status = data[9:12]
    if not status.isdigit() or status[0] not in b"2345" or status in {b"204", b"304"}:
        return None
    lines = head[head.find(b"\r\n") : length] + head[stop:] + b"\r\n"
    if b"\r\nconnection:" in lower:
        lines, kept = KEEP_ALIVE.subn(b"", lines)
        if kept != 1 or lower.count(b"\r\nconnection:") != 1:
            return None
    return WholeReply(int(status), lines[2:], data[end + 4 :])


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
