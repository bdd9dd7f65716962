"""What a request asks of a model, read out of its body in one pass. Nothing of it is kept."""

from typing import Any

import msgspec
from msgspec import Struct

MOST_TEXT = 4_000
"""Characters of a text that are looked at for its task: what comes later seldom changes it."""
CHARACTERS_A_TOKEN = 3
"""Cautious: English text has about four, and a model must not be chosen that the prompt does not fit."""

CHARACTERS_A_PART = 4_500
"""What a picture, a sound or a file counts for, as characters: 1,500 tokens."""
MEDIA = frozenset({"images", "audio", "files"})


class _Part(Struct):
    type: str = ""
    text: str | None = None


class _Message(Struct):
    role: str = ""
    content: str | list[_Part] | None = None
    type: str = ""

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class _Function(Struct):
    name: str = ""


class _Tool(Struct):
    type: str = ""
    name: str = ""
    function: _Function | None = None


class _Format(Struct):
    type: str = ""


class _Text(Struct):
    format: _Format | None = None


class _Body(Struct):
    messages: list[_Message] = []
    input: Any = None
    prompt: Any = None
    system: str | list[_Part] | None = None
    instructions: str | None = None
    tools: list[_Tool] | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    text: _Text | None = None
    logprobs: bool | int | None = None
    previous_response_id: str | None = None


BODY = msgspec.json.Decoder(_Body)


class Asked(Struct, frozen=True, gc=False):
    """A request as routing sees it."""

    system: str = ""
    """What the application says; the same for all its calls."""
    first: str = ""
    """The first message of the user: with `system`, it names a conversation."""
    last: str = ""
    """The text that is to be answered."""
    tools: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    """What a model must be able to do: `tools`, `parallel_tools`, `json_object`, `json_schema`, `images`, `audio`,
    `files`, `logprobs`."""
    turns: int = 1
    """Messages of the conversation so far, without the system's."""
    in_tool_loop: bool = False
    """The last message is the result of a tool: another model would go on with what the first one began."""
    stored: bool = False
    """The conversation is kept by the provider: no other one knows it."""
    prompt_tokens: int = 0
    """At most, by the length of the body."""


NOTHING = Asked()


def read_asked(body: bytes) -> Asked:
    """Read a body. What cannot be read asks for nothing in particular: the provider will say what is wrong with it."""
    try:
        said = BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Asked(prompt_tokens=len(body) // CHARACTERS_A_TOKEN + 1)
    messages = said.messages or _messages_of(said.input if said.input is not None else said.prompt)
    talk = [one for one in messages if one.role not in {"system", "developer"}]
    users = [text for one in talk if one.role in {"user", ""} and (text := one.text)]
    system = [one.text for one in messages if one.role in {"system", "developer"}]
    if isinstance(said.system, list):
        system += [part.text or "" for part in said.system]
    elif said.system or said.instructions:
        system.append(said.system or said.instructions or "")
    names = tuple(tool.function.name if tool.function else tool.name or tool.type for tool in said.tools or ())
    last = talk[-1] if talk else None
    needs = _needs(said, messages, body)
    size = len(body)
    if needs & MEDIA:  # their bytes say nothing of their tokens
        parts = [len(one.content) for one in messages if isinstance(one.content, list)]
        size = sum(len(one.text) for one in messages) + sum(map(len, system)) + sum(parts) * CHARACTERS_A_PART
    return Asked(
        "\n".join(system), users[0][:MOST_TEXT] if users else "", users[-1][:MOST_TEXT] if users else "",
        names, needs, max(1, len(talk)), last is not None and _is_result(last),
        bool(said.previous_response_id), size // CHARACTERS_A_TOKEN + 1,
    )  # fmt: skip


def _messages_of(given: Any) -> list[_Message]:
    """Read the `input` of a response, or the `prompt` of a completion."""
    if isinstance(given, str):
        return [_Message("user", given)]
    if not isinstance(given, list):
        return []
    try:
        return msgspec.convert(given, list[_Message])
    except msgspec.ValidationError:
        return [_Message("user", one) for one in given if isinstance(one, str)]


def _is_result(message: _Message) -> bool:
    if message.role == "tool" or message.type == "function_call_output":
        return True
    parts = message.content
    return isinstance(parts, list) and any(part.type == "tool_result" for part in parts)


def _needs(said: _Body, messages: list[_Message], body: bytes) -> frozenset[str]:
    needs = set()
    if said.tools:
        needs.add("tools")
        if said.parallel_tool_calls:
            needs.add("parallel_tools")
    shape = said.response_format or (said.text.format if said.text else None)
    if shape is not None and shape.type in {"json_object", "json_schema"}:
        needs.add(shape.type)
    if said.logprobs:
        needs.add("logprobs")
    if b"image" in body or b"audio" in body or b"file" in body or b"document" in body:
        for message in messages:
            if isinstance(message.content, list):
                needs.update(KINDS[part.type] for part in message.content if part.type in KINDS)
    return frozenset(needs)


KINDS = {
    "image_url": "images", "input_image": "images", "image": "images", "input_audio": "audio",
    "file": "files", "input_file": "files", "document": "files",
}  # fmt: skip
"""Parts of a message that ask for more than reading text."""
