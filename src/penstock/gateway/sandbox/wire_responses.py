"""The wire of `/v1/responses`: typed items, and events that are numbered."""

from collections.abc import Iterator
from typing import Any

from penstock.gateway.sandbox.answer import Answer
from penstock.gateway.sandbox.call import Call, Piece, event, reported, split
from penstock.gateway.sandbox.prices import Metered


class ResponsesWire:
    """A response, whole and in events."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.reply_id = f"resp_{call.id}"
        self._number = -1

    @property
    def _answer(self) -> Answer:
        return self._call.answers[0]

    def usage(self, metered: Metered) -> dict[str, Any]:
        """Say what was used: cached tokens are inside the input, hidden ones inside the output."""
        return {
            "input_tokens": metered.prompt,
            "input_tokens_details": {"cached_tokens": metered.cached, "cache_write_tokens": 0},
            "output_tokens": metered.output,
            "output_tokens_details": {"reasoning_tokens": metered.reasoning},
            "total_tokens": metered.prompt + metered.output,
        }

    def body(self) -> dict[str, Any]:
        """Return a finished `response`."""
        return self._response(self._status, self.items(), self._usage(self._call.metered))

    def items(self) -> list[dict[str, Any]]:
        """Return the output: hidden reasoning, then tool calls or a message."""
        answer = self._answer
        items: list[dict[str, Any]] = []
        if self._call.ask.model.reasons:
            items.append({"id": f"rs_{self._call.id}", "type": "reasoning", "summary": []})
        items += [self._tool_item(n, call.arguments, "completed") for n, call in enumerate(answer.calls)]
        if not answer.calls:
            items.append(self._message_item("completed" if self._status == "completed" else "incomplete", answer.text))
        return items

    def pieces(self) -> Iterator[Piece]:
        """Yield the events up to the last item's end."""
        yield self._event("response.created", response=self._response("in_progress", [], None))
        yield self._event("response.in_progress", response=self._response("in_progress", [], None))
        place = 0
        if self._call.ask.model.reasons:
            item = self.items()[0]
            yield self._event("response.output_item.added", output_index=0, item=item)
            yield self._event("response.output_item.done", output_index=0, item=item)
            place = 1
        if not self._answer.calls:
            yield from self._message_events(place)
        for n in range(len(self._answer.calls)):
            yield from self._tool_events(place + n, n)

    def closing(self, metered: Metered) -> bytes:
        """Return the event that holds the whole response."""
        response = self._response(self._status, self.items(), self._usage(metered))
        return self._event(f"response.{self._status}", response=response).frame

    def broken(self) -> bytes:
        """Return the error event."""
        said = "Sandbox: the stream broke, as was asked for."
        return self._event("error", code="server_error", message=said, param=None).frame

    @property
    def _status(self) -> str:
        return "incomplete" if self._answer.finish in ("length", "content_filter") else "completed"

    def _usage(self, metered: Metered) -> dict[str, Any] | None:
        wrong = {"input_tokens_details": {"cached_tokens": metered.prompt + 1_000, "cache_write_tokens": 0}}
        return reported(self._call, self.usage(metered), wrong)

    def _response(self, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
        call, body = self._call, self._call.ask.body
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._answer.finish, "")
        return {
            "id": self.reply_id, "object": "response", "created_at": call.created, "status": status,
            "background": False, "error": None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "instructions": body.get("instructions"), "max_output_tokens": body.get("max_output_tokens"),
            "model": call.ask.model.served, "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": body.get("previous_response_id"),
            "reasoning": {"effort": (body.get("reasoning") or {}).get("effort"), "summary": None},
            "service_tier": call.tier, "store": body.get("store", True), "temperature": body.get("temperature", 1.0),
            "text": body.get("text") or {"format": {"type": "text"}}, "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [], "top_p": body.get("top_p", 1.0), "truncation": "disabled",
            "usage": usage, "user": body.get("user"), "metadata": body.get("metadata") or {},
        }  # fmt: skip

    def _message_item(self, status: str, text: str | None) -> dict[str, Any]:
        content = [] if text is None else [self._part(text)]
        kind = {"id": f"msg_{self._call.id}", "type": "message", "status": status, "role": "assistant"}
        return kind | {"content": content}

    def _part(self, text: str) -> dict[str, Any]:
        if self._answer.finish == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _message_events(self, place: int) -> Iterator[Piece]:
        at: dict[str, Any] = {"item_id": f"msg_{self._call.id}", "output_index": place, "content_index": 0}
        text = self._answer.text
        refused = self._answer.finish == "refusal"
        kind, field = ("refusal", "refusal") if refused else ("output_text", "text")
        extra: dict[str, Any] = {} if refused else {"logprobs": []}
        yield self._event(
            "response.output_item.added", output_index=place, item=self._message_item("in_progress", None)
        )
        yield self._event("response.content_part.added", **at, part=self._part(""))
        for piece in split(text):
            yield self._event(f"response.{kind}.delta", piece, **at, delta=piece, **extra)
        yield self._event(f"response.{kind}.done", **at, **{field: text}, **extra)
        yield self._event("response.content_part.done", **at, part=self._part(text))
        yield self._event("response.output_item.done", output_index=place, item=self.items()[-1])

    def _tool_item(self, n: int, arguments: str, status: str) -> dict[str, Any]:
        return {
            "id": f"fc_{self._call.id}{n}", "type": "function_call", "status": status,
            "call_id": f"call_{self._call.id}{n}", "name": self._answer.calls[n].name, "arguments": arguments,
        }  # fmt: skip

    def _tool_events(self, place: int, n: int) -> Iterator[Piece]:
        call = self._answer.calls[n]
        at: dict[str, Any] = {"item_id": f"fc_{self._call.id}{n}", "output_index": place}
        item = self._tool_item(n, "", "in_progress")
        yield self._event("response.output_item.added", call.name, output_index=place, item=item)
        for piece in split(call.arguments):
            yield self._event("response.function_call_arguments.delta", piece, **at, delta=piece)
        done = {"name": call.name, "arguments": call.arguments}
        yield self._event("response.function_call_arguments.done", **at, **done)
        item = self._tool_item(n, call.arguments, "completed")
        yield self._event("response.output_item.done", output_index=place, item=item)

    def _event(self, kind: str, carried: str = "", **fields: Any) -> Piece:
        self._number += 1
        return Piece(event({"type": kind, "sequence_number": self._number, **fields}), 0, carried)
