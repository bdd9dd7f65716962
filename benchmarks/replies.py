"""Every reply of the fake upstream, byte for byte: both ends know them, so a changed byte is noticed.

A request names its reply with `seed` (three digits): `FIRST_SEED` + 0, 1, ... Replies differ in text and usage, so a
reply that reaches the wrong client is noticed too, and the sums of the bill are no multiples of one number.
"""

import json
import struct
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

FIRST_SEED, SEEDS = 100, 64
STREAM_CHUNKS = 100
"""Content chunks of a stream; one event with usage (where it was asked for) and [DONE] follow."""
MODEL, SERVED = "gpt-4o-mini", "gpt-4o-mini-2024-07-18"
INPUT_PRICE, CACHED_PRICE, OUTPUT_PRICE = Decimal("0.15"), Decimal("0.075"), Decimal("0.60")
"""Dollars for a million tokens, and the price that the gateway under test is told to use."""
DONE = b"data: [DONE]\n\n"
_PROSE = (
    "the gate meters the water and holds it back so that no field floods and none runs dry while the mill turns on "
)


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Reply:
    """What the upstream answers to one seed."""

    seed: int

    @cached_property
    def usage(self) -> dict[str, Any]:
        n = self.seed - FIRST_SEED
        prompt, cached, completion = 210 + n * 3, 128 if n % 2 else 0, 90 + n
        return {
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }  # fmt: skip

    @property
    def marker(self) -> str:
        """Closes the answer's text."""
        return f"end-of-answer-{self.seed}"

    def _frame(self, kind: str, choices: list[dict[str, Any]], **usage: dict[str, Any] | None) -> bytes:
        return _dump({
            "id": f"chatcmpl-Bq{self.seed}GateMetersWater00", "object": kind, "created": 1_790_000_000,
            "model": SERVED, "choices": choices, **usage,
            "service_tier": "default", "system_fingerprint": "fp_34a54ae93c",
        })  # fmt: skip

    @cached_property
    def plain(self) -> bytes:
        """The body of an answer that is not streamed: about 1.1 KB."""
        text = (_PROSE * 6)[: 550 + self.seed % 7] + " " + self.marker
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return self._frame("chat.completion", [choice], usage=self.usage)

    def _events(self, **usage: None) -> list[bytes]:
        words = (_PROSE * 5).split()
        texts = [f" {words[n % len(words)]}" for n in range(STREAM_CHUNKS - 3)]
        deltas = [{"role": "assistant", "content": "", "refusal": None}, *({"content": text} for text in texts)]
        choices = [
            {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
            for delta in (*deltas, {"content": f" {self.marker}"})
        ]
        choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
        return [b"data: " + self._frame("chat.completion.chunk", [choice], **usage) + b"\n\n" for choice in choices]

    @cached_property
    def asked(self) -> list[bytes]:
        """The events of a stream whose client asked for usage: `"usage":null` in each chunk, then one with usage."""
        last = b"data: " + self._frame("chat.completion.chunk", [], usage=self.usage) + b"\n\n"
        return [*self._events(usage=None), last, DONE]

    @cached_property
    def unasked(self) -> list[bytes]:
        """The events where it did not: no word of usage. The empty one stands where usage would."""
        return [*self._events(), b"", DONE]

    def body(self, *, stream: bool, usage: bool) -> bytes:
        """What a client must receive."""
        return b"".join(self.asked if usage else self.unasked) if stream else self.plain


REPLIES = tuple(Reply(seed) for seed in range(FIRST_SEED, FIRST_SEED + SEEDS))


def write_replies(file: Path, replies: tuple[Reply, ...] = REPLIES) -> None:
    """Write the replies for the programs in C; `wire/wire.h` states the layout."""
    parts = [b"PSB1", struct.pack("<II", len(replies), len(replies[0].asked))]
    for reply in replies:
        for body in (reply.plain, *reply.unasked, *reply.asked):
            parts += [struct.pack("<I", len(body)), body]
    file.write_bytes(b"".join(parts))


def request_body(*, stream: bool, usage: bool = True, prompt_bytes: int = 700, model: str = MODEL) -> bytes:
    """Make the body of a chat request of about `prompt_bytes`, with the first seed in it."""
    prompt = (_PROSE * (prompt_bytes // len(_PROSE) + 1))[:prompt_bytes]
    document: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": "Answer in one line."}, {"role": "user", "content": prompt}],
        "temperature": 0.2, "max_tokens": 300, "seed": FIRST_SEED, "user": "bench",
    }  # fmt: skip
    if stream:
        document["stream"] = True
        if usage:
            document["stream_options"] = {"include_usage": True}
    return _dump(document)


def bill(prompt: int, cached: int, completion: int) -> Decimal:
    """What the upstream charges for these tokens, in dollars: exact."""
    return ((prompt - cached) * INPUT_PRICE + cached * CACHED_PRICE + completion * OUTPUT_PRICE) / 1_000_000
