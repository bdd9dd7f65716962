"""OpenAI chat completions and legacy completions, and everyone who speaks them.

Azure OpenAI, vLLM, Ollama, DeepSeek, OpenRouter, xAI, Mistral: same shape, some additions (see `openai_usage`).
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec
from msgspec import Raw, Struct

from penstock.errors import UsageError
from penstock.metering.readers.openai_usage import WireUsage, disjoint, stated_cost
from penstock.metering.readers.sse import event_at, events, keys
from penstock.metering.readers.wire import ABSENT, NULL, decode, error_code, glance
from penstock.metering.reading import Reading
from penstock.pricing.usage import Usage

HEAD_EVENTS = 8
"""The served model stands in the first event, or soon after it: Azure's first one names none."""


class Function(Struct):
    """A function that the model calls; its arguments come as text, bit by bit in a stream."""

    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class ToolCall(Struct):
    """One call, or in a stream a piece of one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Function | None = None


class Audio(Struct):
    """Spoken answer: only its transcript is text."""

    transcript: str | None = None


class Message(Struct):
    """A message, or a piece of one (`delta`)."""

    content: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    """DeepSeek, vLLM: reasoning in the open."""
    reasoning: Any = None
    """OpenRouter, Ollama, newer vLLM: the same under another name."""
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: Audio | None = None


class Choice(Struct):
    """One of `n` answers."""

    index: int = 0
    message: Message | None = None
    delta: Message | None = None
    text: str | None = None
    """Legacy completions."""
    finish_reason: str | None = None


class Head(Struct):
    """What every chunk says about the answer as a whole."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None


class Reported(Head):
    """The chunk that carries usage."""

    usage: WireUsage | None = None


class Chunk(Struct):
    """The chunk for its choices."""

    choices: list[Choice] | None = None


class Failure(Struct):
    """An error in place of an answer, or amid a stream. Older vLLM puts its members at the top."""

    error: Raw = Raw()
    object: str | None = None
    type: str | None = None
    code: str | int | None = None


class Said(Struct):
    """A whole message, as far as its shape matters: its words are skipped."""

    refusal: str | None = None
    tool_calls: list[Raw] | None = None
    function_call: Raw = ABSENT


class Answer(Struct):
    """One of `n` whole answers."""

    message: Said | None = None
    finish_reason: str | None = None


class Body(Reported):
    """A whole answer."""

    choices: list[Answer] | None = None
    error: Raw = ABSENT
    object: str | None = None
    type: str | None = None


HEAD = msgspec.json.Decoder(Head)
REPORTED = msgspec.json.Decoder(Reported)
CHUNK = msgspec.json.Decoder(Chunk)
FAILURE = msgspec.json.Decoder(Failure)
BODY = msgspec.json.Decoder(Body)


def read_chat(data: bytes) -> Reading:
    """Read a whole answer of chat or completions."""
    try:
        body: Body | None = BODY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        body = decode(BODY, data)  # says what is wrong, or mends it
    if body is None:
        return Reading(error="not_json")
    reason, refused, calls = "", False, 0
    for choice in body.choices or ():
        reason = reason or choice.finish_reason or ""
        if message := choice.message:
            refused = refused or bool(message.refusal)
            if message.tool_calls:
                calls += len(message.tool_calls)
            if message.function_call is not ABSENT:
                calls += bytes(message.function_call) not in {b"", NULL}
    usage = body.usage
    return Reading(
        usage=disjoint(usage) if usage else Usage(),
        usage_source="provider" if usage else "none",
        model=body.model or "",
        tier=body.service_tier or "",
        finish_reason="refusal" if refused and reason in {"", "stop"} else reason,
        tool_calls=calls,
        response_id=body.id or "",
        error="" if body.error is ABSENT and body.object != "error" else _error(body),
        provider_cost=stated_cost(usage) if usage and usage.cost is not ABSENT else None,
    )


def _error(body: Body) -> str:
    return error_code(body.error) or (body.type or "error" if body.object == "error" else "")


