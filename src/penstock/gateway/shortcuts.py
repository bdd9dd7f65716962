"""The shape in which nearly all plain replies come: head and body in one read, and nothing else.

llhttp says whether it is valid and where it ends, as for any other reply; what is spared is to take every header out
of it and to put it back.
"""

import re

import httptools

UNUSUAL = re.compile(
    rb"\r\n(?:transfer-encoding:|content-encoding:|trailer:|upgrade:|keep-alive:|content-type:[\t ]*text/event-stream)"
)
"""In lower case: what says that the body is framed in another way, packed, or a stream."""
LENGTH, CONNECTION = b"\r\ncontent-length:", b"\r\nconnection:"
CONNECTION_LINE = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
WITHOUT_BODY = frozenset({204, 304})

WholeReply = tuple[int, bytes, bytes]
"""Status; header lines without those of the hop, each ended by CRLF; body."""


class _Judge:
    """Asks llhttp whether bytes are exactly one reply, after which the connection stays open."""

    __slots__ = ("_complete", "_keeps", "_parser")

    def __init__(self) -> None:
        self._complete = 0
        self._keeps = False
        self._parser = httptools.HttpResponseParser(self)

    def status_of(self, data: bytes) -> int:
        """Return the status of the reply; 0: it is not that."""
        self._complete = 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._complete = 0
        if self._complete != 1:
            self._parser = httptools.HttpResponseParser(self)  # this one waits for more, or for nothing any more
            return 0
        return self._parser.get_status_code() if self._keeps else 0

    def on_message_complete(self) -> None:
        """Note the end of a reply."""
        self._complete += 1
        self._keeps = self._parser.should_keep_alive()


judge = _Judge()


def whole_reply(data: bytes) -> WholeReply | None:
    """Read `data` if it is exactly one reply of stated length on a connection that stays open, and not packed."""
    end = data.find(b"\r\n\r\n")
    lower = data[: end + 2].lower()
    start = lower.find(LENGTH)
    stop = lower.find(b"\r\n", start + 2)
    length = lower[start + 17 : stop].strip()
    if end < 0 or start < 0 or not length.isdigit() or len(length) > 11 or end + 4 + int(length) != len(data):
        return None
    if UNUSUAL.search(lower):
        return None
    status = judge.status_of(data)
    if status < 200 or status in WITHOUT_BODY:
        return None
    begin = data.find(b"\r\n")
    lines = data[begin:start] + data[stop : end + 2]
    if CONNECTION in lower:
        lines = CONNECTION_LINE.sub(b"", lines)
    return status, lines[2:], data[end + 4 :]
