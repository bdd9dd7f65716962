"""What a request asks, whichever protocol it came in: the part of it that decides the answer and the cache."""

import hashlib
import re
from typing import Any

import msgspec
from msgspec import Struct

from penstock.gateway.sandbox.failures import Failed
from penstock.gateway.sandbox.models import Model
from penstock.metering.reading import Flavour

NOT_ASKED = frozenset({
    "max_completion_tokens", "max_output_tokens", "max_tokens", "metadata", "n", "prompt_cache_key",
    "safety_identifier", "service_tier", "stop", "stop_sequences", "store", "stream", "stream_options", "user",
})  # fmt: skip
"""Fields of a request that do not change what the answer begins with."""
_IDS = re.compile(rb'"(?:id|call_id|tool_call_id|tool_use_id|previous_response_id|signature)":"[^"]*"')
"""Names that the provider drew by lot; a quotation mark inside a text is escaped, so texts stay whole."""


class Tool(Struct, frozen=True):
    """A function that the caller offers."""

    name: str
    schema: dict[str, Any]


class Segment(Struct, frozen=True):
    """A stretch of the prompt in the order in which the provider reads it: tools, instructions, messages."""

    text: bytes
    said: str = ""
    """The part of it that is counted: what stands between the frames (Anthropic)."""
    mark: str = ""
    """`5m` or `1h`: an Anthropic cache breakpoint stands at the end of it."""


class Ask(Struct, frozen=True, kw_only=True):
    """One question, in plain terms."""

    flavour: Flavour
    model: Model
    body: dict[str, Any]
    digest: bytes
    """Decides the answer; the same for a streamed and a plain call."""
    segments: tuple[Segment, ...] = ()
    users_turn: bool = True
    """The last message is the user's, not a tool's result."""
    last_text: str = ""
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    """`auto`, `none`, `required`, or the name of a tool."""
    parallel: bool = True
    schema: dict[str, Any] | None = None
    limit: int | None = None
    """Most tokens of the answer, hidden ones included."""
    stops: tuple[str, ...] = ()
    n: int = 1
    recalled: bool = False
    """`body` holds more than was sent: the conversation that `previous_response_id` stands for."""
    effort: str = "medium"
    thinking: int = 0
    """Budget of visible thinking (Anthropic), tokens."""


def digest_of(body: dict[str, Any]) -> bytes:
    """Digest the part of a request that decides its answer."""
    asked = {key: value for key, value in body.items() if key not in NOT_ASKED}
    text = msgspec.json.encode(asked, order="deterministic")
    return hashlib.blake2b(_IDS.sub(b"", text), digest_size=32).digest()


def from_chat(body: dict[str, Any], model: Model) -> Ask:
    """Read a request of `/v1/chat/completions`."""
    messages = _list(body, "messages")
    if model.reasons and body.get("max_tokens") is not None:
        raise Failed(
            "400", f"max_tokens does not work with {model.name}; use max_completion_tokens.",
            param="max_tokens", code="unsupported_parameter",
        )  # fmt: skip
    tools = tuple(
        Tool(tool["function"]["name"], tool["function"].get("parameters") or {})
        for tool in body.get("tools") or ()
        if tool.get("type") == "function"
    )
    last = messages[-1]
    return Ask(
        flavour="openai.chat", model=model, body=body, digest=digest_of(body),
        segments=_segments(body.get("tools"), _schema_text(body.get("response_format")), *messages),
        users_turn=last.get("role") == "user", last_text=text_of(last.get("content")),
        tools=tools, choice=_choice(body.get("tool_choice")), parallel=body.get("parallel_tool_calls") is not False,
        schema=_schema(body.get("response_format")), limit=body.get("max_completion_tokens") or body.get("max_tokens"),
        stops=_strings(body.get("stop")), n=body.get("n") or 1, effort=body.get("reasoning_effort") or "medium",
    )  # fmt: skip


def from_completions(body: dict[str, Any], model: Model) -> Ask:
    """Read a request of `/v1/completions`."""
    prompt = body.get("prompt") or ""
    return Ask(
        flavour="openai.completions", model=model, body=body, digest=digest_of(body), last_text=text_of(prompt),
        segments=_segments(prompt), limit=body.get("max_tokens") or 16, stops=_strings(body.get("stop")),
        n=body.get("n") or 1,
    )  # fmt: skip


