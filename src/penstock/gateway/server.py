"""The door itself: HTTP/1.1 as clients speak it, parsed by llhttp, one request of a connection at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus

import httptools
from msgspec import Struct

from penstock.gateway.outbox import Outbox
from penstock.gateway.upstream import HIGH_WATER
from penstock.metering.attribution import Attribution


class ServerLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one client may ask of the door."""

    max_body: int = 64 * 1024 * 1024
    """Bytes of a request's body."""
    max_headers: int = 64 * 1024
    """Bytes of a request's head."""
    max_pipeline: int = 16
    """Requests of one connection that may wait behind the one being answered."""
    request_timeout: float = 60.0
    """Seconds in which a request, once begun, must have come whole."""
    idle_timeout: float = 75.0
    """Seconds that a connection may stay silent between two requests."""
    write_timeout: float = 60.0
    """Seconds that a client may take nothing of its reply before it is taken for gone."""


class Head:
    """The head of a request: one object for every request of a worker that begins with the same bytes."""

    __slots__ = ("attribution", "forwarded", "headers", "keep_alive", "method", "path", "target", "version")

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        """Path and query, as they came."""
        self.path = b""
        self.headers: list[tuple[bytes, bytes]] = []
        """Names in lower case, in the order in which they came."""
        self.keep_alive = True
        self.version = "1.1"
        self.attribution: Attribution | None = None
        """Who pays, as far as the headers say it: worked out once."""
        self.forwarded: dict[str, bytes] = {}
        """The head as it goes to a target, up to the length of the body; by the target's key."""


class Request:
    """One request, whole."""

    __slots__ = ("body", "head")

    def __init__(self, head: Head, body: bytes) -> None:
        self.head = head
        self.body = body


class SeenHeads:
    """Heads that llhttp has found valid, by their bytes without the length of the body.

    Clients send the same head with each request, but for the length. A head that is the same to the byte means the
    same, so it need not be parsed again.
    """

    __slots__ = ("_heads",)
    MOST = 4096
    LONGEST = 8192
    """Bytes: a head of this size may be remembered."""

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, bytes], Head] = {}

    def find(self, data: bytes) -> Request | None:
        """Return the request that `data` is, if it is exactly one whole request whose head has been seen."""
        end = data.find(b"\r\n\r\n", 0, self.LONGEST)
        if end < 0:
            return None
        start = data.find(b"ontent-length: ", 0, end)
        if start < 0:
            start = data.find(b"ontent-Length: ", 0, end)
            if start < 0:
                return None
        stop = data.find(b"\r\n", start, end + 2)
        digits = data[start + 15 : stop]
        if not digits.isdigit() or len(digits) > 10 or end + 4 + int(digits) != len(data):
            return None
        head = self._heads.get((data[:start], data[stop:end]))
        return None if head is None else Request(head, data[end + 4 :])

    def add(self, data: bytes, head: Head) -> None:
        """Remember the head of `data`, which the parser has found to be one whole request."""
        end = data.find(b"\r\n\r\n", 0, self.LONGEST)
        start = max(data.find(b"ontent-length: ", 0, end), data.find(b"ontent-Length: ", 0, end))
        # The length must be a header of its own, not a part of another, and the only thing that says how much comes.
        own = data[start - 3 : start].lower() == b"\r\nc" and data.lower().count(b"content-length", 0, end) == 1
        plain = all(name not in {b"transfer-encoding", b"expect", b"upgrade"} for name, _ in head.headers)
        if end < 0 or start < 0 or not own or not plain:
            return
        if len(self._heads) >= self.MOST:
            self._heads.clear()
        stop = data.find(b"\r\n", start, end + 2)
        self._heads[data[:start], data[stop:end]] = head


H2C = b"\r\nUpgrade: h2c\r\n"
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """Return the first line of a response."""
    return STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()


