"""What each step of a call costs, one after the other in one process: `python -m benchmarks.steps`.

No sockets, no loop, nothing beside it: the figures are steadier than those of a whole run, and say what a change to one
step has brought. They leave out what only a whole run shows: the kernel, the event loop, the walk from step to step.
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httptools
from cyclopts import App, Parameter

from benchmarks.candidates import CACHED_PRICE, INPUT_PRICE, OUTPUT_PRICE, Candidate
from benchmarks.replies import MODEL, REPLIES, STREAM_CHUNKS, request_body
from benchmarks.results import grid, number
from benchmarks.wire.ends import http_request
from penstock.gateway.heads import SeenHeads, read_head
from penstock.gateway.providers import Destination
from penstock.gateway.shortcuts import body_between, see_reply
from penstock.ledger.log import LogWriter
from penstock.metering.attribution import attribute
from penstock.metering.event import UsageEvent, new_id
from penstock.metering.meter import Attempt, Meter, Served
from penstock.metering.readers import read_body, stream_reader
from penstock.metering.request import RequestHead, read_request
from penstock.policies.deployments import Provider
from penstock.pricing.book import PriceKey
from penstock.pricing.books import default_catalog
from penstock.pricing.catalog import Catalog
from penstock.pricing.own import parse_own_prices

TURN_SECONDS = 0.05
"""How long a step is repeated for one reading."""

app = App(name="python -m benchmarks.steps")


@dataclass(frozen=True)
class Step:
    """One step; `work` does it once for `units` requests or chunks."""

    name: str
    work: Callable[[], object]
    units: int = 1
    after: Callable[[], object] | None = None
    """Tidies up behind each reading, uncounted."""


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def prices() -> Catalog:
    """Return the catalog that the gateway under test has: its own price first."""
    row = {
        "provider": "openai", "model": MODEL, "input": str(INPUT_PRICE), "cache_read": str(CACHED_PRICE),
        "output": str(OUTPUT_PRICE),
    }  # fmt: skip
    return default_catalog(own_rows=parse_own_prices((row,))).load()


@contextmanager
def steps() -> Iterator[tuple[list[Step], list[Step]]]:
    """Make the steps of a request, and those of a stream, with what they work on."""
    reply = REPLIES[0]
    body = request_body(stream=False)
    sent = http_request(8080, Candidate.path, body, {"authorization": "Bearer sk", "x-penstock-team": "search"})
    answer = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\nopenai-processing-ms: 1\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(reply.plain), reply.plain)
    )
    now = datetime.now(UTC)
    catalog = prices()
    reading, who = read_body("openai.chat", reply.plain), attribute({"x-penstock-team": "search"}, _head(body))
    served = Served("openai", "bench", MODEL, False, "global", "")
    attempt = Attempt(
        new_id(), 1, "call", now, "chat", MODEL, False, "bench#1", recorded_at=now, duration_us=900, first_token_us=800
    )
    meter = Meter(catalog)
    event = meter.event(served, attempt, reading, who)
    model, version = catalog.identify("openai", MODEL)
    key = PriceKey(
        provider="openai", model=model, version=version, deployment_type="global", region="", mode="standard"
    )
    first = sent[: sent.find(b"\r\n\r\n") + 4]
    head = read_head(first)
    seen = SeenHeads()
    seen.add(first, head)
    known, seen_reply = seen.find(sent), see_reply(answer)
    assert known is not None
    assert seen_reply is not None
    loop = asyncio.new_event_loop()
    destination = Destination(Provider(name="bench", base_url="http://127.0.0.1:1/v1"), loop, {})
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in reply.asked)
    streamed = b"".join(reply.asked)

    def read_stream(pieces: int) -> object:
        reader = stream_reader("openai.chat")
        size = -(-len(streamed) // pieces)
        for start in range(0, len(streamed), size):
            reader.feed(streamed[start : start + size])
        reader.close()
        return reader.reading()

    with tempfile.TemporaryDirectory() as folder:
        writer = LogWriter(Path(folder), "steps")
        try:
            yield (
                [
                    Step("read the head of a client", lambda: read_head(first)),
                    Step(
                        "find the head of a client that is known",
                        lambda: body_between(sent, known.before, known.behind),
                    ),
                    Step("read the request's body", lambda: read_request("openai.chat", body)),
                    Step("say who pays, from headers and body", lambda: attribute(dict(head.headers), _head(body))),
                    Step("make an id", new_id),
                    Step(
                        "build the provider's request",
                        lambda: destination.request(head, "POST", "/v1/chat/completions", body),
                    ),
                    Step("read the provider's reply: HTTP", lambda: see_reply(answer)),
                    Step(
                        "read it again: the head is known",
                        lambda: body_between(answer, seen_reply.before, seen_reply.behind),
                    ),
                    Step("read the provider's reply: usage", lambda: read_body("openai.chat", reply.plain)),
                    Step("price the usage", lambda: catalog.price(key, reading.usage, now)),
                    Step("meter: price, make the event", lambda: meter.event(served, attempt, reading, who)),
                    Step("encode the event into the log's buffer", lambda: writer.append(event), after=writer.write),
                    Step("bring 256 events to the system", lambda: _write(writer, event), units=256),
                ],
                [
                    Step("take a read out of its HTTP chunks", lambda: _chunks(framed), units=STREAM_CHUNKS),
                    Step("keep and read a stream: all in one read", lambda: read_stream(1), units=STREAM_CHUNKS),
                    Step("keep and read a stream: a chunk a read", lambda: read_stream(100), units=STREAM_CHUNKS),
                ],
            )
        finally:
            writer.close()
            loop.close()


def _head(body: bytes) -> RequestHead:
    return read_request("openai.chat", body)


class Pieces:
    """A connection to a provider, as far as chunks go."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append


def _chunks(framed: bytes) -> bytes:
    taken = Pieces()
    httptools.HttpResponseParser(taken).feed_data(CHUNKED + framed)
    return b"".join(taken.pieces)


def _write(writer: LogWriter, event: UsageEvent) -> None:
    for _ in range(256):
        writer.append(event)
    writer.write()


def cost(step: Step, readings: int) -> tuple[float, float]:
    """Return microseconds of CPU for one unit: the least of all readings, and the middle one."""
    step.work()
    once = time.process_time()
    step.work()
    turns = max(1, int(TURN_SECONDS / max(time.process_time() - once, 1e-6)))
    found = []
    for _ in range(readings):
        begun = time.process_time()
        for _ in range(turns):
            step.work()
        found.append((time.process_time() - begun) * 1e6 / turns / step.units)
        if step.after:
            step.after()
    found.sort()
    return found[0], found[len(found) // 2]


@app.default
def show(
    *,
    readings: Annotated[int, Parameter(help="How often each step is measured; the least counts.")] = 15,
    only: Annotated[str, Parameter(help="Only steps with this in their name.")] = "",
) -> int:
    """Print what each step of a call costs: microseconds of CPU, the least of all readings and the middle one.

    python -m benchmarks.steps
    python -m benchmarks.steps --only usage --readings 50
    """
    print(render(readings, only))
    return 0


def render(readings: int, only: str = "") -> str:
    """Measure, and return the tables."""
    parts = []
    with steps() as both:
        gc.collect()
        gc.freeze()
        for title, rows in zip(("step of a request", "step of a stream, by chunk"), both, strict=True):
            lines = [[row.name, *map(number, cost(row, readings))] for row in rows if only in row.name]
            if lines:
                parts.append(grid((title, "us, least", "us, middle"), lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(app())
