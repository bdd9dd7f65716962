"""Calls of our own: what they cost is booked whatever becomes of their answers."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from penstock.gateway.asides import Asides, Way
from penstock.gateway.heads import Head
from penstock.metering.attribution import Attribution
from penstock.metering.meter import Meter
from penstock.metering.request import read_request
from penstock.policies.call import Call, Question
from penstock.policies.deployments import Deployment, Provider, target_of
from penstock.pricing.books import default_catalog

BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Which tier?"}]}'
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "mini"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102},
}  # fmt: skip


class Booked:
    """Keeps what is booked."""

    def __init__(self) -> None:
        self.events = []

    def book(self, event) -> None:
        self.events.append(event)


class Answered(Asides):
    """Its provider has answered."""

    async def _send(self, own):
        return json.dumps(ANSWER).encode(), 200


def test_an_answer_that_nobody_can_make_sense_of_is_booked_all_the_same():
    booked = Booked()
    target = target_of(
        Deployment(name="small", provider="openai", model="gpt-4o-mini"),
        Provider(name="openai", base_url="http://x"), declared=True,
    )  # fmt: skip
    call = Call(
        "r", datetime.now(UTC), "openai.chat", read_request("openai.chat", BODY), BODY, Attribution(team="a"),
        (target,), 0, "gpt-4o", [],
    )  # fmt: skip

    def say(_reply):
        raise ValueError("no tier")

    async def ask() -> None:
        asides = Answered({}, [], Meter(default_catalog().load()), booked, asyncio.get_running_loop())
        question = Question(target=target, purpose="classifier", body=BODY, say=say)
        await asides.ask(call, question, Way(head=Head.__new__(Head)))

    with pytest.raises(ValueError, match="no tier"):
        asyncio.run(ask())
    [event] = booked.events
    assert (event.request_id, event.purpose, event.team, event.outcome) == ("r", "classifier", "a", "ok")
    assert (event.usage.input, event.usage.output, event.price_state) == (100, 2, "priced")
    assert event.cost > 0
