"""Connections to providers: HTTP/1.1, kept alive, pooled by origin.

An `Exchange` is one request and its reply. It is awaited for the head of a stream or the whole of any other reply, and
its `end()` for the end of the stream, whose bytes have gone to a `Sink` meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Protocol

import httptools

from penstock.gateway.dialing import Address, DialError
from penstock.gateway.driving import Waiter
from penstock.gateway.outbox import Outbox
from penstock.gateway.shortcuts import NO_REPLY, body_between, check_reason, see_reply

HIGH_WATER = 256 * 1024
"""Bytes of a reply that may wait for a slow client before its provider is made to wait."""
NOT_RETURNED = frozenset(b"connection keep-alive transfer-encoding content-length trailer upgrade".split())
"""Headers that concern the hop from the provider only."""
OURS = b"x-penstock-"
"""What headers begin with that say what Penstock says: another one's, further on, must not be taken for ours."""
FRAMING = frozenset({b"transfer-encoding", b"content-length"})
"""Headers that come too late as trailers, and may mean something to another parser."""
IDLE_SECONDS = 45.0
"""A connection unused for this long is closed: providers close theirs after a minute or more."""
LONGEST_LENGTH = 20
"""Digits of a Content-Length, zeros before it and all: parsers differ in what they make of more."""
BEGINNING = ord("H")
"""Of every reply; llhttp would pass over empty lines before it."""
LONGEST_HEAD = 256 * 1024
"""Bytes of a reply's head, trailers and all."""
QUEUE_SECONDS = 30.0
"""How long a call may wait for a connection while all are taken."""


ESTIMATED_ERRORS = frozenset({"timeout", "reply_too_large", "bad_reply", "shutdown"})
"""Breakages after which the provider is likely to bill what it was sent."""


class UpstreamError(Exception):
    """The provider could not be reached, or broke off. `code` is stable, `sent` tells whether it got the request."""

    def __init__(self, code: str, message: str, *, sent: bool) -> None:
        self.code, self.sent = code, sent
        super().__init__(message)


class Sink(Protocol):
    """Where the body of a stream goes while it comes."""

    def write(self, data: bytes) -> None:
        """Take a piece of the body."""
        ...


class Exchange(Waiter[None]):
    """One request on one connection, and its reply.

    Await it for the head of a stream or for the whole of any other reply; then `end()` for the end of the stream.
    """

    # What most exchanges never change stands here, so that making one is cheap.
    status = 0
    headers: Sequence[tuple[bytes, bytes]] = ()
    """Names in lower case; empty where the reply did not need the parser."""
    head_lines = b""
    """Header lines as the client gets them: without those of the hop."""
    body = b""
    streamed = False
    """The reply is an event stream: its end is still to be awaited."""
    first_byte_at = 0.0
    limit_at = 0.0
    """When a stream that nobody takes any more is cut off; 0: it is wanted."""
    paused = False
    sink: "Sink | None" = None
    _done: Waiter[None] | None = None
    _size = 0

    def __init__(self, connection: "Connection", deadline: float, stall_timeout: float, max_reply: int) -> None:
        self.connection = connection
        self.deadline = deadline
        self.stall_timeout = stall_timeout
        self.max_reply = max_reply
        self._parts: list[bytes] = []

    def end(self, sink: "Sink") -> Waiter[None]:
        """Let the stream flow into `sink`, and wait for its end."""
        self.sink = sink
        parts, self._parts = self._parts, []
        for part in parts:
            sink.write(part)
        done = self._done
        if done is None:
            done = self._done = Waiter()
        return done

    def header(self, name: bytes) -> bytes:
        """Return the value of a header by its lower-case name, or nothing."""
        if not self.headers and self.head_lines:
            lines = (line.partition(b":") for line in self.head_lines.split(b"\r\n") if line)
            self.headers = [(key.lower(), value.strip()) for key, _, value in lines]
        return dict(self.headers).get(name, b"")

    # What the connection reports

    def began(self, status: int, now: float) -> None:
        """The head is complete."""
        self.status = status
        self.first_byte_at = now
        self.head_lines = b"".join(
            [
                b"%b: %b\r\n" % line
                for line in self.headers
                if line[0] not in NOT_RETURNED and not line[0].startswith(OURS)
            ]
        )
        if status == 200 and self.header(b"content-type").startswith(b"text/event-stream"):
            self.streamed = True
            self.deadline = now + self.stall_timeout

    def got(self, data: bytes) -> None:
        """Body bytes came: all of one read at once."""
        if self.sink is not None:
            self.sink.write(data)
            return
        self._size += len(data)
        if self._size > self.max_reply:
            self.connection.abort(UpstreamError("reply_too_large", "The provider's reply is too large.", sent=True))
            return
        self._parts.append(data)

    def begin_stream(self) -> None:
        """Let the one who waits for the head take the stream."""
        if not self.settled:
            self.settle(None)

    def completed(self) -> None:
        """The reply has ended as it should."""
        if not self.streamed:
            parts = self._parts
            self.body = parts[0] if len(parts) == 1 else b"".join(parts)
            self.settle(None)
            return
        self.begin_stream()
        self._ended().settle(None)

    def failed(self, error: UpstreamError) -> None:
        """The reply has ended as it should not."""
        if not self.settled:
            self.fail(error)
        elif self.streamed and not self._ended().settled:
            self._ended().fail(error)

    def _ended(self) -> Waiter[None]:
        """The stream is over: nothing flows any more."""
        self.sink = None
        if self._done is None:
            self._done = Waiter()
        return self._done


