"""The stream reader that every flavour shares: relay first, look later.

While a stream runs its bytes are only kept; they are searched when somebody asks. Streams above a megabyte are folded
block by block into text and facts, so that memory stays near that megabyte (plus the text itself).
"""

import copy
from collections import deque
from collections.abc import Callable
from typing import Protocol

from penstock.metering.readers.sse import last_end, with_newlines
from penstock.metering.reading import Reading

BLOCK = 65_536
"""Bytes that are folded at a time: about half a millisecond of work."""
KEPT_BLOCKS = 16
"""Whole blocks kept as they came: one megabyte."""
MOST_TEXT = 8_000_000
"""Characters of text that are kept, more than any model writes: a stream that goes on is still read for its usage."""


class Scan(Protocol):
    """What a flavour knows: to find facts and text in whole events with LF line ends."""

    def absorb(self, raw: bytes) -> None:
        """Take the facts out of more events. Never raises: contradictions are kept for `reading`."""
        ...

    def reading(self) -> Reading:
        """Say what all events so far report; UsageError when their usage contradicts itself."""
        ...

    def text(self, raw: bytes) -> str:
        """Return the text and tool arguments of these events."""
        ...


class RelayReader:
    """A `StreamReader` that passes every byte on unchanged, for 0.1 microseconds a chunk."""

    def __init__(self, scan: Callable[[], Scan]) -> None:
        self._fresh = scan
        self._scan: Scan | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._blocks: deque[bytes] = deque()
        self._carry: list[bytes] = []
        self._folded: list[str] = []
        self._text = 0
        self._closed = False

    def feed(self, data: bytes) -> bytes:
        """Keep `data` and pass it on."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > BLOCK:
            self._put_away()
        return data

    def close(self) -> bytes:
        """Nothing is held back; but an unfinished last event now counts as whole."""
        self._closed = True
        return b""

    def reading(self) -> Reading:
        """Say what the stream reported so far."""
        scan = copy.deepcopy(self._scan) if self._scan else self._fresh()
        scan.absorb(self._kept())
        return scan.reading()

    def text(self) -> str:
        """Return the text and tool arguments received so far."""
        return "".join((*self._folded, self._fresh().text(self._kept())))

    def _kept(self) -> bytes:
        raw = b"".join((*self._carry, *self._blocks, *self._chunks))
        return with_newlines(raw if self._closed else raw[: last_end(raw)])

    def _put_away(self) -> None:
        self._blocks.append(b"".join(self._chunks))
        self._chunks.clear()
        self._size = 0
        if len(self._blocks) > KEPT_BLOCKS:
            self._fold(self._blocks.popleft())

    def _fold(self, block: bytes) -> None:
        """Turn the oldest whole events into text and facts. An event larger than a block waits for its end."""
        before = self._carry[-1][-3:] if self._carry else b""
        end = last_end(before + block) - len(before)
        if end <= 0:
            self._carry.append(block)
            return
        raw = with_newlines(b"".join((*self._carry, block[:end])))
        self._carry = [block[end:]] if end < len(block) else []
        self._scan = self._scan or self._fresh()
        self._scan.absorb(raw)
        if self._text < MOST_TEXT:
            self._folded.append(self._scan.text(raw))
            self._text += len(self._folded[-1])
