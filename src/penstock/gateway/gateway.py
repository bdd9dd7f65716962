"""A call's story: from the client's request through the policies and attempts to the booked reply."""

import asyncio
import math
import random
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from penstock.errors import InputError, LedgerError, RefusedError, UsageError
from penstock.gateway import endpoints
from penstock.gateway.asides import Asides, Way
from penstock.gateway.booking import Booking
from penstock.gateway.driving import Drive
from penstock.gateway.endpoints import Endpoint
from penstock.gateway.health import Health
from penstock.gateway.inflation import InflatingReader, plain_body
from penstock.gateway.keyring import Keyring, admit
from penstock.gateway.outcome_door import OutcomeDoor
from penstock.gateway.providers import Destination, with_model, with_usage
from penstock.gateway.refusals import CUT, cut_event, refusal_body
from penstock.gateway.relay import CountedRelay, Relay
from penstock.gateway.server import STATUS_LINES, Inbound, Request, status_line
from penstock.gateway.shadowing import Shadows
from penstock.gateway.telemetry.told import Notes, Told
from penstock.gateway.upstream import ESTIMATED_ERRORS, Exchange, UpstreamError, send
from penstock.metering.attribution import Attribution, attribute
from penstock.metering.counting import count_text, estimate
from penstock.metering.event import Purpose, UsageEvent, new_id
from penstock.metering.meter import NOTHING, Attempt, Meter, total
from penstock.metering.readers import read_body, stream_reader
from penstock.metering.readers.bodies import body_text
from penstock.metering.reading import Reading, StreamReader
from penstock.metering.request import NO_METADATA, RequestHead, read_request
from penstock.policies.call import Call, Question, Reply
from penstock.policies.deployments import Deployment, Provider, Route, Target, target_of
from penstock.policies.keys import matches
from penstock.policies.pipeline import Policy, pipeline
from penstock.policies.proof import ProofSettings
from penstock.pricing.catalog import Catalog

RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
BACKOFF_SECONDS = 0.25
LONGEST_WAIT = 8.0
"""A provider that asks for a longer wait than this is not waited for: its answer goes to the client."""
MAX_DRAINS = 256
LONGEST_NAME = 256
MOST_PAYERS, LONGEST_PAYER = 16, 256
"""Users remembered for each head of a client, and characters of their names: they are named by clients."""
NOT_CHECKED = (
    "The key {} may only call certain models or providers, and what files, batches and stored replies "
    "hold cannot be checked against that; use a key without such limits."
)
NOT_READY = "Penstock's pages and API do not answer now. They may be starting: try again in a second, or see the log."
LARGE = 64 * 1024
"""Bytes from which counting is done beside the loop."""
now = datetime.now


class GatewaySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How calls are treated."""

    on_abort: Literal["drain", "cancel"] = "drain"
    """A client leaves its stream: read it to the end, for the exact bill; or cut it, for a smaller one."""
    drain_seconds: float = 60.0
    """How long an abandoned stream is read on."""
    stream_trailer: bool = True
    """End streams with an SSE comment that says what they cost."""
    max_reply: int = 256 * 1024 * 1024
    """Bytes of a reply that is not a stream."""


class LiveCall(Call, eq=False, kw_only=True):
    """A call with its client at the other end."""

    inbound: Inbound
    request: Request
    endpoint: Endpoint
    streamed: str = ""
    """What a stream wrote, where it is to be compared."""

    @property
    def hides_usage(self) -> bool:
        """Whether the usage of a stream is asked for in the client's name, and kept from it."""
        return not self.head.include_usage and self.endpoint.name in {"chat", "completions"}