class Inbound(asyncio.Protocol):
    """One connection of a client."""

    __slots__ = (
        "_ahead", "_begun_at", "_body", "_body_size", "_busy", "_connections", "_first", "_fresh", "_handle", "_head",
        "_head_only", "_head_size", "_in_head", "_limits", "_loop", "_outbox", "_parser", "_paused", "_refused",
        "_seen", "_stuck_at", "_stuck_bytes", "closed", "idle_since", "on_drained", "on_gone", "streaming", "transport",
    )  # fmt: skip

    def __init__(
        self,
        handle: Callable[["Inbound", Request], None],
        connections: set["Inbound"],
        loop: asyncio.AbstractEventLoop,
        *,
        limits: ServerLimits,
        seen: SeenHeads,
        outbox: Outbox,
    ) -> None:
        self._handle = handle
        self._outbox = outbox
        self._seen = seen
        self._fresh = True
        self._first = b""
        self._in_head = True
        self._connections = connections
        self._loop = loop
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._head = Head()
        self._body: list[bytes] = []
        self._body_size = 0
        self._head_size = 0
        self._ahead: deque[Request] = deque()
        self._busy = False
        self._refused = False
        self._paused = False
        self._begun_at = 0.0
        self._stuck_at = 0.0
        self._stuck_bytes = 0
        self._head_only = False
        self.closed = False
        self.idle_since = loop.time()
        self.streaming = False
        self.on_gone: Callable[[], None] | None = None
        """Called when the client leaves while it is being answered."""
        self.on_drained: Callable[[bool], None] | None = None
        """Called with False when the client is too slow for what it gets, with True when it has caught up."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection, and when it should be made to wait."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # a stream transport, as asked for
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell whoever is answering."""
        self.closed = True
        self._connections.discard(self)
        self._ahead.clear()
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._refused:
            return
        if self._fresh:
            if not self._busy and (request := self._seen.find(data)) is not None:
                self._busy = True
                self._head_only = False  # a remembered head has a body
                if len(request.body) > self._limits.max_body:
                    self._busy = False
                    self._refuse(413, f"The body is larger than {self._limits.max_body} bytes.")
                    return
                self._handle(self, request)
                return
            if H2C in data:
                data = data.replace(H2C, b"\r\n", 1)  # an offer that RFC 9110 lets us ignore
            self._first = data
        if self._in_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "This is an HTTP/1.1 API; it does not upgrade connections.")
        except httptools.HttpParserError:
            self._refuse(400, "This is not a valid HTTP/1.1 request.")
        if self._in_head and self._head_size > self._limits.max_headers:
            self._refuse(431, f"The head is larger than {self._limits.max_headers} bytes.")

    def eof_received(self) -> bool:
        """A client that has sent all may still be listening, but ours keep both halves open: it has left."""
        return False

    def pause_writing(self) -> None:
        """The client reads more slowly than its provider writes."""
        self._stuck_at = self._loop.time()
        if self.on_drained is not None:
            self.on_drained(False)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stuck_at = 0.0
        if self.on_drained is not None:
            self.on_drained(True)

    # httptools' parser

    def on_message_begin(self) -> None:
        """Start a request."""
        self._head = Head()
        self._body = []
        self._body_size = 0
        self._head_size = 0
        self._fresh = False
        self._in_head = True
        self._begun_at = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """Collect the target; it may come in pieces."""
        self._head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._head.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Look at the head before the body comes: too large is said at once."""
        head = self._head
        self._in_head = False
        head.method = self._parser.get_method().decode("ascii")
        head.version = self._parser.get_http_version()
        head.keep_alive = self._parser.should_keep_alive()
        head.path = head.target.partition(b"?")[0]
        size = len(head.target)
        for name, value in head.headers:
            size += len(name) + len(value) + 4
            if name == b"content-length" and int(value) > self._limits.max_body:
                self._refuse(413, f"The body is larger than {self._limits.max_body} bytes.")
            elif name == b"upgrade":
                self._refuse(400, "This is an HTTP/1.1 API; it does not upgrade connections.")
            elif name == b"expect" and value.lower() == b"100-continue" and not self._busy and not self._refused:
                self._outbox.write(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")
        if size > self._limits.max_headers:
            self._refuse(431, f"The head is larger than {self._limits.max_headers} bytes.")

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._body_size += len(body)
        if self._body_size > self._limits.max_body:
            self._refuse(413, f"The body is larger than {self._limits.max_body} bytes.")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer the request now, or after the one that is being answered."""
        self._fresh = True
        if self._refused:
            return
        request = Request(self._head, self._body[0] if len(self._body) == 1 else b"".join(self._body))
        self._body = []
        self._begun_at = 0.0
        first, self._first = self._first, b""
        if len(first) > len(request.body) and first.endswith(b"\r\n\r\n" + request.body):
            self._seen.add(first, request.head)
        if not self._busy:
            self._busy = True
            self._head_only = request.head.method == "HEAD"
            self._handle(self, request)
            return
        self._ahead.append(request)
        if len(self._ahead) >= self._limits.max_pipeline and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer what cannot be a request, and hang up."""
        if self._refused or self.closed:
            return
        self._refused = True
        if not self._busy:
            body = b'{"error":{"message":"%s","type":"invalid_request_error","code":"bad_http"}}' % sentence.encode()
            self._outbox.write(
                self.transport,
                b"%scontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (status_line(status), len(body), body),
            )
        self._outbox.close(self.transport)

    # Answering

    def reply(self, head: bytes, body: bytes, *, keep_alive: bool) -> None:
        """Send a whole response; `head` ends before the empty line, and this adds the length."""
        if self.closed:
            return
        closing = b"" if keep_alive else b"connection: close\r\n"
        shown = b"" if self._head_only else body
        self._outbox.write(self.transport, b"%scontent-length: %d\r\n%s\r\n%s" % (head, len(body), closing, shown))
        self._answered(keep_alive)

    def start_stream(self, head: bytes, *, chunked: bool) -> None:
        """Send the head of a stream."""
        self.streaming = True
        if not self.closed:
            framing = b"transfer-encoding: chunked\r\n\r\n" if chunked else b"connection: close\r\n\r\n"
            self._outbox.write(self.transport, head + framing)

    def write_chunk(self, data: bytes) -> None:
        """Send a piece of a chunked stream."""
        if data and not self.closed:
            self._outbox.write(self.transport, b"%x\r\n%b\r\n" % (len(data), data))

    def write_raw(self, data: bytes) -> None:
        """Send a piece of a stream that ends with the connection."""
        if data and not self.closed:
            self._outbox.write(self.transport, data)

    def end_stream(self, last: bytes, *, chunked: bool, keep_alive: bool) -> None:
        """Send the last piece, and the end."""
        self.streaming = False
        if self.closed:
            return
        if chunked:
            self._outbox.write(self.transport, b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n")
        else:
            self.write_raw(last)
        self._answered(keep_alive and chunked)

    def break_off(self) -> None:
        """End a stream in a way that no client takes for its proper end."""
        self.on_gone = self.on_drained = None
        if not self.closed:
            self._outbox.flush()
            self.transport.abort()

    def _answered(self, keep_alive: bool) -> None:
        self.on_gone = self.on_drained = None
        self.idle_since = self._loop.time()
        if not keep_alive or self._refused:
            self._outbox.close(self.transport)
            return
        if not self._ahead:
            self._busy = False
            return
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        # On the next turn: a long pipeline must not become a deep stack.
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        if self.closed:
            return
        request = self._ahead.popleft()
        self._head_only = request.head.method == "HEAD"
        self._handle(self, request)

    # Keeping house

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return not self._busy

    def sweep(self, now: float) -> None:
        """Hang up on who says nothing, or says it too slowly."""
        begun = self._begun_at
        if self._stuck_at:
            waiting = self.transport.get_write_buffer_size()
            if waiting != self._stuck_bytes:  # it takes something, if slowly
                self._stuck_bytes, self._stuck_at = waiting, now
        if self._stuck_at and now - self._stuck_at > self._limits.write_timeout:
            self.transport.abort()
        elif begun and now - begun > self._limits.request_timeout:
            self._refuse(408, "The request took too long to come.")
        elif not self._busy and not begun and now - self.idle_since > self._limits.idle_timeout:
            self._outbox.close(self.transport)

    def close_when_idle(self) -> None:
        """Hang up now if nothing is being answered; the worker asks again until all are gone."""
        if not self._busy:
            self._outbox.close(self.transport)
