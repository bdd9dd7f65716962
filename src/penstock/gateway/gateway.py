"""A call's story: from the client's request through the policies and attempts to the booked reply."""

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, cast

import msgspec
from msgspec import Struct

from penstock.errors import InputError, LedgerError, RefusedError, UsageError
from penstock.gateway import endpoints
from penstock.gateway.booking import Booking
from penstock.gateway.driving import Drive
from penstock.gateway.endpoints import Endpoint
from penstock.gateway.health import Health
from penstock.gateway.inflation import InflatingReader, plain_body
from penstock.gateway.providers import Destination, with_model, with_usage
from penstock.gateway.refusals import refusal_body
from penstock.gateway.relay import Relay
from penstock.gateway.server import Inbound, Request, status_line
from penstock.gateway.upstream import Exchange, UpstreamError, send
from penstock.metering.attribution import Attribution, attribute
from penstock.metering.counting import estimate
from penstock.metering.event import Outcome, Purpose, UsageEvent, new_id
from penstock.metering.meter import NOTHING, Attempt, Meter, total
from penstock.metering.readers import read_body, stream_reader
from penstock.metering.readers.bodies import body_text
from penstock.metering.reading import Reading, StreamReader
from penstock.metering.request import NO_METADATA, RequestHead, read_request
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Deployment, Provider, Route, Target, target_of
from penstock.policies.pipeline import Policy, pipeline
from penstock.pricing.catalog import Catalog

RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
ESTIMATED_ERRORS = frozenset({"timeout", "reply_too_large", "bad_reply", "shutdown"})
"""Breakages after which the provider is likely to bill what it was sent."""
BACKOFF_SECONDS = 0.25
LONGEST_WAIT = 8.0
"""A provider that asks for a longer wait than this is not waited for: its answer goes to the client."""
MAX_DRAINS = 256
LONGEST_NAME = 256
MOST_PAYERS = 64
"""Users remembered for each head of a client: users are named by clients."""
LARGE = 64 * 1024
"""Bytes from which counting is done beside the loop."""


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


