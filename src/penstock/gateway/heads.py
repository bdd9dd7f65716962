"""The head of a request: read strictly, and read once for all requests that begin with the same bytes."""

import re

import httptools

from penstock.gateway.endpoints import Endpoint
from penstock.gateway.shortcuts import NOTHING
from penstock.metering.attribution import NOBODY, Attribution
from penstock.policies.keys import Holder

REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) ([!\"$-~]+) (HTTP/1\.[01])\r\n")
HTTP_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^ \r\n]+ HTTP/[0-9.]+\r\n")
ABSOLUTE = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
"""A target as it is sent to a proxy; the part before the path says nothing that `Host` does not."""


class BadRequestError(Exception):
    """What came is not one clear request. `status` and `code` are the answer, the message says what is wrong."""

    def __init__(self, status: int, sentence: str, code: str = "bad_http") -> None:
        self.status, self.code = status, code
        super().__init__(sentence)


class Head:
    """The head of a request: one object for every request of a worker that begins with the same bytes."""

    __slots__ = (
        "expects", "forwarded", "headers", "holder", "keep_alive", "length", "metered", "method", "path", "payer",
        "payers", "ring", "target", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        """Path and query, as they came."""
        self.path = b""
        self.headers: list[tuple[bytes, bytes]] = []
        """Names in lower case, in the order in which they came."""
        self.length: int | None = 0
        """Bytes of the body; None: it comes in chunks. It differs between requests with this head."""
        self.expects = False
        """The client waits for a word before it sends the body."""
        self.keep_alive = True
        self.version = "1.1"
        self.metered: tuple[Endpoint | None, str] | None = None
        """Which call this is, and the deployment that the path names: worked out once."""
        self.ring = 0
        """Number of the ring of keys by which this head was judged."""
        self.holder: Holder | None = None
        """The virtual key that it brings."""
        self.payer = NOBODY
        """What the key says of who pays."""
        self.payers: dict[str, Attribution] = {}
        """Who pays, by the user that the body names: worked out once."""
        self.forwarded: dict[str, bytes] = {}
        """The head as it goes to a target, up to the length of the body; by the target's key."""


class _Fields:
    """What llhttp finds in a head."""

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field."""
        self.headers.append((name.lower(), value))


def read_head(data: bytes) -> Head:
    """Read a whole head, empty line and all.

    It must be valid for llhttp and must leave no doubt about where its body ends: one `Host`, one way of framing,
    no encoding but `chunked`. Raises BadRequestError.
    """
    line = REQUEST_LINE.match(data)
    if line is None:
        raise _bad_line(data)
    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    upgrading = False
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        upgrading = True
    except httptools.HttpParserError:
        raise BadRequestError(400, "This is not a valid HTTP/1.1 request.") from None
    head = Head()
    head.method = line[1].decode("ascii")
    absolute = ABSOLUTE.match(line[2])
    head.target = line[2][absolute.end() :] if absolute else line[2]
    if absolute and not head.target.startswith(b"/"):
        head.target = b"/" + head.target
    head.path = head.target.partition(b"?")[0]
    head.version = line[3][5:].decode("ascii")
    head.headers = fields.headers
    # Not by the parser's word: of a message without a body it has forgotten it by now.
    tokens = b",".join(_all(head, b"connection")).lower().split(b",")
    head.keep_alive = head.version == "1.1" and b"close" not in [token.strip() for token in tokens]
    _frame(head)
    offered = b"".join(_all(head, b"upgrade")).strip().lower()
    if (upgrading or offered) and offered != b"h2c":  # an offer that RFC 9110 lets us ignore
        raise BadRequestError(400, "This is an HTTP/1.1 API; it does not upgrade connections.")
    return head


def _bad_line(data: bytes) -> BadRequestError:
    """Say what is wrong with a first line."""
    if data[:2] == b"\x16\x03":
        return BadRequestError(400, "This port speaks plain HTTP; call it by http://, or set [server.tls].")
    if HTTP_LINE.match(data) is None:
        return BadRequestError(400, "This does not begin with a valid HTTP/1.1 request line.")
    if not data.partition(b"\r\n")[0].endswith((b" HTTP/1.1", b" HTTP/1.0")):
        return BadRequestError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if data.partition(b" ")[0] not in b"GET HEAD POST PUT PATCH DELETE OPTIONS".split():
        return BadRequestError(501, "This method is not known here.")
    return BadRequestError(400, "The target of the request has characters that do not belong there.")


def _all(head: Head, name: bytes) -> list[bytes]:
    return [value for key, value in head.headers if key == name]


def _frame(head: Head) -> None:
    """Find out how long the body is; refuse what another parser might understand in another way."""
    hosts = len(_all(head, b"host"))
    if hosts > 1 or (hosts == 0 and head.version == "1.1"):
        raise BadRequestError(400, "A request needs exactly one Host header.")
    encodings, lengths = _all(head, b"transfer-encoding"), _all(head, b"content-length")
    if encodings:
        if head.version == "1.0" or lengths:
            raise BadRequestError(400, "The request says in two ways how long its body is.")
        if len(encodings) > 1 or encodings[0].strip().lower() != b"chunked":
            raise BadRequestError(501, "No Transfer-Encoding but `chunked` is understood here.")
        head.length = None
    elif lengths:
        stated = lengths[0].strip()
        if len(lengths) > 1 or not stated.isdigit() or len(stated) > 18:
            raise BadRequestError(400, "The Content-Length is not one whole number.")
        head.length = int(stated)
    for expected in _all(head, b"expect"):
        if expected.strip().lower() != b"100-continue":
            raise BadRequestError(417, "Nothing but `100-continue` can be expected here.")
        head.expects = head.version == "1.1" and head.length != 0


def may_begin(data: bytes) -> bool:
    """Tell whether `data` can still become a head: what never can should not be waited for."""
    first, end, _ = data.partition(b"\n")
    if end and REQUEST_LINE.match(first + end) is None:
        return False
    return data[:1].isalpha() and data.count(b"\n") == data.count(b"\r\n")


class SeenHeads:
    """Heads that have been read, by their bytes without the length of the body.

    Clients send the same head with each request, but for the length. A head that is the same to the byte means the
    same, so it need not be read again.
    """

    __slots__ = ("_bytes", "_seen")
    MOST = 4 * 1024 * 1024
    """Bytes of heads that are remembered: what is kept beside each grows with it."""
    LONGEST = 8192
    """Bytes: a head of this size may be remembered."""

    def __init__(self) -> None:
        self._seen: dict[tuple[bytes, bytes], Seen] = {}
        self._bytes = 0

    def find(self, data: bytes) -> "Seen | None":
        """Return what is known of the head that `data` begins with, if it was seen."""
        end = data.find(b"\r\n\r\n", 0, self.LONGEST) + 4
        start = data.find(b"ontent-length: ", 0, end) + 15
        if start < 15:
            start = data.find(b"ontent-Length: ", 0, end) + 15
        stop = data.find(b"\r", start, end)
        if end < 4 or start < 15 or not data[start:stop].isdigit() or stop - start > 10:
            return None
        return self._seen.get((data[:start], data[stop:end]))

    def add(self, data: bytes, head: Head) -> None:
        """Remember `head`, which was read from `data`."""
        start = max(data.find(b"ontent-length: "), data.find(b"ontent-Length: ")) + 15
        # The length must be a header of its own, not a part of another, and the only thing that says how much comes.
        own = data[start - 18 : start - 15].lower() == b"\r\nc" and data.lower().count(b"content-length") == 1
        if start < 15 or len(data) > self.LONGEST or not own or head.length is None or head.expects:
            return
        self._bytes += max(len(data), 512)
        if self._bytes > self.MOST:
            self._seen.clear()
            self._bytes = len(data)
        before, behind = data[:start], data[data.find(b"\r", start) :]
        self._seen[before, behind] = Seen(head, before, behind)


class Seen:
    """A head, and the bytes before and behind the length of its body: see `body_between`."""

    __slots__ = ("before", "behind", "head")

    def __init__(self, head: Head, before: bytes, behind: bytes) -> None:
        self.head = head
        self.before = before
        self.behind = behind


NEVER_SEEN = Seen(Head(), *NOTHING)
