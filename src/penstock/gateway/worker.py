"""One worker process: a loop, a listening socket shared by the system with its siblings, and a clean end."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Sequence

from msgspec import Struct

from penstock.gateway.booking import Booking
from penstock.gateway.gateway import Gateway
from penstock.gateway.outbox import Outbox
from penstock.gateway.providers import Destination
from penstock.gateway.server import Inbound, SeenHeads, ServerLimits

SWEEP_SECONDS = 0.25
LAST_SECONDS = 3.0
"""For booking the calls that had to be cut off."""


class Door(Struct, frozen=True):
    """Where a worker listens, and how long it takes leave."""

    host: str
    port: int
    limits: ServerLimits
    drain_seconds: float


def listening_socket(host: str, port: int, *, shared: bool = True) -> socket.socket:
    """Open the port; `shared` lets the workers of one server listen side by side."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared and hasattr(socket, "SO_REUSEPORT"):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        opened.bind((host, port))
    except OSError:
        opened.close()
        raise
    return opened


async def serve(
    door: Door,
    destinations: Sequence[Destination],
    booking: Booking,
    build: Callable[[asyncio.AbstractEventLoop], Gateway],
) -> None:
    """Serve until told to stop; then end what is under way, and write what is booked."""
    loop = asyncio.get_running_loop()
    gateway = build(loop)
    connections: set[Inbound] = set()
    seen = SeenHeads()
    outbox = Outbox(loop)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(
        lambda: Inbound(gateway.handle, connections, loop, limits=door.limits, seen=seen, outbox=outbox),
        sock=listening_socket(door.host, door.port),
        backlog=1024,
    )
    # What is loaded now stays: the collector need not look at it again, and rarely at what calls leave.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sweeper = loop.create_task(_sweep(connections, destinations, booking))
    await stop.wait()
    server.close()
    deadline = loop.time() + door.drain_seconds
    while connections and loop.time() < deadline:
        for inbound in list(connections):
            inbound.close_when_idle()
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


async def _sweep(connections: set[Inbound], destinations: Sequence[Destination], booking: Booking) -> None:
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