class LiveCall(Call, eq=False):
    """A call with its client at the other end."""

    inbound: Inbound
    request: Request
    endpoint: Endpoint


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
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._settings = settings
        self._providers = {provider.name: provider for provider in providers}
        self._targets = {row.name: target_of(row, self._providers[row.provider], declared=True) for row in deployments}
        self._routes = {route.model: route for route in routes}
        self._destinations = destinations
        self._control = control
        self._sandbox = next((destinations[row.name] for row in providers if row.kind == "sandbox"), None)
        self._meter = Meter(catalog)
        self._booking = booking
        self._loop = loop
        self._draining = 0
        self._proceed = pipeline(policies, self._attempts)
        self._found: dict[tuple[str, str], tuple[tuple[Target, ...], int]] = {}
        self._health = Health(loop.time)
        self.stopping = False
        """The worker is taking leave: nothing is tried again."""
        self.calls = 0
        """AI calls that are being answered now."""

    def handle(self, inbound: Inbound, request: Request) -> None:
        """Answer one request."""
        path = request.head.path
        endpoint = endpoints.METERED.get(path)
        deployment = ""
        if endpoint is None and path.startswith(endpoints.AZURE_DEPLOYMENTS):
            deployment, endpoint = endpoints.azure_deployment(path) or ("", None)
        if endpoint is not None and request.head.method == "POST":
            self.calls += 1
            Drive(
                self._answer(inbound, request, endpoint, deployment),
                lambda error: self._broken(inbound, request, endpoint, error),
            )
            return
        Drive(self._other(inbound, request, path), lambda error: self._broken(inbound, request, None, error))

    # An AI call

    async def _answer(self, inbound: Inbound, request: Request, endpoint: Endpoint, deployment: str) -> None:
        request_id = new_id()
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
        except RefusedError as error:
            self._refuse(inbound, request, endpoint, request_id, error)
        except InputError as error:
            refusal = RefusedError(400, error.code, str(error))
            self._refuse(inbound, request, endpoint, request_id, refusal)
        except LedgerError as error:
            refusal = RefusedError(503, "ledger_unavailable", f"The call was made, but cannot be booked: {error}")
            self._refuse(inbound, request, endpoint, request_id, refusal)
        finally:
            self.calls -= 1

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
        head = read_request(endpoint.flavour, request.body)
        model = deployment or head.model
        if not model:
            raise InputError("The body names no `model`; say which one you want.")
        if len(model) > LONGEST_NAME or not model.isprintable():
            raise InputError("The model's name is too long, or has characters that do not belong into a name.")
        found = self._found.get((model, endpoint.name))
        if found is None:
            found = self._route(model, endpoint)
            if len(self._found) < 10_000:  # names come from clients: what they can fill is bounded
                self._found[model, endpoint.name] = found
        targets, retries = found
        return LiveCall(
            request_id,
            datetime.now(UTC),
            endpoint.flavour,
            head,
            request.body,
            _who(request, head),
            targets,
            retries,
            model,
            [],
            inbound,
            request,
            endpoint,
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
        live = cast("LiveCall", call)
        events: list[UsageEvent] = []
        targets = self._health.order(call.targets) if self._health.remembers else call.targets
        purpose: Purpose = "call"
        number = 0
        while True:
            target = targets[number % len(targets)]
            number += 1
            reply, wait = await self._attempt(live, target, number, purpose, events)
            if reply.relayed or reply.status not in RETRYABLE:
                if self._health.remembers:
                    self._health.succeeded(target)
                return reply
            self._health.failed(target, wait)
            if number > call.retries or _may_have_left(live) or self.stopping:
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

    async def _attempt(
        self, call: LiveCall, target: Target, number: int, purpose: Purpose, events: list[UsageEvent]
    ) -> tuple[Reply, float | None]:
        """Make one attempt; return its reply, and how long the provider wants to be left alone."""
        decision = f"{target.deployment.name}#{number}"
        call.decisions.append(decision if purpose == "call" else f"{decision} {purpose}")
        provider, head, body = target.provider, call.head, call.body
        destination = self._destinations[provider.name]
        hide_usage = False
        if head.stream and not head.include_usage and call.endpoint.name in {"chat", "completions"}:
            hide_usage = True
            body = with_usage(body)
        if head.model and head.model != target.upstream:
            body = with_model(body, head.model, target.upstream)
        client = call.request.head
        forwarded = client.forwarded.get(target.key)
        if forwarded is None:
            forwarded = destination.forward(
                client, target.key, destination.path_for(call.endpoint, target, client.target)
            )
        request = b"%b%d\r\n\r\n%b" % (forwarded, len(body), body)
        step = _Step(call, target, number, purpose, call.at if number == 1 else datetime.now(UTC), self._loop.time())
        try:
            connection = destination.origin.warm() or await destination.origin.connection()
            exchange = connection.send(
                request, step.started + provider.timeout, provider.stall_timeout, self._settings.max_reply
            )
            await exchange
        except UpstreamError as error:
            return await self._unanswered(step, error, events), None
        if exchange.streamed:
            return await self._stream(step, exchange, events, hide_usage=hide_usage), None
        reading = self._read_whole(step, exchange)
        if reading.usage_source == "none" and exchange.status < 400:
            reading = await self._estimated(step, reading, body_text(plain_body(exchange)))
        outcome: Outcome = "error" if exchange.status >= 400 else "aborted" if call.inbound.closed else "ok"
        self._book(step, events, reading, outcome=outcome, status=exchange.status)
        wait = _retry_after(exchange) if exchange.status in RETRYABLE else None
        return Reply(exchange.status, exchange.head_lines, exchange.body, events), wait

    async def _unanswered(self, step: "_Step", error: UpstreamError, events: list[UsageEvent]) -> Reply:
        reading = NOTHING
        if error.sent and error.code in ESTIMATED_ERRORS:
            # The provider has the prompt, and has worked on it: it will bill that much at least.
            reading = await self._estimated(step, Reading(), "")
        self._book(step, events, reading, outcome="error", status=0, error=error.code)
        status = {"timeout": 504, "connect_timeout": 504, "queue_full": 503}.get(error.code, 502)
        body = refusal_body(step.call.flavour, status, f"upstream_{error.code}", str(error), step.call.request_id)
        return Reply(status, b"content-type: application/json\r\n", body, events)

    def _read_whole(self, step: "_Step", exchange: Exchange) -> Reading:
        step.first_token_at = exchange.first_byte_at
        try:
            # What came by the short cut is not packed.
            return read_body(step.call.flavour, plain_body(exchange) if exchange.headers else exchange.body)
        except (UsageError, msgspec.MsgspecError):
            return Reading(error="unreadable_usage")

    async def _stream(self, step: "_Step", exchange: Exchange, events: list[UsageEvent], *, hide_usage: bool) -> Reply:
        call = step.call
        inbound = call.inbound
        packed = exchange.header(b"content-encoding") not in {b"", b"identity"}
        reader = stream_reader(call.flavour, hide_usage=hide_usage and not packed)
        if packed:
            reader = InflatingReader(reader)
        chunked = call.request.head.version != "1.0"
        relay = Relay(inbound, exchange, reader, chunked=chunked)
        step.first_token_at = exchange.first_byte_at
        inbound.start_stream(
            b"%s%s%s" % (status_line(exchange.status), exchange.head_lines, _stamp(call)),
            chunked=chunked,
        )
        if relay.gone:
            self._left(relay)
        else:
            relay.attach(self._left)
        failure = ""
        try:
            await exchange.end(relay)
        except UpstreamError as error:
            failure = error.code
        relay.ended()
        if relay.gone:
            self._draining -= 1
        last = reader.close()
        reading = self._read_stream(step, reader)
        if reading.usage_source == "none":
            reading = await self._estimated(step, reading, reader.text())
        outcome: Outcome = "aborted" if relay.gone else "error" if failure or reading.error else "ok"
        self._book(step, events, reading, outcome=outcome, status=exchange.status, error=failure)
        if self._booking.durable_first:
            await self._booking.durable()
        if failure and not relay.gone:
            inbound.write_chunk(last) if chunked else inbound.write_raw(last)
            inbound.break_off()
        else:
            trailer = _trailer(call, events) if self._settings.stream_trailer and not packed else b""
            relay.finish(last + trailer, keep_alive=call.request.head.keep_alive)
        return Reply(exchange.status, exchange.head_lines, b"", events, relayed=True)

    def _left(self, relay: Relay) -> None:
        if relay.is_over:
            relay.left(0)
            return
        self._draining += 1
        drain = self._settings.on_abort == "drain" and self._draining <= MAX_DRAINS
        relay.left(self._loop.time() + self._settings.drain_seconds if drain else 0)

    def _read_stream(self, step: "_Step", reader: StreamReader) -> Reading:
        try:
            return reader.reading()
        except (UsageError, msgspec.MsgspecError):
            return Reading(model=step.target.deployment.model, error="unreadable_usage")

    async def _estimated(self, step: "_Step", reading: Reading, text: str) -> Reading:
        """Count ourselves what the provider did not report."""
        call = step.call
        model = reading.model or step.target.deployment.model
        arguments = (call.flavour, model, call.body, text)
        if len(call.body) + len(text) > LARGE:
            usage, source = await self._loop.run_in_executor(None, estimate, *arguments)
        else:
            usage, source = estimate(*arguments)
        return msgspec.structs.replace(reading, usage=usage, usage_source=source)

    def _book(
        self,
        step: "_Step",
        events: list[UsageEvent],
        reading: Reading,
        *,
        outcome: Outcome,
        status: int,
        error: str = "",
    ) -> None:
        call, target = step.call, step.target
        now = self._loop.time()
        attempt = Attempt(
            call.request_id,
            step.number,
            step.purpose,
            step.at,
            datetime.now(UTC),
            call.endpoint.name,
            call.requested_model,
            outcome,
            status,
            error,
            bool(call.head.stream),
            int((now - step.started) * 1e6),
            int((step.first_token_at - step.started) * 1e6) if step.first_token_at else 0,
            call.decisions[-1],
        )
        event = self._meter.event(target.served, attempt, reading, call.attribution)
        events.append(event)
        self._booking.book(event)

    # Answers

    def _send_reply(self, call: LiveCall, reply: Reply) -> None:
        head = b"%b%b%b" % (status_line(reply.status), reply.head, _stamp(call, reply.events))
        call.inbound.reply(head, reply.body, keep_alive=call.request.head.keep_alive)

    def _refuse(
        self, inbound: Inbound, request: Request, endpoint: Endpoint | None, request_id: str, error: RefusedError
    ) -> None:
        if inbound.streaming:
            inbound.break_off()
            return
        body = refusal_body(endpoint.flavour if endpoint else None, error.status, error.reason, str(error), request_id)
        head = (
            f"content-type: application/json\r\nx-penstock-request-id: {request_id}\r\n"
            f"x-penstock-decision: refused {error.reason}\r\nx-penstock-cost: 0\r\nx-should-retry: false\r\n"
        )
        inbound.reply(status_line(error.status) + head.encode(), body, keep_alive=request.head.keep_alive)

    def _broken(self, inbound: Inbound, request: Request, endpoint: Endpoint | None, error: BaseException) -> None:
        """A mistake of ours: say so to the client, and to whoever keeps the logs."""
        self._loop.call_exception_handler({"message": "A request could not be answered", "exception": error})
        refusal = RefusedError(500, "internal_error", "Penstock could not answer this; its log says why.")
        self._refuse(inbound, request, endpoint, "", refusal)

    # Everything else

    async def _other(self, inbound: Inbound, request: Request, path: bytes) -> None:
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
        elif endpoints.is_ai_path(path):
            await self._unmetered(inbound, request, path)
        elif path.startswith(b"/sandbox/") and self._sandbox is not None:
            await self._forward(self._sandbox, inbound, request, request.head.target.decode("latin-1"))
        elif self._control is None:
            self._refuse(inbound, request, None, "", RefusedError(404, "not_found", "There is nothing here."))
        else:
            await self._forward(self._control, inbound, request, request.head.target.decode("latin-1"))

    async def _unmetered(self, inbound: Inbound, request: Request, path: bytes) -> None:
        if path == endpoints.MODELS and (self._routes or self._targets):
            self._list_models(inbound, request)
            return
        anthropic = path == endpoints.COUNT_TOKENS or b"anthropic-version" in dict(request.head.headers)
        if not endpoints.is_free(request.head.method, path):
            asked = f"{request.head.method} {path.decode('latin-1')}"
            sentence = f"{asked} is not a call that Penstock can meter, so it is not let through."
            self._refuse(inbound, request, None, "", RefusedError(404, "unmetered_endpoint", sentence))
            return
        for provider in self._providers.values():
            if provider.speaks("anthropic.messages" if anthropic else "openai.chat"):
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
            self._refuse(inbound, request, None, "", RefusedError(502, f"upstream_{error.code}", str(error)))
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
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "penstock"} for name in names]
        body = msgspec.json.encode({"object": "list", "data": data})
        inbound.reply(
            b"%scontent-type: application/json\r\n" % status_line(200), body, keep_alive=request.head.keep_alive
        )