class ChatScan:
    """Facts of a chat stream, found by the few keys that announce them."""

    def __init__(self) -> None:
        self._head = Head()
        self._usage: WireUsage | None = None
        self._problem = ""
        self._reason = ""
        self._refused = False
        self._calls: set[tuple[int, int | str]] = set()
        self._error = ""

    def absorb(self, raw: bytes) -> None:
        """Take the facts out of more events."""
        self._absorb_head(raw)
        self._absorb_usage(raw)
        self._absorb_choices(raw)
        for place in keys(raw, b'"error"'):
            failure = glance(FAILURE, event_at(raw, place))
            self._error = (error_code(failure.error) if failure else "") or self._error

    def reading(self) -> Reading:
        """Say what all events so far report."""
        if self._problem:
            raise UsageError(self._problem)
        return Reading(
            usage=disjoint(self._usage) if self._usage else Usage(),
            usage_source="provider" if self._usage else "none",
            model=self._head.model or "",
            tier=self._head.service_tier or "",
            finish_reason="refusal" if self._refused and self._reason in {"", "stop"} else self._reason,
            tool_calls=len(self._calls),
            response_id=self._head.id or "",
            error=self._error,
            provider_cost=stated_cost(self._usage) if self._usage else None,
        )

    def text(self, raw: bytes) -> str:
        """Return what the model wrote: text, refusal, reasoning in the open, names and arguments of calls."""
        chunks = (glance(CHUNK, data) for data in events(raw))
        return "".join(
            chain.from_iterable(_words(choice) for chunk in chunks if chunk for choice in chunk.choices or ())
        )

    def _absorb_head(self, raw: bytes) -> None:
        for _, data in zip(range(HEAD_EVENTS), events(raw), strict=False):
            if self._head.model:
                return
            self._join(glance(HEAD, data))

    def _join(self, head: Head | None) -> None:
        if head:
            self._head = Head(
                id=self._head.id or head.id,
                model=self._head.model or head.model,
                service_tier=head.service_tier or self._head.service_tier,
            )

    def _absorb_usage(self, raw: bytes) -> None:
        for place in keys(raw, b'"usage"'):
            try:
                reported = decode(REPORTED, event_at(raw, place))
            except UsageError as problem:
                self._problem = str(problem)
                return
            if reported and reported.usage:
                self._usage, self._problem = reported.usage, ""
                self._join(reported)
                return

    def _absorb_choices(self, raw: bytes) -> None:
        for choice in _choices(raw, b'"finish_reason"'):
            if choice.finish_reason:
                self._reason = choice.finish_reason
                break
        self._refused = self._refused or any(
            choice.delta.refusal for choice in _choices(raw, b'"refusal"') if choice.delta
        )
        if b"_call" not in raw:
            return
        for choice in chain(_choices(raw, b'"tool_calls"'), _choices(raw, b'"function_call"')):
            delta = choice.delta or Message()
            if delta.function_call and delta.function_call.name:
                self._calls.add((choice.index, "function_call"))
            for call in delta.tool_calls or ():
                if call.id or (call.function and call.function.name):
                    self._calls.add((choice.index, call.id or call.index or 0))


def _choices(raw: bytes, key: bytes) -> Iterator[Choice]:
    """Yield the choices of the events that have `key`, the latest first."""
    for place in keys(raw, key):
        chunk = glance(CHUNK, event_at(raw, place))
        if chunk:
            yield from chunk.choices or ()


def _words(choice: Choice) -> list[str]:
    message = choice.delta or choice.message or Message()
    calls = [call.function or call.custom for call in message.tool_calls or ()]
    if message.function_call:
        calls.append(message.function_call)
    parts = [
        message.reasoning_content or message.reasoning,
        message.content,
        choice.text,
        message.refusal,
        message.audio.transcript if message.audio else None,
        *(word for call in calls if call for word in (call.name, call.arguments, call.input)),
    ]
    return [part for part in parts if part and isinstance(part, str)]
