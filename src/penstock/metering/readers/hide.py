"""A relay that takes out the usage that only we asked for (`stream_options.include_usage`).

The client then sees what the provider would have sent without it: no chunk that holds nothing but usage, no
`"usage":null` in the others; every other byte as it came. Whole events are relayed, so the unfinished rest of a read
waits for its end (at most `HELD` bytes; after that the stream is relayed as it is).
"""

import re
from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from penstock.metering.readers.relay import BLOCK, RelayReader, Scan
from penstock.metering.readers.sse import EVENT_END, data_of, last_end, with_newlines
from penstock.metering.readers.wire import NULL, glance

HELD = 4_194_304
OBFUSCATION = b',"obfuscation":"'
OBFUSCATED = re.compile(rb'(\]),"usage":null(,"obfuscation":"[0-9A-Za-z]*"\}\n\n)')
MEMBER = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*(?:,\s*)?')


class Chunk(Struct):
    """Enough of a chunk to tell whether it holds anything but usage."""

    choices: list[Raw] | None = None
    usage: Raw = Raw()
    prompt_filter_results: Raw = Raw()
    """Azure's first chunk: no choices either, and not ours to drop."""


CHUNK = msgspec.json.Decoder(Chunk)


class HidingReader(RelayReader):
    """A `StreamReader` that hides usage from the client and reads it all the same."""

    def __init__(self, scan: Callable[[], Scan]) -> None:
        super().__init__(scan)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take what came, return the whole events in it without the usage."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > BLOCK:
            self._put_away()
        if not self._held and data.endswith(b"\n\n"):
            return without_usage(data)  # whole events, as nearly every read is
        data = self._held + data
        end = last_end(data)
        self._held = data[end:]
        if len(self._held) > HELD:
            end, self._held = len(data), b""
        return without_usage(data[:end])

    def close(self) -> bytes:
        """Return the unfinished last event, if the stream ended without a blank line."""
        super().close()
        rest, self._held = self._held, b""
        return without_usage(rest)


def without_usage(events: bytes) -> bytes:
    """Take usage out of whole events."""
    if b'"usage"' not in events:
        return events
    # Where the member ends the event, it is the chunk's own: the last brace closes the outermost object, and neither
    # a bare quote nor a line's end can stand inside a string. So nearly all of a stream is done without parsing it.
    events = events.replace(b',"usage":null}\n\n', b"}\n\n")
    if OBFUSCATION in events:
        events = OBFUSCATED.sub(rb"\1\2", events)
    if b'"usage"' not in events:
        return events
    if b"\r" not in events:
        shown = [(event, _event_without_usage(event)) for event in events.split(b"\n\n")]
        return b"\n\n".join([left for event, left in shown if left or not event])
    parts, start = [], 0
    for match in EVENT_END.finditer(events):
        parts.append(_event_without_usage(events[start : match.end()]))
        start = match.end()
    parts.append(_event_without_usage(events[start:]))
    return b"".join(parts)


def _event_without_usage(event: bytes) -> bytes:
    if b'"usage"' not in event:
        return event
    chunk = glance(CHUNK, data_of(with_newlines(event).rstrip(b"\n")))
    usage = bytes(chunk.usage) if chunk else b""
    if chunk is None or not usage:
        return event
    if usage != NULL:
        only_usage = chunk.choices == [] and not bytes(chunk.prompt_filter_results)
        return b"" if only_usage else event
    if event.count(b'"usage"') == 1 and b',"usage":null' in event:
        return event.replace(b',"usage":null', b"")  # the only one is the chunk's own
    for match in MEMBER.finditer(event):
        if _depth(event[: match.start()]) == 1:
            return event[: match.start()] + event[match.end() :]
    return event


def _depth(before: bytes) -> int:
    """Count the JSON objects and arrays that are open after `before`."""
    outside = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", before)
    return sum(map(outside.count, (b"{", b"["))) - sum(map(outside.count, (b"}", b"]")))
