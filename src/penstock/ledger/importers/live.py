"""Usage that arrives while the server runs: what waits is booked together, and answered when it is in the ledger."""

import logging
import queue
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from penstock.errors import PenstockError
from penstock.ledger.importers import otlp, otlp_metrics
from penstock.ledger.importers.drafts import Assumed, Draft, Note, Rejected
from penstock.ledger.importers.otlp_wire import Form, Signal, WireError, document_of
from penstock.ledger.importers.run import Pricing, id_of
from penstock.ledger.retention import RETIRED
from penstock.ledger.store import Ledger
from penstock.metering.attribution import NOBODY, Attribution
from penstock.metering.event import UsageEvent, utc_now
from penstock.pricing.catalog import Catalog

MOST_TOGETHER = 20_000
"""Events after which no more arrivals join those that are booked in one step."""
REASONS = 3
"""Reasons of rejected rows that an answer names."""
LONGEST_REASON = 200
ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS

log = logging.getLogger("penstock")


class FullError(PenstockError):
    """More waits than may."""

    code = "intake_full"


class TooLargeError(PenstockError):
    """A body is larger than may be, unpacked."""

    code = "body_too_large"


class Arrival(Struct, eq=False):
    """One export request."""

    signal: Signal
    form: Form
    body: bytes
    packed: bool = False
    """By gzip or deflate."""
    payer: Attribution = NOBODY
    """What the key says of who pays: it stands."""
    otherwise: Attribution = NOBODY
    """What holds where the events do not say it themselves."""


class Booked(Struct, frozen=True):
    """What became of one export request."""

    rejected: int = 0
    message: str = ""
    """Why some are rejected, or what else its sender should know."""


Item = tuple[Arrival, "Future[Booked]"]


class Intake:
    """Takes export requests, and books them in a thread of its own."""

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        catalog: Catalog,
        *,
        max_body: int,
        max_waiting: int,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`max_body`: bytes of one body, unpacked; `max_waiting`: bytes of all that wait, as they came."""
        self._open, self._catalog, self._now = open_ledger, catalog, now
        self._max_body, self._max_waiting = max_body, max_waiting
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._held = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="intake")
        self._thread.start()

    def take(self, arrival: Arrival) -> "Future[Booked]":
        """Put a request into the queue; the future is done when its events are in the ledger.

        It fails with WireError or TooLargeError for a body that cannot be used, and with another PenstockError where
        the ledger cannot be written.
        """
        done: Future[Booked] = Future()
        self._queue.put((arrival, done))
        return done

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Keep room for a body from before it is read until it is booked. Raises FullError."""
        with self._lock:
            if self._closed:
                raise FullError("The server is being stopped; send this again.")
            if self._held and self._held + size > self._max_waiting:
                raise FullError(f"{self._held:,} bytes of telemetry wait to be booked; send this again later.")
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size

    def close(self) -> None:
        """Book what waits, and end."""
        with self._lock:
            self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        ledger: Ledger | None = None
        ended = False
        while not ended:
            items: list[tuple[Future[Booked], Booked]] = []
            events: list[UsageEvent] = []
            item = self._queue.get()
            while item is not None:
                try:
                    ledger = ledger or self._open()
                    booked, found = self._read(item[0], ledger)
                    events += found
                    items.append((item[1], booked))
                except Exception as error:  # noqa: BLE001  # whatever it is, its sender learns of it
                    self._fail(item[1], error)
                if len(events) >= MOST_TOGETHER or self._queue.empty():
                    break
                item = self._queue.get()
            ended = item is None
            try:
                if events and ledger:
                    ledger.add(events, source=otlp.FORMAT.name)
                for done, booked in items:
                    done.set_result(booked)
            except Exception as error:  # noqa: BLE001  # as above: nothing of it is booked
                for done, _ in items:
                    self._fail(done, error)
        if ledger:
            ledger.close()

    def _fail(self, done: "Future[Booked]", error: Exception) -> None:
        if not isinstance(error, PenstockError):
            log.error("telemetry could not be booked", exc_info=error)
        done.set_exception(error)

    def _read(self, arrival: Arrival, ledger: Ledger) -> tuple[Booked, list[UsageEvent]]:
        """Turn a request into priced events, and the answer to it."""
        body = unpacked(arrival.body, self._max_body) if arrival.packed else arrival.body
        document = document_of(arrival.signal, arrival.form, body)
        if arrival.signal == "logs":
            return Booked(message=_about_logs(document)), []
        now = self._now()
        module = otlp if arrival.signal == "traces" else otlp_metrics
        items: list[Draft | Rejected | Note] = [*module.drafts_of(document, Assumed(), now)]
        retired = ledger.state.get(RETIRED)
        pricing = Pricing(self._catalog)
        events: list[UsageEvent] = []
        reasons: Counter[str] = Counter()
        notes: list[str] = []
        for item in items:
            if isinstance(item, Note):
                notes.append(item.text)
            elif isinstance(item, Rejected):
                reasons[item.reason[:LONGEST_REASON]] += 1
            elif not item.source_id:
                reasons["spanId is empty: without it a span that is sent again would count twice"] += 1
            elif item.event.at.date().isoformat() < retired:
                reasons[f"days before {retired} were retired, and take nothing more"] += 1
            else:
                source = module.FORMAT.name
                event = pricing.priced(item.event, id=id_of(source, "id", item.source_id), source=source)
                events.append(_paid_by(event, arrival.payer, arrival.otherwise))
        return Booked(sum(reasons.values()), _sentence(arrival.signal, reasons, len(events), notes)), events


