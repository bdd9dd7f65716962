"""An answer as a check sees it, out of the replies of the three wires that can be checked."""

import json
from typing import Any

from msgspec import Struct, convert
from msgspec.structs import asdict

from penstock.metering.reading import Flavour

WIRES: frozenset[Flavour] = frozenset({"openai.chat", "openai.responses", "anthropic.messages"})


class Answer(Struct):
    """What a model wrote."""

    text: str = ""
    refused: bool = False
    finish: str = ""
    """`stop`, `length`, `content_filter`, ... in OpenAI's words."""
    tools: list[tuple[str, Any]] = []
    """Names and arguments of calls; arguments that are no JSON stay text."""
    logprobs: list[float] = []


CUT = frozenset({"length", "max_tokens", "max_output_tokens"})
REFUSED = frozenset({"content_filter", "refusal"})
"""Why an answer ended, in the words of the three wires."""
STOPS = {"max_tokens": "length", "max_output_tokens": "length", "end_turn": "stop", "refusal": "content_filter"}


def read_answer(flavour: Flavour, body: bytes) -> Answer | None:
    """Read a reply; None: it cannot be read, and so not be judged."""
    try:
        document = json.loads(body)
        if flavour == "openai.chat":
            answer = _chat(document["choices"][0])
        else:
            answer = _messages(document) if flavour == "anthropic.messages" else _response(document)
        return convert(asdict(answer), Answer)  # a server may send anything where its wire has text
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None


def _chat(choice: dict[str, Any]) -> Answer:
    message = choice["message"]
    calls = [one["function"] for one in message.get("tool_calls") or () if one.get("function")]
    tokens = (choice.get("logprobs") or {}).get("content") or ()
    return Answer(
        message.get("content") or "", bool(message.get("refusal")), choice.get("finish_reason") or "",
        [(call["name"], _parsed(call.get("arguments"))) for call in calls], [float(one["logprob"]) for one in tokens],
    )  # fmt: skip


def _messages(document: dict[str, Any]) -> Answer:
    parts = document["content"]
    stop = document.get("stop_reason") or ""
    return Answer(
        "".join(part.get("text", "") for part in parts if part.get("type") == "text"), stop == "refusal",
        STOPS.get(stop, stop), [(part["name"], part.get("input")) for part in parts if part.get("type") == "tool_use"],
    )  # fmt: skip


def _response(document: dict[str, Any]) -> Answer:
    answer = Answer()
    for item in document["output"]:
        if item.get("type") == "function_call":
            answer.tools.append((item["name"], _parsed(item.get("arguments"))))
        for part in item.get("content") or ():
            answer.text += part.get("text") or ""
            answer.refused = answer.refused or part.get("type") == "refusal"
            answer.logprobs += [float(one["logprob"]) for one in part.get("logprobs") or ()]
    reason = (document.get("incomplete_details") or {}).get("reason") or document.get("status") or ""
    answer.finish = STOPS.get(reason, reason)
    return answer


def _parsed(arguments: Any) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, TypeError):
        return arguments
