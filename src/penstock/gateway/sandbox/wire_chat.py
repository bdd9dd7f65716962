"""The wire of `/v1/chat/completions`, OpenAI's and Azure's."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from penstock.gateway.sandbox.answer import Answer
from penstock.gateway.sandbox.call import Call, Piece, data, reported, split
from penstock.gateway.sandbox.failures import FILTER_OK
from penstock.gateway.sandbox.prices import Metered

_FINISH = {"refusal": "stop"}
_BROKEN = {
    "message": "Sandbox: the stream broke, as was asked for.",
    "type": "server_error",
    "param": None,
    "code": None,
}


class ChatWire:
    """A chat completion, whole and in chunks."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.reply_id = f"chatcmpl-{call.id}"
        options = call.ask.body.get("stream_options") or {}
        self._with_usage = bool(options.get("include_usage"))

    def usage(self, metered: Metered) -> dict[str, Any]:
        """Say what was used: cached tokens are inside the prompt's, hidden ones inside the completion's."""
        return {
            "prompt_tokens": metered.prompt,
            "completion_tokens": metered.output,
            "total_tokens": metered.prompt + metered.output,
            "prompt_tokens_details": {"cached_tokens": metered.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": metered.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def body(self) -> dict[str, Any]:
        """Return a `chat.completion`."""
        document = self._head("chat.completion")
        document["choices"] = [self._choice(n, answer) for n, answer in enumerate(self._call.answers)]
        if self._call.dialect == "azure":
            document["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": FILTER_OK}]
        if (usage := self._usage(self._call.metered)) is not None:
            document["usage"] = usage
        return document

    def pieces(self) -> Iterator[Piece]:
        """Yield chunks; the choices take turns."""
        if self._call.dialect == "azure":
            results = [{"prompt_index": 0, "content_filter_results": FILTER_OK}]
            yield Piece(data(self._head("chat.completion.chunk") | {"choices": [], "prompt_filter_results": results}))
        for turn in zip_longest(*[self._deltas(n, answer) for n, answer in enumerate(self._call.answers)]):
            yield from (piece for piece in turn if piece)

    def closing(self, metered: Metered) -> bytes:
        """Return the usage, if it was asked for, and the end mark."""
        usage = self._usage(metered)
        if not self._with_usage or usage is None:
            return b"data: [DONE]\n\n"
        return data(self._head("chat.completion.chunk") | {"choices": [], "usage": usage}) + b"data: [DONE]\n\n"

    def broken(self) -> bytes:
        """Return the error in place of a chunk."""
        return data({"error": _BROKEN})

    def _usage(self, metered: Metered) -> dict[str, Any] | None:
        wrong = {"prompt_tokens_details": {"cached_tokens": metered.prompt + 1_000, "audio_tokens": 0}}
        return reported(self._call, self.usage(metered), wrong)

    def _head(self, kind: str) -> dict[str, Any]:
        call = self._call
        return {
            "id": self.reply_id, "object": kind, "created": call.created, "model": call.ask.model.served,
            "service_tier": call.tier, "system_fingerprint": "fp_sandbox",
        }  # fmt: skip

    def _choice(self, index: int, answer: Answer) -> dict[str, Any]:
        refused = answer.finish == "refusal"
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if refused or answer.calls else answer.text,
            "refusal": answer.text if refused else None,
            "annotations": [],
        }
        if answer.calls:
            message["tool_calls"] = [
                {
                    "id": self._call_id(index, n),
                    "type": "function",
                    "function": {"name": c.name, "arguments": c.arguments},
                }
                for n, c in enumerate(answer.calls)
            ]
        choice = {
            "index": index, "message": message, "logprobs": None,
            "finish_reason": _FINISH.get(answer.finish, answer.finish),
        }  # fmt: skip
        if self._call.dialect == "azure":
            choice["content_filter_results"] = FILTER_OK
        return choice

    def _deltas(self, index: int, answer: Answer) -> Iterator[Piece]:
        yield self._chunk(index, {"role": "assistant", "content": None if answer.calls else "", "refusal": None})
        for n, call in enumerate(answer.calls):
            start = {"name": call.name, "arguments": ""}
            tool = {"index": n, "id": self._call_id(index, n), "type": "function", "function": start}
            yield self._chunk(index, {"tool_calls": [tool]}, text=call.name)
            for text in split(call.arguments):
                yield self._chunk(index, {"tool_calls": [{"index": n, "function": {"arguments": text}}]}, text=text)
        field = "refusal" if answer.finish == "refusal" else "content"
        for text in split(answer.text):
            yield self._chunk(index, {field: text}, text=text)
        yield self._chunk(index, {}, finish=_FINISH.get(answer.finish, answer.finish))

    def _chunk(self, index: int, delta: dict[str, Any], *, text: str = "", finish: str | None = None) -> Piece:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        document = self._head("chat.completion.chunk") | {"choices": [choice]}
        if self._with_usage:
            document["usage"] = None
        return Piece(data(document), index, text)

    def _call_id(self, index: int, n: int) -> str:
        return f"call_{self._call.id}{index}{n}"
