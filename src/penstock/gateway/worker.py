"""One worker process: a loop, the socket that it inherited, and a clean end."""

import asyncio
import gc
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from penstock.gateway.booking import Booking
from penstock.gateway.gateway import Gateway
from penstock.gateway.listening import BACKLOG, InboundTls
from penstock.gateway.providers import Destination
from penstock.gateway.server import Crowd, Inbound, ServerLimits

SWEEP_SECONDS = 0.25
LAST_SECONDS = 3.0
"""For booking the calls that had to be cut off."""


class Condition(Struct, frozen=True, kw_only=True):
    """How a worker is, told once a second for the metrics."""

    at: float
    """Unix time."""
    connections: int
    """Of clients."""
    calls: int
    """Under way."""
    waiting: int
    """Events that wait for the disk."""
    waiting_seconds: float
    """How long the oldest of them has waited."""
    writable: bool
    """Whether the ledger's log can be written."""
    refused: dict[str, int]
    """Answers that refused, by code, since the worker began."""


class Door(Struct, frozen=True):
    """Where a worker listens, and how long it takes leave."""

    listening: Sequence[socket.socket]
    limits: ServerLimits
    tls: InboundTls | None
    drain_seconds: float
    ready: Path
    """A file that is made when the door is open."""
    condition: Path
    """A file that says how the worker is."""


async def serve(
    door: Door,
    destinations: Sequence[Destination],
    booking: Booking,
    build: Callable[[asyncio.AbstractEventLoop], Gateway],
) -> None:
    """Serve until told to stop; then end what is under way, and write what is booked."""
    loop = asyncio.get_running_loop()
    _open_many_files()
    gateway = build(loop)
    crowd = Crowd(gateway.handle, loop, door.limits)
    connections = crowd.connections
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    context = door.tls.context() if door.tls else None
    servers = [await _listen(loop, one, crowd, context) for one in door.listening]
    # What is loaded now stays: the collector need not look at it again, and rarely at what calls leave.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sweeper = loop.create_task(
        _sweep(connections, destinations, booking, partial(_tell, door, connections, gateway, booking))
    )
    door.ready.touch()
    await stop.wait()
    gateway.take_leave()
    # A connection whose TLS handshake is under way is not among `connections` yet, but the servers know of it.
    gone = asyncio.gather(*(server.wait_closed() for server in servers))
    await asyncio.sleep(0)
    for server in servers:
        server.close()
    deadline = loop.time() + door.drain_seconds
    while not gone.done() and loop.time() < deadline:
        for inbound in list(connections):
            inbound.take_leave(loop.time())
        await asyncio.sleep(0.02)
    while gateway.calls and loop.time() < deadline:
        await asyncio.sleep(0.02)
    sweeper.cancel()
    gateway.stopping = True
    for destination in destinations:
        destination.origin.close()
    deadline = loop.time() + LAST_SECONDS
    while gateway.calls and loop.time() < deadline:  # what was cut off is booked as it stands
        await asyncio.sleep(0.02)
    for inbound in list(connections):
        inbound.break_off()
    booking.close()


async def _listen(
    loop: asyncio.AbstractEventLoop, listening: socket.socket, crowd: Crowd, context: ssl.SSLContext | None
) -> asyncio.Server:
    timeout = crowd.limits.request_timeout if context else None

    def build() -> Inbound:
        return Inbound(crowd)

    if listening.family != socket.AF_UNIX:
        return await loop.create_server(
            build, sock=listening, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=timeout
        )
    # The path is the parent's: a worker that leaves must not take it away from the next one.
    options: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    return await loop.create_unix_server(
        build, sock=listening, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=timeout, **options
    )


async def _sweep(
    connections: set[Inbound], destinations: Sequence[Destination], booking: Booking, tell: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    turns = 0
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        for inbound in list(connections):
            inbound.sweep(now)
        for destination in destinations:
            destination.origin.sweep(now)
        turns += 1
        if turns % 4 == 0:
            booking.sweep()
            tell()


def _tell(door: Door, connections: set[Inbound], gateway: Gateway, booking: Booking) -> None:
    """Say how the worker is. It is only for the metrics: a folder that is full or gone must not end anything."""
    condition = Condition(
        at=time.time(), connections=len(connections), calls=gateway.calls, waiting=booking.waiting,
        waiting_seconds=booking.waiting_seconds, writable=booking.error is None, refused=gateway.refused,
    )  # fmt: skip
    part = door.condition.with_suffix(".part")
    with suppress(OSError):
        part.write_bytes(msgspec.json.encode(condition))
        part.replace(door.condition)


def _open_many_files() -> None:
    """Ask the system for as many connections as it allows: its usual limit is a thousand."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
