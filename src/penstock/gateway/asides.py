"""Calls of our own in the name of a client's: classifier, shadow, judge. Reserved apart, booked to its request."""

from asyncio import AbstractEventLoop
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from penstock.errors import UsageError
from penstock.gateway.booking import Booking
from penstock.gateway.endpoints import CHAT, Endpoint
from penstock.gateway.heads import Head
from penstock.gateway.inflation import plain_body
from penstock.gateway.providers import Destination, with_model
from penstock.gateway.upstream import ESTIMATED_ERRORS, UpstreamError, send
from penstock.metering.counting import estimate
from penstock.metering.event import new_id
from penstock.metering.meter import NOTHING, Attempt, Meter
from penstock.metering.readers import read_body
from penstock.metering.readers.bodies import body_text
from penstock.metering.reading import Flavour, Reading
from penstock.metering.request import read_request
from penstock.policies.call import Call, Question, Reply
from penstock.policies.pipeline import Policy, pipeline

MAX_REPLY = 8 * 1024 * 1024


class Way(Struct, eq=False, frozen=True, kw_only=True):
    """How a question goes to its provider."""

    head: Head
    """Whose headers go with it: the client's, or ones of our own."""
    endpoint: Endpoint = CHAT
    path: bytes = b""
    """Of the client's own request, where its provider may need it; empty: the endpoint's."""


class _Aside(Call, eq=False, kw_only=True):
    """A call of our own."""

    of: str
    """Id of the client's request."""
    number: int
    question: Question
    way: Way


class Asides:
    """Asks a model something while a call is under way, or after it."""

    def __init__(
        self,
        destinations: Mapping[str, Destination],
        policies: Sequence[Policy],
        meter: Meter,
        booking: Booking,
        loop: AbstractEventLoop,
    ) -> None:
        """`policies` are those that hold for such calls as well: budgets, unpriced models."""
        self._destinations = destinations
        self._meter = meter
        self._booking = booking
        self._loop = loop
        self._proceed = pipeline(policies, self._attempt)

    async def ask(self, call: Call, question: Question, way: Way) -> Reply:
        """Ask in the name of `call`.

        The reply has the plain body and the event of the attempt; status 0: there was no answer. Raises RefusedError
        where a policy does not let it through.
        """
        call.attempts += 1
        who = call.attribution
        flavour, body = way.endpoint.flavour, question.body
        return await self._proceed(
            _Aside(
                new_id(), datetime.now(UTC), flavour, read_request(flavour, body), body,
                replace(who, tags={**who.tags, **question.tags}), (question.target,), 0, call.requested_model, [],
                of=call.request_id, number=call.attempts, question=question, way=way, purpose=question.purpose,
            )
        )  # fmt: skip

    async def _attempt(self, call: Call) -> Reply:
        own = cast("_Aside", call)
        question = own.question
        target, endpoint = question.target, own.way.endpoint
        attempt = Attempt(
            own.of, own.number, own.purpose, own.at, endpoint.name, own.requested_model, False,
            f"{target.deployment.name}#{own.number} {own.purpose}", monotonic(),
        )  # fmt: skip
        status, answer, reading = 0, b"", NOTHING
        try:
            answer, status = await self._send(own)
        except UpstreamError as error:
            attempt.error = error.code
            if error.sent and error.code in ESTIMATED_ERRORS:
                reading = _estimated(own, Reading(), "")
        else:
            reading = _read(own.flavour, answer)
            if reading.usage_source == "none" and status < 400:
                reading = _estimated(own, reading, body_text(answer))
        attempt.status, attempt.outcome = status, "ok" if 0 < status < 400 else "error"
        attempt.duration_us = int((monotonic() - attempt.started) * 1e6)
        attempt.recorded_at = datetime.now(UTC)
        reply = Reply(status, b"", answer, own.events)
        said: Mapping[str, str] = {}
        try:
            said = question.say(reply)
        finally:  # whatever is thought of the answer: it was paid for
            who = replace(own.attribution, tags={**own.attribution.tags, **said}) if said else own.attribution
            event = self._meter.event(target.served, attempt, reading, who)
            own.events.append(replace(event, id=new_id(), attempt=own.number, purpose=own.purpose))
            self._booking.book(own.events[-1])
        return reply

    async def _send(self, own: _Aside) -> tuple[bytes, int]:
        question = own.question
        target, endpoint = question.target, own.way.endpoint
        destination = self._destinations[target.provider.name]
        asked_at = own.way.path or b"/v1" + endpoint.path.removeprefix("/v1").encode()
        path = destination.path_for(endpoint, target, asked_at)
        body = own.body if own.head.model == target.upstream else with_model(own.body, own.head.model, target.upstream)
        exchange = await send(
            destination.origin, destination.request(own.way.head, "POST", path, body),
            timeout=question.seconds or target.provider.timeout,
            stall_timeout=question.seconds or target.provider.stall_timeout, max_reply=MAX_REPLY,
        )  # fmt: skip
        return plain_body(exchange), exchange.status


def _read(flavour: Flavour, answer: bytes) -> Reading:
    try:
        return read_body(flavour, answer)
    except (UsageError, msgspec.MsgspecError):
        return Reading(error="unreadable_usage")


def _estimated(own: _Aside, reading: Reading, text: str) -> Reading:
    usage, source = estimate(own.flavour, own.question.target.served.model, own.body, text)
    return replace(reading, usage=usage, usage_source=source)
