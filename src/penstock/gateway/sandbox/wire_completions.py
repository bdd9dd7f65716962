"""The wire of `/v1/completions`, the old text protocol."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from penstock.gateway.sandbox.call import Call, Piece, data, reported, split
from penstock.gateway.sandbox.prices import Metered


class CompletionsWire:
    """A text completion, whole and in chunks."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.reply_id = f"cmpl-{call.id}"
        self._with_usage = bool((call.ask.body.get("stream_options") or {}).get("include_usage"))

    def usage(self, metered: Metered) -> dict[str, Any]:
        """Say what was used."""
        return {
            "prompt_tokens": metered.prompt,
            "completion_tokens": metered.output,
            "total_tokens": metered.prompt + metered.output,
        }

    def body(self) -> dict[str, Any]:
        """Return a `text_completion`."""
        choices = [self._choice(n, answer.text, answer.finish) for n, answer in enumerate(self._call.answers)]
        document = self._head() | {"choices": choices}
        if (usage := self._usage(self._call.metered)) is not None:
            document["usage"] = usage
        return document

    def pieces(self) -> Iterator[Piece]:
        """Yield chunks; the choices take turns."""
        rows = [
            [*((n, text, None) for text in split(answer.text)), (n, "", answer.finish)]
            for n, answer in enumerate(self._call.answers)
        ]
        for turn in zip_longest(*rows):
            for row in filter(None, turn):
                document = self._head() | {"choices": [self._choice(*row)]}
                if self._with_usage:
                    document["usage"] = None
                yield Piece(data(document), row[0], row[1])

    def closing(self, metered: Metered) -> bytes:
        """Return the usage, if it was asked for, and the end mark."""
        usage = self._usage(metered)
        if not self._with_usage or usage is None:
            return b"data: [DONE]\n\n"
        return data(self._head() | {"choices": [], "usage": usage}) + b"data: [DONE]\n\n"

    def broken(self) -> bytes:
        """Return the error in place of a chunk."""
        error = {"message": "Sandbox: the stream broke.", "type": "server_error", "param": None, "code": None}
        return data({"error": error})

    def _usage(self, metered: Metered) -> dict[str, Any] | None:
        return reported(self._call, self.usage(metered), {"total_tokens": -1})

    def _head(self) -> dict[str, Any]:
        call = self._call
        return {
            "id": self.reply_id, "object": "text_completion", "created": call.created, "model": call.ask.model.served,
        }  # fmt: skip

    def _choice(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
