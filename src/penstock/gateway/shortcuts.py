"""The shape in which nearly all plain replies come: head and body in one read, and nothing else.

llhttp says whether it is valid and where it ends, as for any other reply; what is spared is to take every header out
of it and to put it back.
"""

import re

import httptools

UNUSUAL = re.compile(
    rb"\r\n(?:transfer-encoding:|content-encoding:|trailer:|upgrade:|keep-alive:|x-penstock-"
    rb"|content-type:[\t ]*text/event-stream)"
)
"""In lower case: what says that the body is framed in another way, packed, or a stream, or speaks in our name."""
LENGTH, CONNECTION = b"\r\ncontent-length:", b"\r\nconnection:"
CONNECTION_LINE = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
WITHOUT_BODY = frozenset({204, 304})
SHOWN = bytes({*range(0x20, 0x100), 0x09} - {0x7F})
"""Bytes that a reason phrase may hold."""


def check_reason(reason: bytes) -> None:
    """Raise ValueError for what has no place in a first line; llhttp looks for its end only."""
    if reason.translate(None, SHOWN):
        raise ValueError("its status line has characters that do not belong there")


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
        if self._complete != 1 or not self._keeps:
            self._parser = httptools.HttpResponseParser(self)  # this one waits for more, or for nothing any more
            return 0
        status: int = self._parser.get_status_code()
        return status

    def on_status(self, reason: bytes) -> None:
        """Look at a first line."""
        check_reason(reason)

    def on_message_complete(self) -> None:
        """Note the end of a reply."""
        self._complete += 1
        self._keeps = self._parser.should_keep_alive()


judge = _Judge()


NOTHING = (b"\0", b"\n\n")
"""What is before and behind the length of no message at all: a length ends at a `\\r`, or at the end of what came."""


def body_between(data: bytes, before: bytes, behind: bytes) -> bytes | None:
    """Return the body, if `data` is exactly one message with the head `before`, its length, `behind`."""
    begin = len(before)
    stop = data.find(b"\r", begin, begin + 12)
    if data.startswith(before) and data.startswith(behind, stop) and (length := data[begin:stop]).isdigit():
        body = data[stop + len(behind) :]
        if int(length) == len(body):
            return body
    return None


class SeenReply:
    """The head of a reply that was found to be in order, and the bytes before and behind the length of its body.

    Servers send the same head again and again, but for the length, at least within a second. A head that is the same
    to the byte means the same, and `body_between` finds its body.
    """

    __slots__ = ("before", "behind", "lines", "status")

    def __init__(self, before: bytes, behind: bytes, status: int, lines: bytes) -> None:
        self.before, self.behind = before, behind
        self.status = status
        self.lines = lines
        """The header lines without those of the hop, each ended by CRLF."""


NO_REPLY = SeenReply(*NOTHING, 0, b"")


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
