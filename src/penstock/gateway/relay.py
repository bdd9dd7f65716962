"""A stream on its way from provider to client: untouched, read as it passes, held back when the client is slow."""

from collections.abc import Callable

from penstock.gateway.server import Inbound
from penstock.gateway.upstream import Exchange, UpstreamError
from penstock.metering.readers.sse import EVENT_END
from penstock.metering.reading import StreamReader

BYTES_A_TOKEN = 3
"""No stream has fewer: before so many have come for each token that is reserved, nothing is counted."""
LEAST_BYTES = 4096
"""So many flow between two countings, and at least a twentieth of what is allowed."""


class Relay:
    """The sink of one stream."""

    __slots__ = ("_chunked", "_ended", "_exchange", "_inbound", "_write", "gone", "reader")

    def __init__(self, inbound: Inbound, exchange: Exchange, reader: StreamReader, *, chunked: bool) -> None:
        self._inbound = inbound
        self._exchange = exchange
        self._chunked = chunked
        self._ended = False
        self._write: Callable[[bytes], None] = inbound.write_chunk if chunked else inbound.write_raw
        self.reader = reader
        self.gone = inbound.closed
        """The client has left; the stream is read on for its usage, or cut off."""

    def write(self, data: bytes) -> None:
        """Read what came, and pass it on."""
        passed = self.reader.feed(data)
        if passed and not self.gone:
            self._write(passed)

    def attach(self, on_gone: Callable[["Relay"], None]) -> None:
        """Hear of a slow client, and of one that leaves."""
        self._inbound.on_drained = self._drained
        self._inbound.on_gone = lambda: on_gone(self)

    def left(self, drain_until: float) -> None:
        """The client has left: read on until `drain_until`, or stop now if that is 0."""
        self.gone = True
        if self._is_not_ours:
            return
        if self._exchange.paused:
            self._drained(True)
        if drain_until:
            self._exchange.limit_at = drain_until
        else:
            self._exchange.connection.abort(UpstreamError("client_left", "The client left.", sent=True))

    @property
    def is_over(self) -> bool:
        """Whether the provider's part is over."""
        return self._ended

    def ended(self) -> None:
        """The provider's part is over: its connection may serve another call now, and is no longer ours."""
        self._ended = True
        self._inbound.on_drained = None

    @property
    def _is_not_ours(self) -> bool:
        """Whether the connection may be serving another call by now."""
        return self._ended or self._exchange.connection.exchange is not self._exchange

    def _drained(self, ready: bool) -> None:
        if self._is_not_ours:
            return
        self._exchange.paused = not ready
        if ready:
            self._exchange.connection.resume()
        else:
            self._exchange.connection.pause()

    def finish(self, last: bytes, *, keep_alive: bool) -> None:
        """Send what is left, and the end."""
        if not self.gone:
            self._inbound.end_stream(last, chunked=self._chunked, keep_alive=keep_alive)


class CountedRelay(Relay):
    """The sink of a stream that may be cut off: where its tokens could be near what is reserved, `look` is called.

    How near they are is said by the bytes that passed; `look` counts, and answers with `go_on` or `cut`. A plain stream
    is cut behind a whole event, so that another one can follow.
    """

    __slots__ = ("_cut", "_look", "_next", "_over", "_passed", "_plain", "_tail")

    def __init__(
        self,
        inbound: Inbound,
        exchange: Exchange,
        reader: StreamReader,
        *,
        chunked: bool,
        plain: bool,
        tokens: int,
        look: Callable[["CountedRelay"], None],
    ) -> None:
        super().__init__(inbound, exchange, reader, chunked=chunked)
        self._plain = plain
        self._look = look
        self._passed = 0
        self._next: float = max(LEAST_BYTES, tokens * BYTES_A_TOKEN)
        self._tail = b""
        self._cut: UpstreamError | None = None
        self._over = False

    @property
    def passed(self) -> int:
        """Bytes so far."""
        return self._passed

    def write(self, data: bytes) -> None:
        """Read what came, and pass it on, up to where the stream is cut."""
        if self._over:
            return
        before, seen = len(self._tail), self._tail + data
        if self._cut is not None:
            end = next((match.end() for match in EVENT_END.finditer(seen) if match.end() > before), 0)
            super().write(data[: end - before] if end else data)
            if end:
                self._end(self._cut)
        else:
            super().write(data)
        self._tail = seen[-3:]
        self._passed += len(data)
        if self._passed >= self._next:
            self._next = float("inf")
            self._look(self)

    def go_on(self, passed: int, tokens: int, allowed: int) -> None:
        """Count again when most of what is left could be used up; of `passed` bytes there were `tokens`."""
        each = passed / tokens if tokens else BYTES_A_TOKEN
        self._next = passed + max(LEAST_BYTES, each * max((allowed - tokens) * 0.8, allowed * 0.05))

    def cut(self, error: UpstreamError) -> None:
        """End the stream, now or behind the event that is on its way."""
        if self._is_not_ours:
            return
        if not self._plain or self._tail.endswith((b"\n\n", b"\n\r\n")):
            self._end(error)
        else:
            self._cut = error

    def _end(self, error: UpstreamError) -> None:
        if not self._is_not_ours:
            self._over = True
            self._exchange.connection.abort(error)
