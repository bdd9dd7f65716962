"""What one turn of the loop has to say, said at once.

A write that reaches a sleeping peer wakes it, and waking costs more than writing. So the writes of a turn are
collected and made one after the other: the first one wakes the peer, and it finds the others there.
"""

import asyncio


class Outbox:
    """Writes of one worker, in order; made when the events of this turn have been handled."""

    __slots__ = ("_loop", "_pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: list[tuple[asyncio.Transport, bytes | None]] = []

    def write(self, transport: asyncio.Transport, data: bytes | None) -> None:
        """Write soon; no bytes stand for closing the transport, and None for closing our half of it."""
        if not self._pending:
            self._loop.call_soon(self.flush)
        self._pending.append((transport, data))

    def close(self, transport: asyncio.Transport) -> None:
        """Close when what came before is written."""
        self.write(transport, b"")

    def shut(self, transport: asyncio.Transport) -> None:
        """Say no more once what came before is written, but go on listening."""
        self.write(transport, None)

    def flush(self) -> None:
        """Write now."""
        pending, self._pending = self._pending, []
        for transport, data in pending:
            if transport.is_closing():
                continue  # the peer has left meanwhile; its protocol has heard, or hears next
            if data:
                transport.write(data)
            elif data is not None:
                transport.close()
            elif transport.can_write_eof():  # TLS has no half to close: there the peer must go by the length
                transport.write_eof()
