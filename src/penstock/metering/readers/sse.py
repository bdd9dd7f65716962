"""Server-sent events as bytes: where one ends, and what it carries. Nothing is decoded here.

Lines may end in LF, CRLF or CR, and one event may spread its data over several `data:` lines (WHATWG HTML, 9.2).
"""

import re
from collections.abc import Iterator

EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n])){2}")
"""A blank line. A CR counts only when the next byte is known: it may be half of a CRLF."""


def last_end(raw: bytes) -> int:
    """Return the offset after the last whole event of `raw`; 0: there is none."""
    if b"\r" not in raw:
        return raw.rfind(b"\n\n") + 2 if b"\n\n" in raw else 0
    end = 0
    for match in EVENT_END.finditer(raw):
        end = match.end()
    return end


def with_newlines(raw: bytes) -> bytes:
    """Return `raw` with LF at the end of every line, so that a blank line is always two LF."""
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in raw else raw


def data_of(event: bytes) -> bytes:
    """Return what the `data:` lines of one event (LF line ends) carry, joined by LF."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = event.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


def events(raw: bytes) -> Iterator[bytes]:
    """Yield the data of each event of `raw` (LF line ends)."""
    start = 0
    while start < len(raw):
        end = raw.find(b"\n\n", start)
        end = end if end >= 0 else len(raw)
        if end > start:
            yield data_of(raw[start:end])
        start = end + 2


def event_at(raw: bytes, place: int) -> bytes:
    """Return the data of the event that holds the byte at `place` (LF line ends)."""
    start = raw.rfind(b"\n\n", 0, place)
    end = raw.find(b"\n\n", place)
    return data_of(raw[start + 2 if start >= 0 else 0 : end if end >= 0 else len(raw)])


def keys(raw: bytes, key: bytes) -> Iterator[int]:
    """Yield where the JSON key `key` (with its quotes) has a value other than null, from the end backwards.

    Text inside a JSON string cannot spell a key: its quotes are escaped there.
    """
    if key not in raw:
        return  # looking forwards is much faster than looking backwards, and most keys are not there
    place = raw.rfind(key)
    while place >= 0:
        after = raw[place + len(key) : place + len(key) + 12].lstrip(b" \t\n")
        if after.startswith(b":") and not after[1:].lstrip(b" \t\n").startswith(b"null"):
            yield place
        place = raw.rfind(key, 0, place)