def from_responses(body: dict[str, Any], model: Model, history: list[Any]) -> Ask:
    """Read a request of `/v1/responses`; `history` is what `previous_response_id` stands for."""
    given = body.get("input")
    if given is None:
        raise Failed("400", "input is missing.", param="input", code="missing_required_parameter")
    items = [*history, *([{"role": "user", "content": given}] if isinstance(given, str) else given)]
    last = items[-1] if items else {}
    form = (body.get("text") or {}).get("format")
    tools = tuple(
        Tool(tool["name"], tool.get("parameters") or {})
        for tool in body.get("tools") or ()
        if tool.get("type") == "function"
    )
    whole = body | {"input": items} if history else body
    return Ask(
        flavour="openai.responses", model=model, body=whole, digest=digest_of(whole),
        segments=_segments(body.get("tools"), _schema_text(form), body.get("instructions"), *items),
        users_turn=last.get("role") == "user", last_text=text_of(last.get("content")),
        tools=tools, choice=_choice(body.get("tool_choice")), parallel=body.get("parallel_tool_calls") is not False,
        schema=_schema(form), limit=body.get("max_output_tokens"),
        effort=(body.get("reasoning") or {}).get("effort") or "medium", recalled=bool(history),
    )  # fmt: skip


def from_messages(body: dict[str, Any], model: Model) -> Ask:
    """Read a request of `/v1/messages`."""
    messages = _list(body, "messages")
    last = messages[-1]
    blocks = last.get("content")
    results = isinstance(blocks, list) and any(block.get("type") == "tool_result" for block in blocks)
    choice = body.get("tool_choice") or {}
    kind = choice.get("type", "auto")
    form = (body.get("output_config") or {}).get("format") or body.get("output_format")
    thinking = body.get("thinking") or {}
    return Ask(
        flavour="anthropic.messages", model=model, body=body, digest=digest_of(body),
        segments=_anthropic_segments(body),
        users_turn=last.get("role") == "user" and not results, last_text=text_of(blocks),
        tools=tuple(
            Tool(tool["name"], tool["input_schema"]) for tool in body.get("tools") or () if "input_schema" in tool
        ),
        choice=choice.get("name", "") if kind == "tool" else {"any": "required"}.get(kind, kind),
        parallel=not choice.get("disable_parallel_tool_use", False),
        schema=_schema(form), limit=body.get("max_tokens"), stops=_strings(body.get("stop_sequences")),
        thinking=thinking.get("budget_tokens", 1024) if thinking.get("type") in ("enabled", "adaptive") else 0,
    )  # fmt: skip


def text_of(content: Any) -> str:
    """Return the text of a message's content, whatever form it has."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(
            part if isinstance(part, str) else str(part.get("text") or "")
            for part in content
            if isinstance(part, str | dict)
        )
    return ""


def _list(body: dict[str, Any], field: str) -> list[Any]:
    value = body.get(field)
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise Failed("400", f"{field} must be a list of at least one.", param=field, code="missing_required_parameter")
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(value or ())


def _choice(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("name") or (value.get("function") or {}).get("name") or "required")
    return value or "auto"


def _schema(form: Any) -> dict[str, Any] | None:
    if not isinstance(form, dict):
        return None
    if form.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    if form.get("type") != "json_schema":
        return None
    inner = form.get("json_schema") or form
    return inner.get("schema") or {}


def _schema_text(form: Any) -> Any:
    return form if _schema(form) is not None else None


def _segments(*parts: Any) -> tuple[Segment, ...]:
    return tuple(Segment(msgspec.json.encode(part)) for part in parts if part)


def _anthropic_segments(body: dict[str, Any]) -> tuple[Segment, ...]:
    blocks: list[Any] = list(body.get("tools") or ())
    system = body.get("system")
    blocks += [{"text": system}] if isinstance(system, str) else system or []
    for message in body["messages"]:
        content = message.get("content")
        role = message.get("role")
        inner = [{"text": content}] if isinstance(content, str) else content or []
        blocks += [{"role": role} | block for block in inner]
    marks = [_mark(block.get("cache_control")) for block in blocks]
    if top := _mark(body.get("cache_control")):
        marks[-1] = marks[-1] or top
    return tuple(
        Segment(
            msgspec.json.encode({key: value for key, value in block.items() if key != "cache_control"}),
            _said(block),
            mark,
        )
        for block, mark in zip(blocks, marks, strict=True)
    )


def _said(block: dict[str, Any]) -> str:
    if "input_schema" in block:
        return f"{block.get('name')} {block.get('description', '')}"
    return str(block.get("text") or text_of(block.get("content")))


def _mark(control: Any) -> str:
    return str(control.get("ttl") or "5m") if isinstance(control, dict) else ""
