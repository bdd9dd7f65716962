"""Input tokens of a whole request: what its texts take, and what is put around them.

Frames. OpenAI: 3 tokens a message (4 from gpt-5 on), its role, its name and 1; 3 to begin the answer; tools as a
TypeScript namespace and 9, less 4 where a system message is there to hold them. Exact on the recorded answers of
gpt-3.5-turbo (tests/recorded/openai_chat_overhead.json); newer models moved these constants a little, so tools count
as `scaled`.
Anthropic: 7 tokens around the first message; tools as JSON, with what data/tokenizers.toml adds.
"""

import json
from collections.abc import Callable
from typing import Any

from penstock.errors import InputError
from penstock.metering.count import Count
from penstock.metering.families import picture_of, tokenizer_of
from penstock.metering.pictures import UNKNOWN_SIZE, picture_tokens, size_of_base64
from penstock.metering.reading import Flavour
from penstock.metering.tool_schema import namespace

A_NAME, THE_ANSWER = 1, 3
TOOLS, TOOLS_IN_SYSTEM = 9, -4
A_FUNCTION_CALL, A_FUNCTION_RESULT = 3, -2
ANTHROPIC_FRAME, ANTHROPIC_TURN = 7, 4
TOOLS_BAND = 0.10
"""Newer models render tools a little differently: 10 % of a tool's tokens."""
A_FILE = Count(3_000, "estimated", 1.0)
"""A PDF or another attachment: two or three pages; its true size is known only to the provider."""
A_SOUND = Count(600, "estimated", 1.0)
"""A minute of audio at ten tokens a second."""
A_HISTORY = Count(0, "estimated", 1.0)
"""A conversation that the provider keeps (`previous_response_id`, a file, a prompt): not in the request."""


class Texts:
    """Counts the parts of one request for one model."""

    def __init__(self, model: str, count: Callable[[str], Count]) -> None:
        self.model = model
        self.count = count
        self.frame = tokenizer_of(model).message

    def text(self, value: Any) -> Count:
        """Count a text; anything else that is there counts as its JSON."""
        if value is None or value == "":
            return Count(0)
        return self.count(value if isinstance(value, str) else _json(value))

    def picture(self, source: str, detail: Any) -> Count:
        """Count a picture by its data URL or base64; one that is not in the request by a usual size."""
        rule = picture_of(self.model)
        data = source.partition("base64,")[2] if source.startswith("data:") else source
        inside = source.startswith("data:") or (bool(source) and "://" not in source)
        size = size_of_base64(data) if inside else None
        tokens = picture_tokens(rule, *(size or UNKNOWN_SIZE), detail if isinstance(detail, str) else "auto")
        if size is None or rule.guess:
            return Count(tokens, "estimated", 1.0)
        return Count(tokens, "scaled", 0.05)


