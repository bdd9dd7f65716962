"""The sending end: what calls have left is made into spans and metrics beside the loop, and sent to a collector.

A collector that is away costs memory up to a bound, and nothing else: what does not fit is dropped, counted and told.
"""

import asyncio
import gzip
import logging
import os
import re
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from msgspec import Struct
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from penstock import __version__
from penstock.errors import InputError
from penstock.gateway.dialing import address_of
from penstock.gateway.driving import Drive
from penstock.gateway.telemetry.measures import Measures
from penstock.gateway.telemetry.names import filled
from penstock.gateway.telemetry.settings import TelemetrySettings
from penstock.gateway.telemetry.spans import export_request
from penstock.gateway.telemetry.told import Notes, Told
from penstock.gateway.upstream import Exchange, Origin, UpstreamError, send
from penstock.metering.event import new_id

BATCH = 256
"""Requests in one export request."""
SECONDS = 10.0
"""How long the collector may take to answer."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Between tries of what the collector did not take."""
LAST_SECONDS = 3.0
"""For what is left when the worker ends."""
TELL_SECONDS = 60.0
RETRYABLE = frozenset({429, 502, 503, 504})
LONGEST_REPLY = 1024 * 1024
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
OWN = frozenset({"host", "content-length", "content-type", "content-encoding", "connection", "transfer-encoding"})

log = logging.getLogger("penstock")


class Parcel(Struct, frozen=True):
    """An export request, packed."""

    path: str
    body: bytes
    requests: int
    """How many requests of clients it tells of."""


