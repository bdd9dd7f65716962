"""Workers killed at random moments under load, again and again, and the ledger held against the provider's bill.

python -m tests.gateway.soak [--runs 50] [--seed 8]          (make soak)

One run: a gateway with two workers and `fsync = "always"`, 24 clients, and SIGKILL for a worker at a random moment,
three times. Afterwards, of the ledger:

- every acknowledged reply (one that ended as it should) has its event, with the cost that the reply itself said;
- no event stands there twice, `verify` finds nothing, and a compaction changes no sum;
- every event was billed, and what was billed without an event is a call that was under way when its worker was
  killed: unacknowledged, and at most as many as there were clients, for each kill;
- where nothing is missing, the ledger's sum is the bill's to the last digit.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from msgspec import Struct
from tests.gateway.conftest import SANDBOX, Server

from penstock.ledger.store import Ledger

CLIENTS = 24
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hold?"}], "max_tokens": 5}


class Found(Struct, kw_only=True):
    """What one run showed."""

    acknowledged: int
    booked: int
    billed: int
    kills: int
    ledger: Decimal
    bill: Decimal
    problems: list[str]

    @property
    def in_flight(self) -> int:
        """Calls that were billed, and whose event died with their worker."""
        return self.billed - self.booked


class Fire:
    """Clients and a killer at one server; what was acknowledged, and at what cost (None: a stream did not say)."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self._server, self._chance = server, chance
        self.acknowledged: dict[str, Decimal | None] = {}
        self.kills = 0
        self.over = False

    async def run(self, kills: int, seconds: float) -> None:
        await asyncio.gather(self._kill(kills, seconds), *(self._client(number) for number in range(CLIENTS)))

    async def _kill(self, kills: int, seconds: float) -> None:
        for _ in range(kills):
            await asyncio.sleep(self._chance.uniform(0.2, seconds))
            workers = await asyncio.to_thread(self._server.workers)
            if workers:
                os.kill(self._chance.choice(workers), signal.SIGKILL)
                self.kills += 1
        await asyncio.sleep(0.5)
        self.over = True

    async def _client(self, number: int) -> None:
        body = json.dumps(BODY | {"stream": bool(number % 2)})
        while not self.over:
            if not await self._call(body):
                await asyncio.sleep(0.02)

    async def _call(self, body: str) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        except OSError:
            return False
        try:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write((head + body).encode())
            said = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            fields = dict(line.split(": ", 1) for line in said.split("\r\n")[1:] if line)
            if "content-length" in fields:
                await reader.readexactly(int(fields["content-length"]))
            else:
                await reader.readuntil(b"\r\n0\r\n\r\n")
            if " 200 " in said.split("\r\n", 1)[0] + " ":
                cost = fields.get("x-penstock-cost")
                self.acknowledged[fields["x-penstock-request-id"]] = Decimal(cost) if cost else None
                return True
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return False


def settled_bill(server: Server) -> dict:
    """Return the sandbox's bill once it no longer grows: it finishes calls whose gateway is dead."""
    before, same, deadline = {}, 0, time.monotonic() + 60
    while same < 3:
        time.sleep(0.3)
        try:
            now = server.bill()["totals"]
        except OSError:  # every worker is dead just now, and about to be started again
            if time.monotonic() > deadline:
                raise
            continue
        same, before = same + 1 if now == before else 0, now
    return before


def one_run(folder: Path, chance: random.Random, *, kills: int = 3, seconds: float = 1.2) -> Found:
    """Start a gateway, set it on fire, and look at what is left."""
    settings = f'[ledger]\nfsync = "always"\ncompact_seconds = 0.5\n{SANDBOX}'
    server = Server(folder, settings, "--workers", "2")
    try:
        fire = Fire(server, chance)
        asyncio.run(fire.run(kills, seconds))
        bill = settled_bill(server)
    finally:
        server.stop()
    problems = []
    with Ledger.open(server.data) as ledger:
        events = ledger.events()
        ledger.compact()
        checked = ledger.verify()
        problems += [f"verify: {problem.kind} {problem.place}: {problem.detail}" for problem in checked.problems]
        costs = {event.request_id: event.cost for event in events}
        total = sum((event.cost for event in events if event.cost is not None), Decimal(0))
        if checked.cost != total or checked.events != len(events):
            problems.append(f"compaction changed {len(events)} events and {total} to {checked.events}, {checked.cost}")
    if len({event.id for event in events}) != len(events) or len(costs) != len(events):
        problems.append("an event stands there twice")
    if lost := fire.acknowledged.keys() - costs.keys():
        problems.append(f"{len(lost)} acknowledged replies have no event: {sorted(lost)[:3]}")
    other = [name for name, cost in fire.acknowledged.items() if cost is not None and costs.get(name, cost) != cost]
    if other:
        problems.append(f"{len(other)} events cost another amount than their reply said: {other[:3]}")
    found = Found(
        acknowledged=len(fire.acknowledged), booked=len(events), billed=int(bill["calls"]), kills=fire.kills,
        ledger=total, bill=Decimal(bill["cost"]), problems=problems,
    )  # fmt: skip
    if not 0 <= found.in_flight <= CLIENTS * fire.kills:
        problems.append(f"{found.billed} calls were billed, {found.booked} booked: not explained by calls in flight")
    if (found.ledger != found.bill) != bool(found.in_flight) or found.ledger > found.bill:
        problems.append(f"the ledger says {found.ledger}, the bill {found.bill}, {found.in_flight} calls in flight")
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=50)
    options.add_argument("--seed", type=int, default=8)
    chosen = options.parse_args()
    chance = random.Random(chosen.seed)
    runs = []
    for number in range(1, chosen.runs + 1):
        with tempfile.TemporaryDirectory(prefix="penstock-soak-") as folder:
            runs.append(found := one_run(Path(folder), chance))
        say(
            f"run {number:>3}: {found.kills} kills, {found.acknowledged:,} acknowledged, {found.booked:,} booked, "
            f"{found.billed:,} billed, {found.in_flight} in flight when killed; "
            f"ledger ${found.ledger}, bill ${found.bill}"
        )
        for problem in found.problems:
            say(f"         PROBLEM: {problem}")
    bad = sum(bool(found.problems) for found in runs)
    exact = sum(found.ledger == found.bill for found in runs)
    say(
        f"\n{len(runs)} runs, {sum(r.kills for r in runs)} kills, {sum(r.acknowledged for r in runs):,} acknowledged: "
        f"{'all of them in the ledger once, at the cost that they said' if not bad else f'{bad} runs with PROBLEMS'}; "
        f"ledger = bill in {exact} runs, in the others short of {sum(r.in_flight for r in runs)} unacknowledged calls."
    )
    return 1 if bad else 0


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, flush=True)  # noqa: T201  # this is its purpose


if __name__ == "__main__":
    sys.exit(main())