def request_tokens(flavour: Flavour, body: bytes, texts: Texts) -> Count:
    """Count the input tokens of a body; InputError when it is no JSON object."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"The request's body cannot be counted, it is not JSON: {problem}") from None
    if not isinstance(request, dict):
        raise InputError("The request's body cannot be counted: it is not a JSON object.")
    match flavour:
        case "openai.chat":
            return _chat(request, texts)
        case "openai.responses":
            return _responses(request, texts)
        case "anthropic.messages":
            return _anthropic(request, texts)
        case "openai.completions":
            return _prompts(request.get("prompt"), texts) + texts.text(request.get("suffix"))
        case "openai.embeddings":
            return _prompts(request.get("input"), texts)


def _prompts(value: Any, texts: Texts) -> Count:
    """Count a text, a list of texts, a list of token numbers, or a list of such lists."""
    if isinstance(value, list):
        if all(isinstance(item, int) for item in value):
            return Count(len(value))
        return _sum(_prompts(item, texts) for item in value)
    return texts.text(value)


def _chat(request: dict[str, Any], texts: Texts) -> Count:
    messages = _objects(request.get("messages"))
    functions = [
        *_objects(request.get("functions")),
        *(_object(tool.get("function")) for tool in _objects(request.get("tools")) if "function" in tool),
    ]
    total = Count(THE_ANSWER) + _schema(_object(request.get("response_format")).get("json_schema"), texts)
    padded = not functions
    for message in messages:
        system = message.get("role") == "system"
        total += _message(message, texts, "\n" if system and not padded else "")
        padded = padded or system
    if functions:
        total += _tools(functions, texts, in_system=any(message.get("role") == "system" for message in messages))
        total += _choice(request.get("tool_choice", request.get("function_call")), texts)
    return total


def _message(message: dict[str, Any], texts: Texts, padding: str) -> Count:
    total = Count(texts.frame) + texts.text(message.get("role"))
    content = message.get("content")
    total += texts.text(content + padding) if isinstance(content, str) and content else _parts(content, texts)
    if message.get("name"):
        total += texts.text(message["name"]) + Count(A_NAME)
    if message.get("role") == "function":
        total += Count(A_FUNCTION_RESULT)
    calls = [_object(call.get("function") or call.get("custom")) for call in _objects(message.get("tool_calls"))]
    for call in [*calls, *([_object(message["function_call"])] if message.get("function_call") else [])]:
        total += Count(A_FUNCTION_CALL) + texts.text(call.get("name"))
        total += texts.text(call.get("arguments", call.get("input")))
    return total + texts.text(message.get("refusal")) + texts.text(message.get("reasoning_content"))


def _parts(content: Any, texts: Texts) -> Count:
    """Count the parts of a message: text, pictures, sounds, files, in any of the three protocols."""
    if isinstance(content, str):
        return texts.text(content)
    total = Count(0)
    for part in _objects(content):
        source = _object(part.get("source"))
        match part.get("type"):
            case "image_url":
                image = _object(part.get("image_url"))
                total += texts.picture(str(image.get("url", "")), image.get("detail"))
            case "input_image":
                total += texts.picture(str(part.get("image_url") or ""), part.get("detail"))
            case "image":
                total += texts.picture(str(source.get("data", "")), None)
            case "input_audio":
                total += A_SOUND
            case "file" | "input_file":
                total += A_FILE
            case "document":
                plain = source.get("type") in {"text", "content"}
                total += _parts(source.get("data") or source.get("content"), texts) if plain else A_FILE
            case "tool_use" | "server_tool_use":
                total += texts.text(part.get("name")) + texts.text(part.get("input"))
            case "tool_result":
                total += _parts(part.get("content"), texts)
            case "thinking":
                total += texts.text(part.get("thinking"))
            case "redacted_thinking":
                total += A_HISTORY
            case _:
                total += texts.text(part.get("text", part.get("refusal")))
    return total


def _tools(functions: list[dict[str, Any]], texts: Texts, *, in_system: bool) -> Count:
    frame = Count(TOOLS + (TOOLS_IN_SYSTEM if in_system else 0))
    return frame + texts.text(namespace(functions)).rougher(TOOLS_BAND)


def _choice(choice: Any, texts: Texts) -> Count:
    """Count what a forced tool (its name and 4) or none (1) adds."""
    if choice == "none":
        return Count(1)
    forced = _object(choice)
    name = _object(forced.get("function")).get("name") or forced.get("name")
    return texts.text(name) + Count(4) if name else Count(0)


def _schema(schema: Any, texts: Texts) -> Count:
    """Count the schema of a structured answer, which is put before the system message."""
    return texts.text(schema).rougher(TOOLS_BAND) if schema else Count(0)


def _responses(request: dict[str, Any], texts: Texts) -> Count:
    instructions, given = request.get("instructions"), request.get("input")
    total = Count(THE_ANSWER) + _schema(_object(_object(request.get("text")).get("format")).get("schema"), texts)
    if instructions:
        total += Count(texts.frame) + texts.text("system") + _parts(instructions, texts)
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else _objects(given):
        match item.get("type", "message"):
            case "message":
                total += Count(texts.frame) + texts.text(item.get("role")) + _parts(item.get("content"), texts)
            case "function_call" | "custom_tool_call":
                total += Count(texts.frame + A_FUNCTION_CALL) + texts.text(item.get("name"))
                total += texts.text(item.get("arguments", item.get("input")))
            case "function_call_output" | "custom_tool_call_output":
                total += Count(texts.frame) + _parts(item.get("output"), texts)
            case _:
                total += A_HISTORY
    tools = [tool for tool in _objects(request.get("tools")) if tool.get("type") == "function"]
    if tools:
        total += _tools(tools, texts, in_system=bool(instructions)) + _choice(request.get("tool_choice"), texts)
    kept = any(request.get(name) for name in ("previous_response_id", "conversation", "prompt"))
    return total + A_HISTORY if kept or len(tools) < len(_objects(request.get("tools"))) else total


def _anthropic(request: dict[str, Any], texts: Texts) -> Count:
    messages = _objects(request.get("messages"))
    total = Count(ANTHROPIC_FRAME + ANTHROPIC_TURN * max(0, len(messages) - 1)) + _parts(request.get("system"), texts)
    for message in messages:
        total += _parts(message.get("content"), texts)
    tools = _objects(request.get("tools"))
    if tools:
        tokenizer = tokenizer_of(texts.model)
        total += Count(tokenizer.tool_system + tokenizer.tool_each * len(tools)).rougher(TOOLS_BAND)
    for tool in tools:
        total += texts.text({name: tool[name] for name in ("name", "description", "input_schema") if name in tool})
    return total


def _sum(counts: Any) -> Count:
    return sum(counts, Count(0))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