def unpacked(body: bytes, most: int) -> bytes:
    """Undo gzip or deflate. Raises WireError where it is cut off or neither, TooLargeError past `most` bytes."""
    inflate = zlib.decompressobj(ZLIB_OR_GZIP)
    try:
        data = inflate.decompress(body, most + 1)
    except zlib.error as error:
        raise WireError(f"The body cannot be unpacked: {error}.") from None
    if len(data) > most:
        raise TooLargeError(too_large(most))
    if not inflate.eof:
        raise WireError("The compressed body is cut off.")
    if inflate.unused_data:
        raise WireError("There is something behind the end of the compressed body.")
    return data


def too_large(most: int) -> str:
    """Say so."""
    return (
        f"The body is larger than {most:,} bytes: send smaller batches (OTEL_BSP_MAX_EXPORT_BATCH_SIZE), without "
        "prompts and answers, or raise [telemetry] max_body."
    )


def _paid_by(event: UsageEvent, payer: Attribution, otherwise: Attribution) -> UsageEvent:
    """Say who pays: the key first, then the event, then the request's headers."""
    return replace(
        event, key=payer.key, tags={**otherwise.tags, **event.tags, **payer.tags},
        **{
            name: getattr(payer, name) or getattr(event, name) or getattr(otherwise, name)
            for name in ("team", "app", "feature", "user", "run")
        },
    )  # fmt: skip


def _sentence(signal: Signal, reasons: Counter[str], booked: int, notes: list[str]) -> str:
    said = [*notes]
    if reasons:
        rejected = sum(reasons.values())
        what = "spans" if signal == "traces" else "data points"
        why = "; ".join(
            f"{reason} ({count:,} times)" if count > 1 else reason for reason, count in reasons.most_common(REASONS)
        )
        more = f"; and {len(reasons) - REASONS:,} more reasons" if len(reasons) > REASONS else ""
        said.insert(0, f"{what} rejected: {rejected:,}, events booked: {booked:,}; {why}{more}")
    return ". ".join(said)


def _about_logs(document: dict[str, object]) -> str:
    """Say where usage belongs, if some is in there."""
    if any("gen_ai.usage." in name for name in _attribute_names(document)):
        return "usage in logs is not booked: send traces to /v1/traces"
    return ""


def _attribute_names(document: dict[str, object]) -> Iterator[str]:
    for resource in otlp.objects(document, "resourceLogs"):
        for scope in otlp.objects(resource, "scopeLogs"):
            for record in otlp.objects(scope, "logRecords"):
                yield from otlp.attributes(record)
