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


def body_between(data: bytes, before: bytes, behind: bytes) -> bytes | None:
    """Return the body, if `data` is exactly one message with the head `before`, its length, `behind`."""
    stop = data.find(b"\r", len(before), len(before) + 12)
    length = data[len(before) : stop]
    if not data.startswith(before) or not length.isdigit() or not data.startswith(behind, stop):
        return None
    start = stop + len(behind)
    return data[start:] if int(length) == len(data) - start else None


class SeenReply:
    """The head of a reply that was found to be in order, and the bytes before and behind the length of its body.

    Servers send the same head again and again, but for the length, at least within a second. A head that is the same
    to the byte means the same.
    """

    __slots__ = ("before", "behind", "lines", "status")

    def __init__(self, before: bytes, behind: bytes, status: int, lines: bytes) -> None:
        self.before, self.behind = before, behind
        self.status, self.lines = status, lines

    def whole(self, data: bytes) -> WholeReply | None:
        """Return the reply, if `data` is exactly one with this head."""
        body = body_between(data, self.before, self.behind)
        return None if body is None else (self.status, self.lines, body)


NO_REPLY = SeenReply(b"\0", b"", 0, b"")


def see_reply(data: bytes) -> SeenReply | None:
    """Look at `data`: if it is exactly one reply of stated length on a connection that stays open, and not packed."""
    end = data.find(b"\r\n\r\n")
    lower = data[: end + 2].lower()
    start = lower.find(LENGTH)
    stop = lower.find(b"\r\n", start + 2)
    length = lower[start + 17 : stop].lstrip(b" \t")
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
    return SeenReply(data[: stop - len(length)], data[stop : end + 4], status, lines[2:])