class Exporter:
    """Sends what `notes` hold, from a task of the worker's loop."""

    def __init__(self, settings: TelemetrySettings, loop: asyncio.AbstractEventLoop, worker: str) -> None:
        self.notes = Notes(loop, settings.max_queue)
        self._settings, self._loop = settings, loop
        address, self._base = address_of(settings.otlp_endpoint, ca_file=settings.ca_file)
        self._origin = Origin(address, loop, connections=1)
        fixed = (
            f"host: {address.authority}\r\nuser-agent: penstock/{__version__}\r\n{address.proxy_header}"
            "content-type: application/x-protobuf\r\ncontent-encoding: gzip\r\n"
        )
        self._fixed = fixed + "".join(
            f"{name}: {value}\r\n" for name, value in headers_of(settings.headers_env).items()
        )
        self._prefix = address.target_prefix + self._base
        self._resource = Resource(
            attributes=filled(
                {
                    "service.name": settings.service_name, "service.version": __version__,
                    "service.instance.id": new_id(), "penstock.worker": worker,
                }
            )
        )  # fmt: skip
        self._measures = Measures(time.time_ns())
        self._threads = ThreadPoolExecutor(1, "telemetry")
        self._parcels: deque[Parcel] = deque()
        self._waiting = 0
        """Requests that the parcels tell of."""
        self._figures: Parcel | None = None
        """The newest metrics: they hold all that older ones would have said."""
        self._lost = self._told_lost = 0
        self._why = ""
        self._told_at = -TELL_SECONDS
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._line = asyncio.Lock()
        """Held while something is being sent: one request at a time."""
        self._ending = False

    def start(self) -> None:
        """Begin to send."""
        self._tasks = [self._loop.create_task(work()) for work in (self._gather, self._send, self._sweep)]

    async def close(self) -> None:
        """Send what is left, as far as that is quick, and say what is not."""
        self._ending = True  # what is being made into spans now is in nobody else's hands: it is waited for
        gathering, sending, sweeping = self._tasks
        try:
            async with asyncio.timeout(LAST_SECONDS), self._line:
                sending.cancel()
                await gathering
                await self._digest(figures=True)
                while (parcel := self._next()) is not None:
                    wait = await self._deliver(parcel)
                    if wait is not None:
                        break
        except TimeoutError:
            self._why = self._why or "there was no time left"
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(gathering, sending, sweeping, return_exceptions=True)
        self._lost += self._waiting + len(self.notes)
        self._tell(last=True)
        self._origin.close()
        self._threads.shutdown(wait=False)

    # Gathering

    async def _gather(self) -> None:
        due = self._loop.time() + self._settings.metrics_seconds
        # Often enough that the notes never fill up while all is well, and that nobody waits for the end.
        pause = min(0.5, self._settings.batch_seconds, self._settings.metrics_seconds)
        while not self._ending:
            until = self._loop.time() + self._settings.batch_seconds
            while self._loop.time() < until and len(self.notes) < BATCH and not self._ending:
                await asyncio.sleep(pause)
            figures = self._loop.time() >= due
            if figures:
                due += self._settings.metrics_seconds
            try:
                await self._digest(figures=figures)
            except Exception as error:
                log.exception("telemetry: requests could not be told", exc_info=error)

    async def _digest(self, *, figures: bool) -> None:
        """Make parcels of what waits; metrics too, where `figures`."""
        while told := self.notes.take(BATCH):
            parcel = await self._loop.run_in_executor(self._threads, self._packed, told)
            if parcel is None:
                continue
            if self._waiting + parcel.requests > self._settings.max_queue:
                self._lost += parcel.requests
                self._why = self._why or f"more than {self._settings.max_queue:,} requests wait to be sent"
                self._tell()
            else:
                self._parcels.append(parcel)
                self._waiting += parcel.requests
                self._news.set()
        if figures and self._settings.metrics:
            self._figures = await self._loop.run_in_executor(self._threads, self._summed)
            self._news.set()

    def _packed(self, told: list[Told]) -> Parcel | None:
        if self._settings.metrics:
            self._measures.add(told)
        if not self._settings.traces:
            return None
        body, spans = export_request(self._resource, told, self._settings.sample)
        return Parcel("/v1/traces", gzip.compress(body, 1), len(told)) if spans else None

    def _summed(self) -> Parcel:
        body = self._measures.export_request(self._resource, time.time_ns(), self._lost + self.notes.dropped)
        return Parcel("/v1/metrics", gzip.compress(body, 1), 0)

    # Sending

    async def _send(self) -> None:
        wait = FIRST_WAIT
        while True:
            parcel = self._next()
            if parcel is None:
                self._news.clear()
                await self._news.wait()
                continue
            async with self._line:
                asked = await self._deliver(parcel)
            if asked is None:
                wait = FIRST_WAIT
            else:
                await asyncio.sleep(max(wait, min(asked, LONGEST_WAIT)))
                wait = min(wait * 2, LONGEST_WAIT)

    def _next(self) -> Parcel | None:
        return self._parcels[0] if self._parcels else self._figures

    async def _deliver(self, parcel: Parcel) -> float | None:
        """Send a parcel. Return None once it is done with; else in how many seconds it should be tried again."""
        head = f"POST {self._prefix}{parcel.path} HTTP/1.1\r\n{self._fixed}content-length: {len(parcel.body)}\r\n\r\n"
        try:
            exchange = await self._sent(head.encode("latin-1") + parcel.body)
        except UpstreamError as error:
            self._why = str(error)
            self._tell()
            return 0.0
        if exchange.status in RETRYABLE:
            self._why = f"{self._settings.otlp_endpoint} answered {exchange.status} to {parcel.path}"
            self._tell()
            return _retry_after(exchange)
        if parcel is self._figures:
            self._figures = None
        elif self._parcels and parcel is self._parcels[0]:
            self._parcels.popleft()
            self._waiting -= parcel.requests
        if exchange.status // 100 != 2:
            self._lost += parcel.requests
            self._why = f"{self._settings.otlp_endpoint} answered {exchange.status} to {parcel.path}"
            self._tell()
        elif not self._parcels:
            self._why = ""
        return None

    def _sent(self, request: bytes) -> "asyncio.Future[Exchange]":
        """Send a request; connections know no tasks, so a future stands between them and this one."""
        done: asyncio.Future[Exchange] = self._loop.create_future()

        def failed(error: BaseException) -> None:
            if not done.done():
                done.set_exception(error)

        async def work() -> None:
            exchange = await send(
                self._origin, request, timeout=SECONDS, stall_timeout=SECONDS, max_reply=LONGEST_REPLY
            )
            if not done.done():
                done.set_result(exchange)

        Drive(work(), failed)
        return done

    async def _sweep(self) -> None:
        """End what takes too long."""
        while True:
            await asyncio.sleep(0.5)
            self._origin.sweep(self._loop.time())

    def _tell(self, *, last: bool = False) -> None:
        """Say that something is wrong, now and then."""
        lost = self._lost + self.notes.dropped
        if last and lost == self._told_lost:
            return
        if not last and self._loop.time() - self._told_at < TELL_SECONDS:
            return
        self._told_at = self._loop.time()
        dropped = f"requests dropped from the traces: {lost - self._told_lost:,}" if lost > self._told_lost else ""
        self._told_lost = lost
        reason = self._why.removesuffix(".")
        log.warning("telemetry: %s", "; ".join(filter(None, (dropped, reason))) or "nothing can be sent")


def headers_of(variable: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Read headers from the environment: `name=value,name=value`, values percent-encoded. Raises InputError."""
    found = {}
    for pair in filter(None, (one.strip() for one in environment.get(variable, "").split(","))):
        name, mark, value = pair.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        if not mark or not TOKEN.fullmatch(name) or name in OWN or not value.isprintable() or not value.isascii():
            raise InputError(f"{variable} must look like name=value,name=value, values percent-encoded.")
        found[name] = value
    return found


def _retry_after(exchange: Exchange) -> float:
    value = exchange.header(b"retry-after")
    return float(value) if value.isdigit() else 0.0
