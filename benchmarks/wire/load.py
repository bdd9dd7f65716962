"""The load client where there is no C compiler: the same keys, checks and answer as `load.c`, slower."""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import httptools
import uvloop

from benchmarks.replies import FIRST_SEED, REPLIES, SEEDS

COMMENT = re.compile(rb"(?:(?<=\n\n)|\A):[^\n]*\n\n?")
PATIENCE_SECONDS = 60.0


class Load:
    """One run: what to send, what must come back, what was seen."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.port, self.connections = int(keys["port"]), int(keys["connections"])
        self.seconds, self.rate = float(keys["seconds"]), float(keys["rate"])
        self.stream, self.by_marker = keys["stream"] == "1", keys["check"] == "marker"
        request = Path(keys["request"]).read_bytes()
        self.before, _, rest = request.partition(b'"seed":')
        self.after = rest[3:]
        self.expected = [reply.body(stream=self.stream, usage=keys["usage"] == "1") for reply in REPLIES]
        self.count = self.errors = self.wrong = self.reconnects = self.body_bytes = self.late = 0
        self.trouble = ""
        self.latencies: list[int] = []
        self.firsts: list[int] = []

    def complain(self, what: str, said: bytes) -> None:
        self.trouble = self.trouble or f"{what}: {said[:300]!r}"

    def is_right(self, seed: int, body: bytes) -> bool:
        """Compare a reply's body with what must come; comments between events are let through."""
        if self.by_marker:
            return REPLIES[seed].marker.encode() in body and (not self.stream or b"[DONE]" in body)
        if self.stream:
            body = COMMENT.sub(b"", body)
            return body.startswith(self.expected[seed])
        return body == self.expected[seed]


class Connection(asyncio.Protocol):
    """One connection; answers one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.parser = httptools.HttpResponseParser(self)

    def begin(self, due: float) -> "asyncio.Future[None]":
        load = self.load
        self.seed, self.due, self.first, self.body = load.count % SEEDS, due, 0.0, []
        load.count += 1
        self.transport.write(b'%b"seed":%03d%b' % (load.before, FIRST_SEED + self.seed, load.after))
        self.answered = asyncio.get_running_loop().create_future()
        return self.answered

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.load.errors += 1
            self.load.complain("not HTTP", str(error).encode())
            self.transport.close()

    def on_body(self, data: bytes) -> None:
        self.first = self.first or time.monotonic()
        self.body.append(data)

    def on_message_complete(self) -> None:
        load, body, now = self.load, b"".join(self.body), time.monotonic()
        load.body_bytes += len(body)
        if self.parser.get_status_code() != 200:
            load.errors += 1
            load.complain("status", body)
        elif not load.is_right(self.seed, body):
            load.wrong += 1
            load.complain("wrong reply", body)
        else:
            load.latencies.append(int((now - self.due) * 1e6))
            load.firsts.append(int((self.first - self.due) * 1e6))
        if not self.parser.should_keep_alive():
            self.transport.close()
        self._settle()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.load.errors += 1
            self.load.complain("connection lost", b"".join(self.body))
            self._settle()

    def _settle(self) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(None)


async def _dial(load: Load) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(load), "127.0.0.1", load.port)
    return connection


async def _one_client(load: Load, connection: Connection, until: float) -> None:
    while time.monotonic() < until and load.errors + load.wrong < 1000:
        if connection.transport.is_closing():
            load.reconnects += 1
            connection = await _dial(load)
        await connection.begin(time.monotonic())


async def _open_loop(load: Load, connections: list[Connection], started: float, until: float) -> None:
    due, free = started, list(connections)
    while due < until:
        await asyncio.sleep(due - time.monotonic())
        if not free:
            load.late += 1
            await asyncio.sleep(0.0001)
            continue
        connection = free.pop()
        if connection.transport.is_closing():
            load.reconnects += 1
            connection = await _dial(load)
        connection.begin(due).add_done_callback(lambda _, back=connection: free.append(back))
        due += 1 / load.rate
    while len(free) < len(connections):
        await asyncio.sleep(0.001)


async def main(keys: dict[str, str]) -> None:
    """Run, and print one JSON object."""
    load = Load(keys)
    connections = [await _dial(load) for _ in range(load.connections)]
    started = time.monotonic()
    until = started + load.seconds
    try:
        async with asyncio.timeout(load.seconds + PATIENCE_SECONDS):
            if load.rate:
                await _open_loop(load, connections, started, until)
            else:
                await asyncio.gather(*(_one_client(load, connection, until) for connection in connections))
    except TimeoutError:
        load.errors += 1
        load.complain("replies never ended", b"")
    seen: dict[str, Any] = {
        "done": len(load.latencies), "errors": load.errors, "wrong": load.wrong, "reconnects": load.reconnects,
        "body_bytes": load.body_bytes, "late": load.late, "seconds": time.monotonic() - started,
    }  # fmt: skip
    for name, values in (("latency", sorted(load.latencies)), ("first_byte", sorted(load.firsts))):
        for percent in (50, 90, 99):
            at = int(percent / 100 * (len(values) - 1) + 0.5)
            seen[f"{name}_p{percent}_us"] = values[at] if values else 0
    print(json.dumps({**seen, "trouble": load.trouble}))


if __name__ == "__main__":
    uvloop.run(main(dict(argument.split("=", 1) for argument in sys.argv[1:])))
