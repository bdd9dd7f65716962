"""The wire of `/v1/messages`, Anthropic's."""

from collections.abc import Iterator
from typing import Any

import msgspec

from penstock.gateway.sandbox.answer import Answer
from penstock.gateway.sandbox.call import Call, Piece, event, reported, split
from penstock.gateway.sandbox.prices import Metered

_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_PING = Piece(event({"type": "ping"}))


class MessagesWire:
    """A message, whole and in events."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.reply_id = f"msg_{call.id}"

    @property
    def _answer(self) -> Answer:
        return self._call.answers[0]

    def usage(self, metered: Metered) -> dict[str, Any]:
        """Say what was used: cached tokens stand apart from `input_tokens`."""
        usage: dict[str, Any] = {
            "input_tokens": metered.input,
            "cache_creation_input_tokens": metered.write_5m + metered.write_1h,
            "cache_read_input_tokens": metered.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": metered.write_5m,
                "ephemeral_1h_input_tokens": metered.write_1h,
            },
            "output_tokens": metered.output,
            "service_tier": "standard",
        }
        if metered.reasoning:
            usage["output_tokens_details"] = {"thinking_tokens": metered.reasoning}
        return usage

    def body(self) -> dict[str, Any]:
        """Return a `message`."""
        return self._message(self._content(), self._usage(self._call.metered), self._stop)

    def pieces(self) -> Iterator[Piece]:
        """Yield the events up to the last block's end."""
        metered = self._call.metered
        begun = Metered(
            input=metered.input, cached=metered.cached, write_5m=metered.write_5m, write_1h=metered.write_1h, output=1
        )
        message = self._message([], self._usage(begun), {"stop_reason": None, "stop_sequence": None})
        yield Piece(event({"type": "message_start", "message": message}))
        for place, block in enumerate(self._content()):
            yield from self._block(place, block)
            if not place:
                yield _PING

    def closing(self, metered: Metered) -> bytes:
        """Return the stop reason with the final usage, and the end."""
        usage = self._usage(metered)
        told = (
            "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens",
            "output_tokens_details",
        )  # fmt: skip
        delta: dict[str, Any] = {"type": "message_delta", "delta": self._stop}
        if usage is not None:
            delta["usage"] = {name: usage[name] for name in told if name in usage}
        return event(delta) + event({"type": "message_stop"})

    def broken(self) -> bytes:
        """Return the error event."""
        said = "Sandbox: the stream broke, as was asked for."
        return event({"type": "error", "error": {"type": "overloaded_error", "message": said}})

    @property
    def _stop(self) -> dict[str, Any]:
        answer = self._answer
        reason = "stop_sequence" if answer.stop else _FINISH.get(answer.finish, answer.finish)
        return {"stop_reason": reason, "stop_sequence": answer.stop or None}

    def _usage(self, metered: Metered) -> dict[str, Any] | None:
        return reported(self._call, self.usage(metered), {"cache_read_input_tokens": -5})

    def _message(self, content: list[Any], usage: dict[str, Any] | None, stop: dict[str, Any]) -> dict[str, Any]:
        message = {
            "id": self.reply_id, "type": "message", "role": "assistant", "model": self._call.ask.model.served,
            "content": content,
        }  # fmt: skip
        return message | stop | ({} if usage is None else {"usage": usage})

    def _content(self) -> list[dict[str, Any]]:
        answer = self._answer
        blocks: list[dict[str, Any]] = []
        if answer.thinking:
            blocks.append({"type": "thinking", "thinking": answer.thinking, "signature": f"sandbox{self._call.id}"})
        if answer.text:
            blocks.append({"type": "text", "text": answer.text, "citations": None})
        blocks += [
            {
                "type": "tool_use", "id": f"toolu_{self._call.id}{n}", "name": call.name,
                "input": msgspec.json.decode(call.arguments),
            }
            for n, call in enumerate(answer.calls)
        ]  # fmt: skip
        return blocks

    def _block(self, place: int, block: dict[str, Any]) -> Iterator[Piece]:
        empty: dict[str, Any]
        match block["type"]:
            case "thinking":
                empty, kind, text = {"thinking": "", "signature": ""}, "thinking", block["thinking"]
            case "tool_use":
                empty, kind, text = {"input": {}}, "input_json", msgspec.json.encode(block["input"]).decode()
            case _:
                empty, kind, text = {"text": ""}, "text", block["text"]
        start = {"type": "content_block_start", "index": place, "content_block": block | empty}
        yield Piece(event(start), 0, block.get("name", ""))
        field = "partial_json" if kind == "input_json" else kind
        for piece in split(text):
            delta = {"type": f"{kind}_delta", field: piece}
            yield Piece(event({"type": "content_block_delta", "index": place, "delta": delta}), 0, piece)
        if kind == "thinking":
            delta = {"type": "signature_delta", "signature": block["signature"]}
            yield Piece(event({"type": "content_block_delta", "index": place, "delta": delta}))
        yield Piece(event({"type": "content_block_stop", "index": place}))