class Connection(asyncio.Protocol):
    """One connection to a provider; carries one exchange at a time."""

    __slots__ = (
        "_complete", "_framing", "_fresh", "_headers", "_keep", "_loop", "_origin", "_parser", "_parts", "_seen",
        "_whole_at", "closed", "exchange", "idle_since", "on_body", "transport",
    )  # fmt: skip

    def __init__(self, origin: "Origin", loop: asyncio.AbstractEventLoop) -> None:
        self._origin = origin
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.closed = False
        self.idle_since = 0.0
        self._parts: list[bytes] = []
        self._complete = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._keep = False
        self._seen = NO_REPLY
        """The head of the last reply that came whole."""
        self._whole_at = 0
        self._fresh = True
        self._framing = 0
        """Bytes that came since the last piece of a body, and were none: head, trailers, sizes of chunks."""
        self.on_body = self._parts.append
        """Called by the parser for every piece of a body: straight into the list, for streams have many."""
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes, deadline: float, stall_timeout: float, max_reply: int) -> Exchange:
        """Send a request, head and body; await the exchange for its reply."""
        exchange = self.exchange = Exchange(self, deadline, stall_timeout, max_reply)
        self._fresh = True
        self._origin.outbox.write(self.transport, request)  # type: ignore[arg-type]  # connected before it is handed out
        return exchange

    def abort(self, error: UpstreamError | None = None) -> None:
        """Close at once; an exchange under way fails with `error`."""
        self.closed = True
        exchange, self.exchange = self.exchange, None
        if self.transport is not None:
            self.transport.abort()
        if exchange is not None and error is not None:
            exchange.failed(error)

    def pause(self) -> None:
        """Stop reading: the one who takes the bytes is slow."""
        if not self.closed and self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self.closed and self.transport is not None:
            if self.exchange is not None:  # the provider was kept waiting; its own time begins anew
                self.exchange.deadline = self._loop.time() + self.exchange.stall_timeout
            self.transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self.transport = transport  # type: ignore[assignment]  # a stream transport, as asked for

    def data_received(self, data: bytes) -> None:
        """Take what came: by a short cut if it has a usual shape, else through the parser."""
        exchange = self.exchange
        if exchange is None:
            self.abort()  # bytes that nobody asked for: this connection can no longer be trusted
            return
        if self._fresh:
            self._fresh = False
            if data[0] != BEGINNING:
                self._spoilt("it does not begin with a status line")
                return
            seen = self._seen
            body = body_between(data, seen.before, seen.behind)
            if body is None and (unknown := see_reply(data)) is not None:
                seen = self._seen = unknown
                body = body_between(data, seen.before, seen.behind)
            if body is not None and len(body) <= exchange.max_reply:
                self.exchange = None
                exchange.first_byte_at = now = monotonic()
                self._origin.give_back(self, now)
                exchange.status = seen.status
                exchange.head_lines = seen.lines
                exchange.body = body
                exchange.settle(None)
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                if exchange.streamed and self._parts:  # what came before it is the client's, and is billed
                    exchange.got(b"".join(self._parts))
                    self._parts.clear()
                    exchange.begin_stream()
                self._spoilt(str(error))
                return
            self._keep = False  # the reply is whole; what came behind it is nobody's
        parts = self._parts
        if self._complete and len(parts) > self._whole_at:
            del parts[self._whole_at :]  # the body of a reply that nobody asked for
        if parts:
            if exchange.streamed:
                exchange.deadline = self._loop.time() + exchange.stall_timeout
            piece = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            self._framing = 0
            exchange.got(piece)
        elif not self._complete:
            self._framing += len(data)
            if self._framing > LONGEST_HEAD:
                self._spoilt("its head, or what stands between its chunks, is too large")
                return
        if self._complete:
            self._finish()
        elif exchange.streamed:
            exchange.begin_stream()

    def _spoilt(self, problem: str) -> None:
        self._origin.drop(self)
        self.abort(UpstreamError("bad_reply", f"The provider's reply is not HTTP: {problem}", sent=True))

    def eof_received(self) -> bool:
        """Let a reply that is delimited by the end of the connection end here."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what was under way, unless the end of the connection is how it ends."""
        self.closed = True
        self._origin.drop(self)
        exchange = self.exchange
        if exchange is None:
            return
        self.exchange = None
        until_close = (
            exchange.status != 0
            and error is None
            and not exchange.header(b"content-length")
            and not exchange.header(b"transfer-encoding")
        )
        if until_close:
            exchange.completed()
        else:
            exchange.failed(UpstreamError("connection", "The provider closed the connection.", sent=True))

    # httptools' parser

    def on_message_begin(self) -> None:
        """Note a reply behind the reply: nobody asked for it, so the connection cannot be trusted any more."""
        if self._complete:
            self._keep = False

    def on_status(self, reason: bytes) -> None:
        """Look at a first line."""
        check_reason(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; a trailer comes too late to mean anything."""
        if self._complete:
            return
        if self.exchange.status:  # type: ignore[union-attr]
            if name.lower() in FRAMING:
                raise ValueError("a trailer says how long it is")
        else:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Tell the exchange that its reply has begun."""
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < 100:
            raise ValueError("its status is none")
        if status < 200:  # 100 Continue and its like: the real head follows
            if any(name in FRAMING and value.strip() != b"0" for name, value in self._headers):
                raise ValueError("a word before the reply has a body")  # llhttp would read it as the reply's
            self._headers.clear()
            return
        exchange = self.exchange
        assert exchange is not None
        exchange.headers, self._headers = self._headers, []
        framing = [(name, value.strip().lower()) for name, value in exchange.headers if name in FRAMING]
        if [value for name, value in framing if name == b"transfer-encoding"] not in ([], [b"chunked"]):
            raise ValueError("its Transfer-Encoding is not understood")
        if framing and len(framing[0][1]) > LONGEST_LENGTH:
            raise ValueError("its Content-Length has too many digits")
        exchange.began(status, monotonic())

    def on_message_complete(self) -> None:
        """Note the end; it is acted on once the read is parsed."""
        if self._parser.get_status_code() >= 200 and not self._complete:
            self._complete = True
            self._whole_at = len(self._parts)
            self._keep = self._parser.should_keep_alive()  # the parser forgets it with the message

    def _finish(self) -> None:
        exchange, self.exchange = self.exchange, None
        if self._keep and not self.closed:
            self._complete = False
            self._framing = 0
            self._origin.give_back(self, self._loop.time())
        else:
            self._origin.drop(self)
            self.abort()
        if exchange is not None:
            exchange.completed()


class Origin:
    """One place that is called, with its connections."""

    def __init__(
        self, address: Address, loop: asyncio.AbstractEventLoop, *, connections: int = 512, outbox: Outbox | None = None
    ) -> None:
        self.address = address
        self.outbox = outbox or Outbox(loop)
        self.connections = connections
        self._loop = loop
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._opening = 0
        self._queue: deque[tuple[Waiter[None], float]] = deque()

    def now(self) -> float:
        """Return the loop's time, in seconds."""
        return self._loop.time()

    def warm(self) -> Connection | None:
        """Return a connection that is open and free, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def connection(self) -> Connection:
        """Return a connection that is free: a warm one if there is one, a new one while the limit allows it."""
        while True:
            if (connection := self.warm()) is not None:
                return connection
            if len(self._all) + self._opening < self.connections:
                return await self._open()
            if len(self._queue) >= self.connections * 4:
                raise UpstreamError("queue_full", f"Too many calls wait for {self.address.authority}.", sent=False)
            turn: Waiter[None] = Waiter()
            self._queue.append((turn, self._loop.time() + QUEUE_SECONDS))
            await turn

    async def _open(self) -> Connection:
        self._opening += 1
        try:
            # A task of its own: timeouts and TLS handshakes are asyncio's, and need one.
            connection = await self._loop.create_task(self.address.dial(self._loop, self._build))
        except DialError as error:
            raise UpstreamError(error.code, str(error), sent=False) from None
        finally:
            self._opening -= 1
        if connection.closed:
            self._next()
            raise UpstreamError("connection", f"{self.address.authority} closed the connection at once.", sent=False)
        self._all.add(connection)
        return connection

    def _build(self) -> Connection:
        return Connection(self, self._loop)

    def give_back(self, connection: Connection, now: float) -> None:
        """Keep a connection for the next exchange."""
        if connection.transport.get_write_buffer_size():  # type: ignore[union-attr]  # it was connected
            # Answered before all of the request was sent: what is still to go out must not precede the next one.
            self.drop(connection)
            connection.abort()
            return
        connection.idle_since = now
        self._idle.append(connection)
        if self._queue:
            self._next()

    def drop(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._next()

    def _next(self) -> None:
        if self._queue and (self._idle or len(self._all) + self._opening < self.connections):
            self._queue.popleft()[0].settle(None)

    def sweep(self, now: float) -> None:
        """End what has waited too long: calls for a connection, exchanges past their deadline, unused connections."""
        while self._queue and self._queue[0][1] < now:
            sentence = f"No connection to {self.address.authority} came free in {QUEUE_SECONDS:g} s."
            self._queue.popleft()[0].fail(UpstreamError("queue_full", sentence, sent=False))
        for connection in list(self._all):
            exchange = connection.exchange
            if exchange is None:
                if connection.idle_since and now - connection.idle_since > IDLE_SECONDS:
                    self.drop(connection)
                    connection.abort()
            elif (now > exchange.deadline and not exchange.paused) or 0 < exchange.limit_at < now:
                self.drop(connection)
                code = "stalled" if exchange.streamed else "timeout"
                connection.abort(UpstreamError(code, f"{self.address.authority} did not answer in time.", sent=True))

    def close(self) -> None:
        """Close every connection; what is under way fails, and is booked as it stands."""
        for connection in list(self._all):
            connection.abort(UpstreamError("shutdown", "Penstock is being stopped.", sent=True))
        self._all.clear()
        self._idle.clear()


async def send(origin: Origin, request: bytes, *, timeout: float, stall_timeout: float, max_reply: int) -> Exchange:  # noqa: ASYNC109  # a deadline that `sweep` enforces
    """Send `request` (head and body) and return its exchange, once the reply is whole or its stream has begun."""
    connection = origin.warm() or await origin.connection()
    exchange = connection.send(request, origin.now() + timeout, stall_timeout, max_reply)
    await exchange
    return exchange