class Gateway:
    """Answers requests: AI calls through the policies, everything else through the control plane."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        providers: Sequence[Provider],
        deployments: Sequence[Deployment],
        routes: Sequence[Route],
        destinations: Mapping[str, Destination],
        control: Destination | None,
        policies: Sequence[Policy],
        catalog: Catalog,
        booking: Booking,
        keyring: Keyring,
        loop: asyncio.AbstractEventLoop,
        notes: Notes | None = None,
        outcomes: OutcomeDoor | None = None,
        proof: ProofSettings | None = None,
        beside: Sequence[Policy] = (),
    ) -> None:
        """`notes`: what is told of calls to a collector; `beside`: policies for calls of our own."""
        self._settings = settings
        self._providers = {provider.name: provider for provider in providers}
        self._targets = {row.name: target_of(row, self._providers[row.provider], declared=True) for row in deployments}
        self._routes = {route.model: route for route in routes}
        self._destinations = destinations
        self._control = control
        self._sandbox = next((destinations[row.name] for row in providers if row.kind == "sandbox"), None)
        self._meter = Meter(catalog)
        self._booking = booking
        self._keyring = keyring
        self._loop = loop
        self._notes = notes
        self._draining = 0
        self._proceed = pipeline(policies, self._attempts)
        self._found: dict[tuple[str, str], tuple[tuple[Target, ...], int]] = {}
        self._health = Health(loop.time)
        self.stopping = False
        """The worker is taking leave: nothing is tried again."""
        self.calls = 0
        """AI calls that are being answered now, and those made beside them for a proof."""
        self.refused: dict[str, int] = {}
        """Refusals by code, for the metrics."""
        self._outcomes = outcomes
        self._asides = Asides(destinations, beside, self._meter, booking, loop)
        self._shadows: Shadows | None = None
        if outcomes is not None and proof is not None and proof.shadow:
            self._shadows = Shadows(proof, targets=self._targets, asides=self._asides, outcomes=outcomes, loop=loop)
            self._shadows.busy = self._count

    def _count(self, more: int) -> None:
        self.calls += more

    def take_leave(self) -> None:
        """Begin nothing more that nobody waits for."""
        if self._shadows is not None:
            self._shadows.close()

    async def ask(self, call: Call, question: Question) -> Reply:
        """Ask a chat model something in the name of a call, with its client's headers."""
        return await self._asides.ask(call, question, Way(head=cast("LiveCall", call).request.head))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the calls, to its end."""
        Drive(work, self._unforeseen)

    def rests(self, target: Target) -> bool:
        """Whether a target is better left alone now."""
        return self._health.remembers and self._health.rests(target)

    def handle(self, inbound: Inbound, request: Request) -> None:
        """Answer one request."""
        head = request.head
        metered = head.metered
        if metered is None:
            metered = head.metered = endpoints.metered(head.method, head.path)
        if metered[0] is not None:
            self.calls += 1
            Drive(self._answer(inbound, request, metered[0], metered[1]), self._unforeseen)
        else:
            Drive(self._other(inbound, request, head.path), self._unforeseen)

    # An AI call

    async def _answer(self, inbound: Inbound, request: Request, endpoint: Endpoint, deployment: str) -> None:
        request_id = new_id()
        call: LiveCall | None = None
        status, refused = 500, "internal_error"
        try:
            if self._booking.error is not None:
                raise RefusedError(503, "ledger_unavailable", f"No call is taken now: {self._booking.error}")
            if self._booking.behind:
                await self._room()
                if inbound.transport.is_closing():
                    return
            call = self._call(inbound, request, endpoint, deployment, request_id)
            reply = await self._proceed(call)
            if not reply.relayed:
                if self._booking.durable_first:
                    await self._booking.durable()
                self._send_reply(call, reply)
            if self._shadows is not None and not self.stopping and self._shadows.wants(call):
                text = call.streamed if reply.relayed else body_text(reply.body)
                self._shadows.offer(call, request.head, endpoint, text)
            status, refused = reply.status, ""
        except RefusedError as error:
            status, refused = error.status, error.reason
            self._refuse(inbound, request, endpoint, request_id, error)
        except InputError as error:
            status, refused = 400, error.code
            refusal = RefusedError(400, error.code, str(error))
            self._refuse(inbound, request, endpoint, request_id, refusal)
        except LedgerError as error:
            status, refused = 503, "ledger_unavailable"
            refusal = RefusedError(503, "ledger_unavailable", f"The call was made, but cannot be booked: {error}")
            self._refuse(inbound, request, endpoint, request_id, refusal)
        except Exception as error:  # noqa: BLE001  # whatever it was, the client gets an answer
            self._broken(inbound, request, endpoint, error)
        finally:
            self.calls -= 1
            if self._notes is not None and call is not None:
                self._notes.add(_told(call, status, refused))

    async def _room(self) -> None:
        """Wait for the ledger's disk, or refuse, as it is configured."""
        try:
            await self._booking.room()
        except LedgerError as error:
            reason = "ledger_unavailable" if self._booking.error is not None else "ledger_behind"
            raise RefusedError(503, reason, f"No call is taken now: {error}") from error

    def _call(
        self, inbound: Inbound, request: Request, endpoint: Endpoint, deployment: str, request_id: str
    ) -> LiveCall:
        client = request.head
        if client.ring != self._keyring.ring.number:
            admit(client, self._keyring)
        head = read_request(endpoint.flavour, request.body)
        model = deployment or head.model
        found = self._found.get((model, endpoint.name))
        if found is None:
            if not model:
                raise InputError("The body names no `model`; say which one you want.")
            if len(model) > LONGEST_NAME or not model.isprintable():
                raise InputError("The model's name is too long, or has characters that do not belong into a name.")
            found = self._route(model, endpoint)
            if len(self._found) < 10_000:  # names come from clients: what they can fill is bounded
                self._found[model, endpoint.name] = found
        targets = found[0]
        holder = client.holder
        if holder is not None:
            holder.used = True
            if holder.limited:
                targets = holder.among(targets, model, endpoint.name)
        return LiveCall(
            request_id,
            now(UTC),
            endpoint.flavour,
            head,
            request.body,
            _who(request, head),
            targets,
            found[1],
            model,
            [],
            inbound=inbound,
            request=request,
            endpoint=endpoint,
        )

    def _route(self, model: str, endpoint: Endpoint) -> tuple[tuple[Target, ...], int]:
        route = self._routes.get(model)
        if route is not None:
            targets = tuple(self._targets[name] for name in route.deployments)
            fitting = tuple(target for target in targets if target.provider.speaks(endpoint.flavour))
            if fitting:
                return fitting, route.retries
        named = self._targets.get(model)
        if named is not None and named.provider.speaks(endpoint.flavour):
            return (named,), 2
        for provider in self._providers.values():
            if provider.speaks(endpoint.flavour) and provider.takes(model):
                row = Deployment(name=provider.name, provider=provider.name, model=model)
                return (target_of(row, provider, declared=False),), 2
        raise RefusedError(
            404,
            "model_not_found",
            f"No route, deployment or provider takes the model {model!r} on {endpoint.name}. "
            "Add a [[routes]] or [[deployments]] row to penstock.toml, or a provider whose `models` match it.",
        )

    async def _attempts(self, call: Call) -> Reply:
        """Make attempts until one is the reply."""
        live: LiveCall = call  # type: ignore[assignment]  # it was made here
        targets = self._health.order(call.targets) if self._health.remembers else call.targets
        purpose = call.purpose
        number = 0
        while True:
            target = targets[number % len(targets)]
            number += 1
            call.attempts += 1
            provider = target.provider
            attempt = self._begin(live, target, call.attempts, purpose)
            wait = None
            try:
                origin = self._destinations[provider.name].origin
                connection = origin.warm() or await origin.connection()
                exchange = connection.send(
                    self._request(live, target),
                    attempt.started + provider.timeout,
                    provider.stall_timeout,
                    self._settings.max_reply,
                )
                await exchange
            except UpstreamError as error:
                reply = await self._unanswered(live, target, attempt, error)
            else:
                if exchange.streamed:
                    return await self._stream(live, target, attempt, exchange)
                reading = self._read_whole(live, attempt, exchange)
                if reading.usage_source == "none" and exchange.status < 400:
                    reading = await self._estimated(live, target, reading, body_text(plain_body(exchange)))
                reply = self._answered(live, target, attempt, exchange, reading)
                if reply.status in RETRYABLE:
                    wait = _retry_after(exchange)
            if reply.status not in RETRYABLE:
                if self._health.remembers:
                    self._health.succeeded(target)
                return reply
            self._health.failed(target, wait)
            if number > call.retries or _may_have_left(live) or self.stopping:
                return reply
            if call.another is not None and not await call.another(call):
                return reply
            following = targets[number % len(targets)]
            purpose = "retry" if following is target else "fallback"
            if following is target or number >= len(targets):
                pause = wait if wait is not None else BACKOFF_SECONDS * 2 ** (number - 1) * (0.5 + random.random())  # noqa: S311  # jitter
                if pause > LONGEST_WAIT:
                    return reply
                await asyncio.sleep(pause)
                if _may_have_left(live):
                    return reply  # nobody may be waiting for another attempt

    def _begin(self, call: LiveCall, target: Target, number: int, purpose: Purpose) -> Attempt:
        decision = f"{target.deployment.name}#{number}"
        if purpose != "call":
            decision = f"{decision} {purpose}"
        call.decisions.append(decision)
        if call.reason:
            decision = f"{decision}: {call.reason}"
        return Attempt(
            call.request_id,
            number,
            purpose,
            call.at if number == 1 else now(UTC),
            call.endpoint.name,
            call.requested_model,
            bool(call.head.stream),
            decision,
            monotonic(),  # not the loop's clock: that one counts milliseconds
        )

    def _request(self, call: LiveCall, target: Target) -> bytes:
        """Return the bytes that go to the provider."""
        head, body = call.head, call.body
        if head.stream and call.hides_usage:
            body = with_usage(body)
        if head.model and head.model != target.upstream:
            body = with_model(body, head.model, target.upstream)
        client = call.request.head
        forwarded = client.forwarded.get(target.key)
        if forwarded is None:
            destination = self._destinations[target.provider.name]
            path = destination.path_for(call.endpoint, target, client.target)
            forwarded = destination.forward(client, target.key, path)
        return b"%b%d\r\n\r\n%b" % (forwarded, len(body), body)

    async def _unanswered(self, call: LiveCall, target: Target, attempt: Attempt, error: UpstreamError) -> Reply:
        reading = NOTHING
        if error.sent and error.code in ESTIMATED_ERRORS:
            # The provider has the prompt, and has worked on it: it will bill that much at least.
            reading = await self._estimated(call, target, Reading(), "")
        attempt.status, attempt.outcome, attempt.error = 0, "error", error.code
        self._book(call, target, attempt, reading)
        status = {"timeout": 504, "connect_timeout": 504, "queue_full": 503}.get(error.code, 502)
        body = refusal_body(call.flavour, status, f"upstream_{error.code}", str(error), call.request_id)
        return Reply(status, b"content-type: application/json\r\n", body, call.events)

    def _read_whole(self, call: LiveCall, attempt: Attempt, exchange: Exchange) -> Reading:
        attempt.first_token_us = int((exchange.first_byte_at - attempt.started) * 1e6)
        try:
            # What came by the short cut is not packed.
            return read_body(call.flavour, plain_body(exchange) if exchange.headers else exchange.body)
        except (UsageError, msgspec.MsgspecError):
            return Reading(error="unreadable_usage")

    def _answered(
        self, call: LiveCall, target: Target, attempt: Attempt, exchange: Exchange, reading: Reading
    ) -> Reply:
        attempt.status = exchange.status
        if exchange.status >= 400:
            attempt.outcome = "error"
        elif call.inbound.closed:
            attempt.outcome = "aborted"
        self._book(call, target, attempt, reading)
        return Reply(exchange.status, exchange.head_lines, exchange.body, call.events)

    async def _stream(self, call: LiveCall, target: Target, attempt: Attempt, exchange: Exchange) -> Reply:
        inbound = call.inbound
        packed = exchange.header(b"content-encoding") not in {b"", b"identity"}
        reader = stream_reader(call.flavour, hide_usage=call.hides_usage and not packed)
        if packed:
            reader = InflatingReader(reader)
        chunked = call.request.head.version != "1.0"
        budget = call.stream_budget
        if budget is None:
            relay = Relay(inbound, exchange, reader, chunked=chunked)
        else:
            relay = CountedRelay(
                inbound, exchange, reader, chunked=chunked, plain=not packed, tokens=budget.tokens,
                look=lambda one: self._look_at(call, target, one),
            )  # fmt: skip
        if exchange.first_byte_at:
            attempt.first_token_us = int((exchange.first_byte_at - attempt.started) * 1e6)
        inbound.start_stream(
            b"%s%s%s" % (status_line(exchange.status), _said(exchange.head_lines, call), _stamp(call)),
            chunked=chunked,
        )
        if relay.gone:
            self._left(relay)
        else:
            relay.attach(self._left)
        try:
            await exchange.end(relay)
        except UpstreamError as error:
            attempt.error = error.code
        relay.ended()
        if relay.gone:
            self._draining -= 1
        last = reader.close()
        reading = self._read_stream(target, reader)
        cut = attempt.error == "budget_cut"
        if cut or reading.partial:
            reading = await self._cut_short(call, target, reading, reader.text())
        elif reading.usage_source == "none":
            reading = await self._estimated(call, target, reading, reader.text())
        attempt.status = exchange.status
        if relay.gone or cut:
            attempt.outcome = "aborted"
        elif attempt.error or reading.error:
            attempt.outcome = "error"
        self._book(call, target, attempt, reading)
        if self._booking.durable_first:
            await self._booking.durable()
        if attempt.error and not relay.gone and (packed or not cut):
            inbound.write_chunk(last) if chunked else inbound.write_raw(last)
            inbound.break_off()
        else:
            if cut:
                last += cut_event(call.flavour, call.request_id)
            trailer = _trailer(call) if self._settings.stream_trailer and not packed else b""
            relay.finish(last + trailer, keep_alive=call.request.head.keep_alive)
        if self._health.remembers:
            self._health.succeeded(target)
        if self._shadows is not None and self._shadows.wants(call):
            call.streamed = reader.text()
        return Reply(exchange.status, exchange.head_lines, b"", call.events, relayed=True)

    def _look_at(self, call: LiveCall, target: Target, relay: CountedRelay) -> None:
        """Count what has come of a stream under a hard budget; end it where the budget cannot hold it."""
        Drive(self._hold_to_budget(call, target, relay), self._unforeseen)

    async def _hold_to_budget(self, call: LiveCall, target: Target, relay: CountedRelay) -> None:
        budget = call.stream_budget
        assert budget is not None
        passed, text = relay.passed, relay.reader.text()
        count = await self._loop.run_in_executor(None, count_text, target.served.model, text)
        allowed = await budget.allowed(call, target, count.tokens)
        if allowed >= count.tokens:
            relay.go_on(passed, count.tokens, allowed)
        elif not relay.is_over:
            relay.cut(UpstreamError("budget_cut", CUT, sent=True))

    def _left(self, relay: Relay) -> None:
        if relay.is_over:
            relay.left(0)
            return
        self._draining += 1
        drain = self._settings.on_abort == "drain" and self._draining <= MAX_DRAINS
        relay.left(self._loop.time() + self._settings.drain_seconds if drain else 0)

    def _read_stream(self, target: Target, reader: StreamReader) -> Reading:
        try:
            return reader.reading()
        except (UsageError, msgspec.MsgspecError):
            return Reading(model=target.deployment.model, error="unreadable_usage")

    async def _cut_short(self, call: LiveCall, target: Target, reading: Reading, text: str) -> Reading:
        """Count the output of a stream that ended early: what it says of its usage is only how it began."""
        counted = await self._estimated(call, target, reading, text)
        usage = counted.usage
        if reading.usage_source == "provider":
            usage = msgspec.structs.replace(reading.usage, output=max(reading.usage.output, usage.output))
        return msgspec.structs.replace(counted, usage=usage, usage_source="estimated")

    async def _estimated(self, call: LiveCall, target: Target, reading: Reading, text: str) -> Reading:
        """Count ourselves what the provider did not report."""
        arguments = (call.flavour, reading.model or target.deployment.model, call.body, text)
        if len(call.body) + len(text) > LARGE:
            usage, source = await self._loop.run_in_executor(None, estimate, *arguments)
        else:
            usage, source = estimate(*arguments)
        return msgspec.structs.replace(reading, usage=usage, usage_source=source)

    def _book(self, call: LiveCall, target: Target, attempt: Attempt, reading: Reading) -> None:
        attempt.duration_us = int((monotonic() - attempt.started) * 1e6)
        attempt.recorded_at = now(UTC)
        event = self._meter.event(target.served, attempt, reading, call.attribution)
        call.events.append(event)
        self._booking.book(event)

    # Answers

    def _send_reply(self, call: LiveCall, reply: Reply) -> None:
        status = STATUS_LINES.get(reply.status) or status_line(reply.status)
        head = b"%b%b%b" % (status, _said(reply.head, call), _stamp(call))
        call.inbound.reply(head, reply.body, keep_alive=call.request.head.keep_alive)

    def _refuse(
        self, inbound: Inbound, request: Request, endpoint: Endpoint | None, request_id: str, error: RefusedError
    ) -> None:
        self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
        if inbound.streaming:
            inbound.break_off()
            return
        body = refusal_body(endpoint.flavour if endpoint else None, error.status, error.reason, str(error), request_id)
        head = (
            f"content-type: application/json\r\nx-penstock-request-id: {request_id}\r\n"
            f"x-penstock-decision: refused {error.reason}\r\nx-penstock-cost: 0\r\n{error.headers}"
        )
        if error.status == 401:
            head += "www-authenticate: Bearer\r\n"
        if error.retry_after is None:
            head += "x-should-retry: false\r\n"
        else:
            head += f"x-should-retry: true\r\nretry-after: {math.ceil(error.retry_after)}\r\n"
            head += f"retry-after-ms: {math.ceil(error.retry_after * 1000)}\r\n"
        inbound.reply(status_line(error.status) + head.encode(), body, keep_alive=request.head.keep_alive)

    def _broken(self, inbound: Inbound, request: Request, endpoint: Endpoint | None, error: BaseException) -> None:
        """A mistake of ours: say so to the client, and to whoever keeps the logs."""
        self._unforeseen(error)
        refusal = RefusedError(500, "internal_error", "Penstock could not answer this; its log says why.")
        self._refuse(inbound, request, endpoint, "", refusal)

    def _unforeseen(self, error: BaseException) -> None:
        self._loop.call_exception_handler({"message": "A request could not be answered", "exception": error})

    # Everything else

    async def _other(self, inbound: Inbound, request: Request, path: bytes) -> None:
        try:
            await self._answer_other(inbound, request, path)
        except Exception as error:  # noqa: BLE001  # whatever it was, the client gets an answer
            self._broken(inbound, request, None, error)

    async def _answer_other(self, inbound: Inbound, request: Request, path: bytes) -> None:
        if path == b"/healthz":
            inbound.reply(
                b"%scontent-type: text/plain\r\n" % status_line(200), b"ok\n", keep_alive=request.head.keep_alive
            )
        elif path == b"/readyz":
            if self._booking.error is not None:
                refusal = RefusedError(503, "ledger_unavailable", str(self._booking.error))
                self._refuse(inbound, request, None, "", refusal)
            elif self._control is not None:
                await self._forward(self._control, inbound, request, "/api/health")
        elif path in endpoints.TELEMETRY and self._control is not None:
            await self._forward(self._control, inbound, request, path.decode("ascii"))
        elif path == endpoints.OUTCOMES and request.head.method == "POST" and self._outcomes is not None:
            await self._score(inbound, request, self._outcomes)
        elif endpoints.is_ai_path(path):
            await self._unmetered(inbound, request, path)
        elif path.startswith(b"/sandbox/") and self._sandbox is not None:
            await self._forward(self._sandbox, inbound, request, request.head.target.decode("latin-1"))
        elif self._control is None:
            self._refuse(inbound, request, None, "", RefusedError(404, "not_found", "There is nothing here."))
        else:
            await self._forward(self._control, inbound, request, request.head.target.decode("latin-1"))

    async def _score(self, inbound: Inbound, request: Request, outcomes: OutcomeDoor) -> None:
        """Take an outcome from whoever may make calls."""
        try:
            admit(request.head, self._keyring)
            if request.head.holder is not None:
                request.head.holder.used = True
            body = await outcomes.take(request.body, request.head.payer)
        except RefusedError as error:
            self._refuse(inbound, request, None, "", error)
        except InputError as error:
            self._refuse(inbound, request, None, "", RefusedError(400, error.code, str(error)))
        except LedgerError as error:
            self._refuse(
                inbound, request, None, "", RefusedError(503, "ledger_unavailable", str(error), retry_after=5.0)
            )
        else:
            head = b"%scontent-type: application/json\r\n" % status_line(200)
            inbound.reply(head, body, keep_alive=request.head.keep_alive)

    async def _unmetered(self, inbound: Inbound, request: Request, path: bytes) -> None:
        anthropic = path == endpoints.COUNT_TOKENS or b"anthropic-version" in dict(request.head.headers)
        try:
            admit(request.head, self._keyring)
            holder = request.head.holder
            if holder is not None:
                holder.used = True
                if holder.limited and not endpoints.starts_nothing(path):
                    raise RefusedError(403, "model_not_allowed", NOT_CHECKED.format(holder.key.id))
        except RefusedError as error:
            self._refuse(inbound, request, endpoints.MESSAGES if anthropic else None, "", error)
            return
        if path == endpoints.MODELS and (self._routes or self._targets):
            self._list_models(inbound, request)
            return
        if not endpoints.is_free(request.head.method, path):
            asked = f"{request.head.method} {path.decode('latin-1')}"
            sentence = f"{asked} is not a call that Penstock can meter, so it is not let through."
            self._refuse(inbound, request, None, "", RefusedError(404, "unmetered_endpoint", sentence))
            return
        for provider in self._providers.values():
            may = holder is None or not holder.key.providers or matches(provider.name, holder.key.providers)
            if may and provider.speaks("anthropic.messages" if anthropic else "openai.chat"):
                destination = self._destinations[provider.name]
                below = request.head.target.decode("latin-1")
                if destination.base_path.endswith("/v1"):
                    below = below.removeprefix("/v1")
                await self._forward(destination, inbound, request, destination.base_path + below)
                return
        self._refuse(inbound, request, None, "", RefusedError(404, "no_provider", "No provider speaks this wire."))

    async def _forward(self, destination: Destination, inbound: Inbound, request: Request, path: str) -> None:
        """Pass a request on as it is, and its reply back as it is."""
        method = "GET" if request.head.method == "HEAD" else request.head.method  # the door leaves the body out
        try:
            exchange = await send(
                destination.origin,
                destination.request(request.head, method, path, request.body),
                timeout=destination.provider.timeout,
                stall_timeout=destination.provider.stall_timeout,
                max_reply=self._settings.max_reply,
            )
        except UpstreamError as error:
            refusal = RefusedError(502, f"upstream_{error.code}", str(error))
            if destination is self._control:
                refusal = RefusedError(503, "not_ready", NOT_READY, retry_after=1.0)
            self._refuse(inbound, request, None, "", refusal)
            return
        head = status_line(exchange.status) + exchange.head_lines
        if not exchange.streamed:
            inbound.reply(head, exchange.body, keep_alive=request.head.keep_alive)
            return
        relay = Relay(inbound, exchange, _Untouched(), chunked=request.head.version != "1.0")
        inbound.start_stream(head, chunked=request.head.version != "1.0")
        relay.attach(lambda gone: gone.left(0))
        try:
            if relay.gone:
                relay.left(0)
            await exchange.end(relay)
            relay.ended()
            relay.finish(b"", keep_alive=request.head.keep_alive)
        except UpstreamError:
            inbound.break_off()

    def _list_models(self, inbound: Inbound, request: Request) -> None:
        names = list(self._routes) + [name for name in self._targets if name not in self._routes]
        holder = request.head.holder
        if holder is not None and holder.limited:
            names = [name for name in names if any(holder.key.allows(name, target) for target in self._behind(name))]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "penstock"} for name in names]
        body = msgspec.json.encode({"object": "list", "data": data})
        inbound.reply(
            b"%scontent-type: application/json\r\n" % status_line(200), body, keep_alive=request.head.keep_alive
        )

    def _behind(self, name: str) -> list[Target]:
        """Return the targets that a name of the settings may lead to."""
        route = self._routes.get(name)
        return [self._targets[one] for one in (route.deployments if route else (name,))]


