"""A stream on its way from provider to client: untouched, read as it passes, held back when the client is slow."""

from collections.abc import Callable

from penstock.gateway.server import Inbound
from penstock.gateway.upstream import Exchange, UpstreamError
from penstock.metering.reading import StreamReader


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
