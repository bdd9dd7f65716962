"""The answers: plain words made from a digest of the question, so that the same question has the same answer."""

import hashlib
import re
from functools import lru_cache

import msgspec
from msgspec import Struct

from penstock.gateway.sandbox import schema
from penstock.gateway.sandbox.ask import Ask, Tool
from penstock.gateway.sandbox.control import Control
from penstock.gateway.sandbox.tokens import count_text

_WORDS = tuple(
    """the a water flow gate value cost time data plan day team model call price report number change result
    point line case part list note step small large new old clear open next same first last good simple
    shows holds moves turns keeps gives takes needs finds makes over under with from into after before
    and then here now each more less most""".split()  # noqa: SIM905 - words read best as prose
)
_OPENING = "Sandbox answer:"
_VERBS = frozenset(
    "call create delete fetch find function list look make query read search send tool update".split()  # noqa: SIM905
)
_EFFORTS = {"none": 0, "minimal": 0, "low": 2, "medium": 6, "high": 16, "xhigh": 32}


class ToolCall(Struct, frozen=True):
    """A tool that the answer asks for."""

    name: str
    arguments: str


class Answer(Struct, frozen=True, kw_only=True):
    """One choice of a reply."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    """Visible thinking (Anthropic)."""
    reasoning: int = 0
    """Hidden tokens that came before."""
    finish: str = "stop"
    """`stop`, `length`, `tool_calls`, `content_filter` or `refusal`."""
    stop: str = ""
    """The stop sequence that ended it."""


def tokens_of(model: str, text: str, calls: tuple[ToolCall, ...] = ()) -> int:
    """Count what is visible of an answer."""
    visible = count_text(model, text) if text else 0
    return visible + sum(count_text(model, call.name) + count_text(model, call.arguments) for call in calls)


def answer(ask: Ask, control: Control, index: int) -> Answer:
    """Answer the question; `index` tells the choices of one reply apart."""
    digest = ask.digest if index == 0 else hashlib.blake2b(ask.digest + bytes([index % 256])).digest()
    model = ask.model.name
    if control.finish == "refusal":
        return Answer(text="Sandbox: this is declined, as was asked for.", finish="refusal")
    reasoning = _reasoning(ask, control, digest)
    thinking = _prose(digest[::-1], min(ask.thinking, 40 + digest[2])) if ask.thinking else ""
    room = None if ask.limit is None else ask.limit - reasoning - (count_text(model, thinking) if thinking else 0)
    if room is not None and room <= 0:
        return Answer(reasoning=min(reasoning, ask.limit or 0), thinking=thinking, finish="length")
    if calls := _calls(ask, control, digest):
        return Answer(calls=calls, reasoning=reasoning, thinking=thinking, finish="tool_calls")
    if ask.schema is not None:
        text = msgspec.json.encode(schema.fit(ask.schema, digest)).decode()
    else:
        text = _prose(digest, control.tokens if control.tokens >= 0 else 12 + (digest[0] + digest[1]) // 4)
    if control.tokens >= 0:
        text = cut(model, text, control.tokens)
    found, stop = _stopped(text, ask.stops)
    whole = found if room is None else cut(model, found, room)
    if control.finish:
        half = whole[: len(whole) // 2]
        return Answer(text=half, reasoning=reasoning, thinking=thinking, finish=control.finish)
    return Answer(
        text=whole, reasoning=reasoning, thinking=thinking,
        finish="length" if whole != found else "stop", stop=stop if whole == found else "",
    )  # fmt: skip


def cut(model: str, text: str, tokens: int) -> str:
    """Return the longest beginning of the text with at most so many tokens."""
    if count_text(model, text) <= tokens:
        return text
    low, high = 0, len(text)
    while low < high - 1:
        middle = (low + high) // 2
        if count_text(model, text[:middle]) <= tokens:
            low = middle
        else:
            high = middle
    return text[:low]


def _prose(digest: bytes, words: int) -> str:
    stream = hashlib.shake_256(digest).digest(max(words, 1))
    sentences = []
    at = 0
    while at < words:
        length = 7 + stream[at] % 8
        sentence = " ".join(_WORDS[byte % len(_WORDS)] for byte in stream[at : at + length])
        sentences.append(sentence[:1].upper() + sentence[1:] + ".")
        at += length
    return " ".join((_OPENING, *sentences))


def _reasoning(ask: Ask, control: Control, digest: bytes) -> int:
    if not ask.model.reasons:
        return 0
    if control.reasoning >= 0:
        return control.reasoning
    return 64 * _EFFORTS.get(ask.effort, 6) * (1 + digest[3] % 4) // 2


def _stopped(text: str, stops: tuple[str, ...]) -> tuple[str, str]:
    places = sorted((text.find(stop), stop) for stop in stops if stop and stop in text)
    return (text[: places[0][0]], places[0][1]) if places else (text, "")


def _calls(ask: Ask, control: Control, digest: bytes) -> tuple[ToolCall, ...]:
    if not ask.tools or ask.choice == "none" or not (ask.users_turn or ask.choice != "auto"):
        return ()
    chosen = [tool for tool in ask.tools if tool.name == ask.choice]
    wanted = chosen or [tool for tool in ask.tools if _asked(tool, ask.last_text.lower())]
    if not wanted and (ask.choice == "required" or control.calls):
        wanted = [ask.tools[0]]
    if control.calls and wanted:
        wanted = [wanted[n % len(wanted)] for n in range(control.calls)]
    if not ask.parallel or chosen:
        wanted = wanted[:1]
    return tuple(
        ToolCall(tool.name, msgspec.json.encode(schema.fit(tool.schema, digest + bytes([n % 256]))).decode())
        for n, tool in enumerate(wanted)
    )


def _asked(tool: Tool, text: str) -> bool:
    return tool.name.lower() in text or any(word in text for word in _telling(tool.name))


@lru_cache(maxsize=10_000)
def _telling(name: str) -> frozenset[str]:
    """Return the words of a tool's name that tell what it is about: `weather` of `get_weather`."""
    words = re.findall(r"[A-Z]?[a-z]{4,}", name)
    return frozenset(word.lower() for word in words) - _VERBS
