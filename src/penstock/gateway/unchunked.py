"""A request's body that comes in HTTP chunks, put together again."""

import httptools

PRIMER = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
"""A head that makes llhttp expect chunks; the request's own has been read by then."""


class Unchunked:
    """Takes chunks until the body is whole. Extensions and trailers are read past: nothing here needs them.

    A trailer that says how long a body is, though, is refused: it can only be meant for another parser.
    """

    __slots__ = ("_parser", "_primed", "_tail", "body", "complete", "framing")

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False
        self.framing = 0
        """Bytes that were not body: sizes, extensions, trailers."""
        self._tail = b""
        self._parser = httptools.HttpRequestParser(self)
        self._primed = False
        self._parser.feed_data(PRIMER)
        self._primed = True

    def feed(self, data: bytes) -> bytes:
        """Take what came; return what is behind the end of the body.

        Raises httptools.HttpParserError where it is not chunks.
        """
        before = len(self.body)
        start = len(self._tail)
        window = self._tail + data
        while start < len(window) and not self.complete:
            # A message ends with an empty line. The parser gets nothing beyond the next one, so it never sees two.
            end = window.find(b"\r\n\r\n", max(start - 3, 0))
            stop = len(window) if end < 0 else end + 4
            self._parser.feed_data(window[start:stop])
            start = stop
        self.framing += start - len(self._tail) - (len(self.body) - before)
        self._tail = window[-3:]
        return window[start:]

    # httptools' parser

    def on_header(self, name: bytes, _: bytes) -> None:
        """Look at a trailer."""
        if self._primed and name.lower() in {b"transfer-encoding", b"content-length"}:
            raise ValueError(name)

    def on_body(self, piece: bytes) -> None:
        """Collect a piece."""
        self.body += piece

    def on_message_complete(self) -> None:
        """Note the end."""
        self.complete = True