class _Untouched:
    """Reads nothing out of a stream."""

    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> bytes:
        return b""

    def reading(self) -> Reading:
        return NOTHING

    def text(self) -> str:
        return ""


def _told(call: LiveCall, status: int, refused: str) -> Told:
    """Take what is told of a call that has ended, and nothing that holds its body."""
    headers, who = dict(call.request.head.headers), call.attribution
    return Told(
        call.request_id, call.request.head.path.decode("latin-1"), call.endpoint.name, call.requested_model, call.at,
        (now(UTC) - call.at).total_seconds(), status, refused, headers.get(b"traceparent", b""),
        headers.get(b"tracestate", b""), who.team, who.app, who.feature, who.run, who.key, "; ".join(call.decisions),
        tuple(call.events),
    )  # fmt: skip


def _may_have_left(call: LiveCall) -> bool:
    """Tell whether another attempt could be one that nobody waits for."""
    return call.inbound.leaving


def _who(request: Request, head: RequestHead) -> Attribution:
    """Say who pays. What the headers say of it is worked out once for all requests with the same head."""
    if head.metadata is not NO_METADATA:
        return attribute(dict(request.head.headers), head, request.head.payer)
    payers, user = request.head.payers, head.user or head.safety_identifier or ""
    who = payers.get(user)
    if who is None:
        if len(payers) >= MOST_PAYERS:
            payers.clear()
        who = attribute(dict(request.head.headers), RequestHead(user=user), request.head.payer)
        if len(user) <= LONGEST_PAYER:
            payers[user] = who
    return who


