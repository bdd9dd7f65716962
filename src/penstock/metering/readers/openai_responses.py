"""OpenAI responses (and Azure's): usage stands in the response object of the last event.

That event repeats the whole answer, so it may be large; it is decoded once, for its margins.
"""

import re
from itertools import chain
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from penstock.errors import UsageError
from penstock.metering.readers.openai_usage import WireUsage, disjoint, stated_cost
from penstock.metering.readers.sse import event_at, events, keys
from penstock.metering.readers.wire import decode, error_code, glance
from penstock.metering.reading import Reading
from penstock.pricing.usage import Usage

FINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
STATES = FINAL | {"response.created", "response.queued", "response.in_progress"}
"""Events that hold the response object itself."""
ERROR_EVENT = re.compile(rb'"type"\s*:\s*"error"')
WORDS = frozenset({
    "response.output_text.delta", "response.refusal.delta", "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta", "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta", "response.mcp_call_arguments.delta",
    "response.code_interpreter_call_code.delta", "response.audio.transcript.delta",
})  # fmt: skip
"""Events whose `delta` the model wrote."""


class Part(Struct):
    """A part of a message; only refusals matter here."""

    type: str | None = None


class Action(Struct):
    """What a hosted web search did: `search`, `open_page`, `find_in_page`. Only the first is billed."""

    type: str | None = None


class Item(Struct):
    """One output item: a message, reasoning, a call."""

    type: str | None = None
    id: str | None = None
    name: str | None = None
    content: list[Part] | None = None
    action: Any = None


class ImageDetails(Struct):
    """Tokens of hosted image generation by kind."""

    image_tokens: int | None = None


class ImageTool(Struct):
    """Hosted image generation, which runs a model of its own."""

    input_tokens_details: ImageDetails | None = None
    output_tokens: int | None = None


class SearchTool(Struct):
    """Hosted web search: the searches that are billed."""

    num_requests: int | None = None


class ToolUsage(Struct):
    """What hosted tools used, beside the model's own usage."""

    image_gen: ImageTool | None = None
    web_search: SearchTool | None = None


class Incomplete(Struct):
    """Why an answer stopped early: `max_output_tokens`, `content_filter`."""

    reason: str | None = None


class Response(Struct):
    """A response object by its margins."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    service_tier: str | None = None
    incomplete_details: Incomplete | None = None
    error: Raw = Raw()
    output: list[Item] | None = None
    usage: WireUsage | None = None
    tool_usage: ToolUsage | None = None


class Event(Struct):
    """One event of the stream."""

    type: str | None = None
    response: Response | None = None
    item: Item | None = None
    delta: Any = None
    code: str | None = None
    error: Raw = Raw()


RESPONSE = msgspec.json.Decoder(Response)
EVENT = msgspec.json.Decoder(Event)


def read_response(data: bytes) -> Reading:
    """Read a whole response."""
    response = decode(RESPONSE, data)
    return Reading(error="not_json") if response is None else _reading(response)


class ResponsesScan:
    """Facts of a responses stream: the latest response object, and the items that were begun."""

    def __init__(self) -> None:
        self._response = Response()
        self._final = False
        self._items: dict[str, Item] = {}
        self._refused = False
        self._problem = ""
        self._error = ""

    def absorb(self, raw: bytes) -> None:
        """Take the facts out of more events."""
        for place in keys(raw, b'"response"'):
            try:
                event = decode(EVENT, event_at(raw, place))
            except UsageError as problem:
                self._problem = str(problem)
                break
            if event and event.response and event.type in STATES:
                self._problem = ""
                self._response, self._final = event.response, event.type in FINAL
                break
        self._refused = self._refused or b'"response.refusal.d' in raw
        for place in keys(raw, b'"item"'):
            event = glance(EVENT, event_at(raw, place))
            if event and event.item and event.item.type:
                self._items.setdefault(event.item.id or str(len(self._items)), event.item)
        for place in chain(keys(raw, b'"error"'), (match.start() for match in ERROR_EVENT.finditer(raw))):
            event = glance(EVENT, event_at(raw, place))
            if event and event.type in {"error", None}:
                self._error = error_code(event.error) or event.code or "error"

    def reading(self) -> Reading:
        """Say what all events so far report."""
        if self._problem:
            raise UsageError(self._problem)
        response = self._response
        if not self._final:
            response = replace(response, output=list(self._items.values()), status=None)
        reading = _reading(response)
        refused = self._refused and not self._final
        return Reading(
            **{
                **msgspec.structs.asdict(reading),
                "error": reading.error or self._error,
                "finish_reason": "refusal" if refused else reading.finish_reason,
            }
        )

    def text(self, raw: bytes) -> str:
        """Return what the model wrote: text, refusal, reasoning summaries, names and arguments of calls."""
        parts = []
        for data in events(raw):
            event = glance(EVENT, data)
            if event is None:
                continue
            if event.type in WORDS and isinstance(event.delta, str):
                parts.append(event.delta)
            elif event.type == "response.output_item.added" and event.item and event.item.name:
                parts.append(event.item.name)
        return "".join(parts)


def _reading(response: Response) -> Reading:
    refused, calls = False, 0
    for item in response.output or ():
        calls += (item.type or "").endswith("_call")
        refused = refused or any(part.type == "refusal" for part in item.content or ())
    incomplete = response.incomplete_details.reason if response.incomplete_details else None
    reason = incomplete or response.status or ""
    usage = disjoint(response.usage) if response.usage else Usage()
    return Reading(
        usage=usage + _hosted_tools(response) if calls or response.tool_usage else usage,
        usage_source="provider" if response.usage else "none",
        model=response.model or "",
        tier=response.service_tier or "",
        finish_reason="refusal" if refused and reason in {"", "completed"} else reason,
        tool_calls=calls,
        response_id=response.id or "",
        error=error_code(response.error),
        provider_cost=stated_cost(response.usage) if response.usage else None,
    )


def _hosted_tools(response: Response) -> Usage:
    """Count what hosted tools add to the bill: searches, and pictures made by a model of their own."""
    items = response.output or ()
    told = response.tool_usage or ToolUsage()
    searches = told.web_search.num_requests if told.web_search else None
    if searches is None:
        searches = sum(item.type == "web_search_call" and _is_search(item.action) for item in items)
    pictures = told.image_gen or ImageTool()
    return Usage(
        web_searches=searches,
        file_searches=sum(item.type == "file_search_call" for item in items),
        input_image=(pictures.input_tokens_details or ImageDetails()).image_tokens or 0,
        output_image=pictures.output_tokens or 0,
    )


def _is_search(action: Any) -> bool:
    """Tell whether a web search call searched; older replies do not say, and they did."""
    return not isinstance(action, dict) or action.get("type", "search") == "search"