class _Step(Struct, eq=False):
    """One attempt while it lasts."""

    call: LiveCall
    target: Target
    number: int
    purpose: Purpose
    at: datetime
    started: float
    first_token_at: float = 0.0


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


def _may_have_left(call: LiveCall) -> bool:
    """Tell whether another attempt could be one that nobody waits for."""
    return call.inbound.leaving


def _who(request: Request, head: RequestHead) -> Attribution:
    """Say who pays. What the headers say of it is worked out once for all requests with the same head."""
    if head.metadata is not NO_METADATA:
        return attribute(dict(request.head.headers), head)
    payers, user = request.head.payers, head.user or head.safety_identifier or ""
    who = payers.get(user)
    if who is None:
        if len(payers) >= MOST_PAYERS:
            payers.clear()
        who = payers[user] = attribute(dict(request.head.headers), RequestHead(user=user))
    return who


def _stamp(call: Call, events: Sequence[UsageEvent] = ()) -> bytes:
    """Say who this request is, what was decided about it, and what it cost, as far as that is known by now."""
    decisions = call.decisions
    said = decisions[0] if len(decisions) == 1 else "; ".join(decisions)
    lines = f"x-penstock-request-id: {call.request_id}\r\nx-penstock-decision: {said}\r\n"
    if events:
        cost, state = events[0].cost if len(events) == 1 else total(events), events[-1].price_state
        spelt, state = ("unpriced", "unpriced") if cost is None else (f"{cost:f}", state)
        lines = f"{lines}x-penstock-cost: {spelt}\r\nx-penstock-price-state: {state}\r\n"
    return lines.encode("latin-1", "replace")


def _trailer(call: Call, events: list[UsageEvent]) -> bytes:
    """Return an SSE comment: every client skips it, and a person or a proxy can read it."""
    cost = total(events)
    said = "unpriced" if cost is None else f"{cost:f}"
    return f": penstock request-id={call.request_id} cost={said} price-state={events[-1].price_state}\n\n".encode()


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