def _said(head: bytes, call: Call) -> bytes:
    """Return a provider's head lines; its limits are not the client's where the client has limits of its own."""
    if not call.headers or b"x-ratelimit-" not in head.lower():
        return head
    return b"".join(line for line in head.splitlines(keepends=True) if not line.lower().startswith(b"x-ratelimit-"))


def _stamp(call: LiveCall) -> bytes:
    """Say who this request is, what was decided about it, and what it cost, as far as that is known by now."""
    decisions, events = call.decisions, call.events
    said = decisions[0] if len(decisions) == 1 else "; ".join(decisions)
    lines = f"x-penstock-request-id: {call.request_id}\r\nx-penstock-decision: {said}\r\n"
    if events:
        cost, state = _cost(events)
        lines = f"{lines}x-penstock-cost: {cost}\r\nx-penstock-price-state: {state}\r\n"
    if call.headers:
        lines += call.headers
    return lines.encode("latin-1", "replace")


def _cost(events: Sequence[UsageEvent]) -> tuple[str, str]:
    """Spell what a call cost so far, and in which state its price is."""
    cost = events[0].cost if len(events) == 1 else total(events)
    return ("unpriced", "unpriced") if cost is None else (f"{cost:f}", events[-1].price_state)


def _trailer(call: LiveCall) -> bytes:
    """Return an SSE comment: every client skips it, and a person or a proxy can read it."""
    cost, state = _cost(call.events)
    return f": penstock request-id={call.request_id} cost={cost} price-state={state}\n\n".encode()


def _retry_after(exchange: Exchange) -> float | None:
    """Read how long the provider wants to be left alone, in seconds."""
    if exchange.header(b"x-should-retry") == b"false":
        return LONGEST_WAIT + 1
    milliseconds = exchange.header(b"retry-after-ms")
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(exchange.header(b"retry-after"))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
