"""Anthropic messages.

Convention: `input_tokens` excludes cache reads and writes already; in a stream `message_start` gives the input side,
and each `message_delta` gives totals so far, which replace (never add to) what came before. Compaction runs inside
`usage.iterations` are billed and are not part of the totals.
"""

import msgspec
from msgspec import Raw, Struct

from penstock.errors import UsageError
from penstock.metering.readers.sse import event_at, events, keys
from penstock.metering.readers.wire import decode, error_code, glance
from penstock.metering.reading import Reading
from penstock.pricing.usage import Usage, part_of

TOOL_USES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class CacheCreation(Struct):
    """Cache writes by lifetime."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class ServerToolUse(Struct):
    """Requests of the provider's own tools. Fetches are free."""

    web_search_requests: int | None = None


class OutputDetails(Struct):
    """Thinking inside the output."""

    thinking_tokens: int | None = None


class Tokens(Struct):
    """Counts of a message or of one iteration."""

    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None


class Iteration(Tokens):
    """One sampling inside a reply."""

    type: str | None = None


class WireUsage(Tokens):
    """`usage`, in a message, in `message_start` and in `message_delta`."""

    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    speed: str | None = None
    """`fast` has prices of its own, so it is reported as the tier."""
    inference_geo: str | None = None
    iterations: list[Iteration] | None = None


class Block(Struct):
    """A block of content."""

    type: str | None = None
    name: str | None = None


class Message(Struct):
    """A message by its margins."""

    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    content: list[Block] | None = None
    usage: WireUsage | None = None
    error: Raw = Raw()


class Delta(Struct):
    """What a delta event carries: text of one kind, or why the message ended."""

    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    stop_reason: str | None = None


class Event(Struct):
    """One event of the stream."""

    type: str | None = None
    index: int | None = None
    message: Message | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: WireUsage | None = None


class Failure(Struct):
    """An event that carries an error, whoever wrote it."""

    error: Raw = Raw()


FAILURE = msgspec.json.Decoder(Failure)
MESSAGE = msgspec.json.Decoder(Message)
EVENT = msgspec.json.Decoder(Event)


def read_message(data: bytes) -> Reading:
    """Read a whole message, or the error in its place."""
    message = decode(MESSAGE, data)
    if message is None:
        return Reading(error="not_json")
    calls = sum(block.type in TOOL_USES for block in message.content or ())
    return _reading(message, message.usage, calls)


class MessagesScan:
    """Facts of a messages stream."""

    def __init__(self) -> None:
        self._message = Message()
        self._usage: WireUsage | None = None
        self._partial = False
        self._calls = 0
        self._problem = ""

    def absorb(self, raw: bytes) -> None:
        """Take the facts out of more events."""
        reports = set(keys(raw, b'"usage"'))
        for place in sorted(reports | set(keys(raw, b'"message"'))):
            try:
                self._absorb_event((decode if place in reports else glance)(EVENT, event_at(raw, place)))
            except UsageError as problem:
                self._problem = str(problem)
        for place in keys(raw, b'"content_block"'):
            event = glance(EVENT, event_at(raw, place))
            if event and event.content_block:
                self._calls += event.content_block.type in TOOL_USES
        for place in keys(raw, b'"error"'):
            failure = glance(FAILURE, event_at(raw, place))
            if failure and error_code(failure.error):
                self._message.error = failure.error

    def reading(self) -> Reading:
        """Say what all events so far report."""
        if self._problem:
            raise UsageError(self._problem)
        reading = _reading(self._message, self._usage, self._calls)
        return msgspec.structs.replace(reading, partial=True) if self._partial else reading

    def text(self, raw: bytes) -> str:
        """Return what the model wrote: text, thinking as far as it is shown, names and arguments of tools."""
        parts: list[str | None] = []
        for data in events(raw):
            event = glance(EVENT, data)
            if event and event.delta:
                parts += (event.delta.thinking, event.delta.text, event.delta.partial_json)
            elif event and event.content_block:
                parts.append(event.content_block.name)
        return "".join(part for part in parts if part)

    def _absorb_event(self, event: Event | None) -> None:
        if event is None:
            return
        if event.message and event.type == "message_start":
            error = self._message.error
            self._message, self._usage = event.message, event.message.usage
            self._partial = self._usage is not None  # its one token of output is the first of many
            self._message.error = self._message.error if bytes(self._message.error) else error
        elif event.type == "message_delta":
            self._usage = _later(self._usage or WireUsage(), event.usage or WireUsage())
            self._partial = self._partial and (event.usage is None or event.usage.output_tokens is None)
            if event.delta and event.delta.stop_reason:
                self._message.stop_reason = event.delta.stop_reason


def _later(before: WireUsage, after: WireUsage) -> WireUsage:
    """Let what `after` reports replace what stood before: both are totals."""
    told = {name: value for name, value in msgspec.structs.asdict(after).items() if value is not None}
    return msgspec.structs.replace(before, **told)


def _reading(message: Message, wire: WireUsage | None, calls: int) -> Reading:
    wire_ = wire or WireUsage()
    return Reading(
        usage=_usage(wire_),
        usage_source="provider" if wire else "none",
        model=message.model or "",
        tier="fast" if wire_.speed == "fast" else wire_.service_tier or "",
        region="" if wire_.inference_geo in {None, "global", "not_available"} else wire_.inference_geo or "",
        finish_reason=message.stop_reason or "",
        tool_calls=calls,
        response_id=message.id or "",
        error=error_code(message.error),
    )


def _usage(wire: WireUsage) -> Usage:
    usage = _buckets(wire)
    for iteration in wire.iterations or ():
        if iteration.type == "compaction":
            usage += _buckets(iteration)
    searches = wire.server_tool_use.web_search_requests if wire.server_tool_use else None
    return usage + Usage(web_searches=searches) if searches else usage


def _buckets(tokens: Tokens) -> Usage:
    split = tokens.cache_creation or CacheCreation()
    long_writes = split.ephemeral_1h_input_tokens or 0
    writes = tokens.cache_creation_input_tokens
    if writes is None:
        writes = (split.ephemeral_5m_input_tokens or 0) + long_writes
    thinking = (tokens.output_tokens_details or OutputDetails()).thinking_tokens or 0
    part_of(tokens.output_tokens or 0, thinking, "thinking tokens inside output_tokens")
    return Usage(
        input=tokens.input_tokens or 0,
        cache_read=tokens.cache_read_input_tokens or 0,
        cache_write=part_of(writes, long_writes, "1-hour cache writes inside cache_creation_input_tokens"),
        cache_write_1h=long_writes,
        output=tokens.output_tokens or 0,
        reasoning=thinking,
    )
