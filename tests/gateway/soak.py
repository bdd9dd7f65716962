"""Workers killed at random moments under load, again and again, and the ledger held against the provider's bill.

python -m tests.gateway.soak [--runs 50] [--first 1] [--seed 8]          (make soak)

One run: a gateway with two workers and `fsync = "always"`, 24 clients, and three times SIGKILL at a random moment: for
a worker mostly, or for the control process, which compacts meanwhile. Every call has a name that stands in the client's
notes, in the ledger (`x-penstock-run`) and on the sandbox's bill (`x-client-request-id`). Afterwards they are compared,
call by call:

- every acknowledged reply (one that ended as it should) has its event, with the cost that the reply itself said;
- no event stands there twice, `verify` finds nothing, and a compaction changes no sum;
- what was booked was billed, at the same cost to the last digit;
- what was billed and not booked is a call that the killed worker held at that moment (looked up in the system's table
  of connections while the worker stood still), and whose client got no whole answer. Each of them is named;
- the ledger's sum and those calls add up to the bill, to the last digit.
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
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from msgspec import Struct
from tests.gateway.conftest import SANDBOX, Server

from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent

CLIENTS = 24
CALLS_A_CONNECTION = 20
SLOW = "first_ms=20;token_ms=15"
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hold?"}], "max_tokens": 5}


class Acknowledged(Struct, frozen=True):
    """A reply that ended as it should."""

    request_id: str
    cost: Decimal | None
    """What the reply said that it cost; None: the head of a stream cannot say it."""


class Lost(Struct, frozen=True):
    """A call that was billed, and whose event died with its worker."""

    call: str
    cost: Decimal
    killed: str
    """Which worker held it, and when it was killed."""


class Found(Struct, kw_only=True):
    """What one run showed."""

    acknowledged: int
    booked: int
    billed: int
    kills: int
    compactors: int
    """Of them, those of the control process."""
    ledger: Decimal
    bill: Decimal
    lost: list[Lost]
    problems: list[str]

    @property
    def lost_cost(self) -> Decimal:
        """Dollars that are on the bill alone."""
        return sum((one.cost for one in self.lost), Decimal(0))


class Fire:
    """Clients at a server to which something happens; what was acknowledged, and what was under way when killed."""

    def __init__(self, server: Server, chance: random.Random, mishaps: Sequence[str] = ("", SLOW)) -> None:
        self.server, self._chance, self._mishaps = server, chance, mishaps
        self._under_way: dict[int, str] = {}
        """The call that waits for its answer, by its client's port."""
        self.acknowledged: dict[str, Acknowledged] = {}
        self.cut_off: dict[str, str] = {}
        """Calls that a worker held when it was killed: which worker, and when."""
        self.kills = self.compactors = 0
        self.over = False

    async def run(self, fault: Coroutine[None, None, None]) -> None:
        """Let clients call as long as the fault lasts, and a little longer."""
        await asyncio.gather(self._last(fault), *(self._client(number) for number in range(CLIENTS)))

    async def _last(self, fault: Coroutine[None, None, None]) -> None:
        try:
            await fault
            await asyncio.sleep(0.5)
        finally:
            self.over = True

    async def kill(self, kills: int, seconds: float) -> None:
        """Kill as many processes, after up to as many seconds each."""
        while self.kills < kills:
            await asyncio.sleep(self._chance.uniform(0.2, seconds))
            name = "control" if self._chance.random() < 0.2 else "worker-"
            if found := self.server.children(name):
                self.kills += 1
                self.compactors += name == "control"
                self._strike(self._chance.choice(found), name)

    def _strike(self, process: int, name: str) -> None:
        """Kill a process; note the calls that it held. It stands still for the look, as if the system were busy."""
        os.kill(process, signal.SIGSTOP)
        while state(process) not in "TZ":
            time.sleep(0.0005)
        for port in clients_of(process, self.server.port):
            if port in self._under_way:
                self.cut_off[self._under_way[port]] = f"{name.rstrip('-')} {process}, kill {self.kills}"
        os.kill(process, signal.SIGKILL)

    async def _client(self, number: int) -> None:
        made = 0
        while not self.over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            port = writer.get_extra_info("sockname")[1]
            try:
                for _ in range(CALLS_A_CONNECTION):
                    made += 1
                    self._under_way[port] = f"c{number}-{made}"
                    await self._call(reader, writer, port, number)
                    if self.over:
                        break
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)
            finally:
                self._under_way.pop(port, None)
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, number: int) -> None:
        """Make a plain call or a stream with what is to happen to it: each client its own kind."""
        call = self._under_way[port]
        body = json.dumps(BODY | {"stream": bool(number % 2)})
        names = f"x-penstock-run: {call}\r\nx-client-request-id: {call}\r\n"
        if mishap := self._mishaps[number // 2 % len(self._mishaps)]:
            names += f"x-sandbox: {mishap}\r\n"
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{names}content-length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        said = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in said.split("\r\n")[1:] if line)
        if "content-length" in fields:
            await reader.readexactly(int(fields["content-length"]))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        del self._under_way[port]
        if said.startswith("http/1.1 200 "):
            cost = fields.get("x-penstock-cost")
            self.acknowledged[call] = Acknowledged(fields["x-penstock-request-id"], Decimal(cost) if cost else None)


def state(process: int) -> str:
    """Return what a process is doing: T, it stands still; Z, it is dead."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def clients_of(process: int, port: int) -> set[int]:
    """Return the ports of the clients whose connections to `port` a process holds."""
    held = set()
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(str(entry.readlink()))
    found = set()
    for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        (_, here), (_, there) = words[1].split(":"), words[2].split(":")
        if int(here, 16) == port and f"socket:[{words[9]}]" in held:
            found.add(int(there, 16))
    return found


def settled_bill(server: Server) -> dict:
    """Return the sandbox's bill once it no longer grows: it finishes calls whose gateway is dead."""
    before, same, deadline = {}, 0, time.monotonic() + 60
    while same < 3:
        time.sleep(0.3)
        try:
            now = server.bill()
        except OSError:  # every worker is dead just now, and about to be started again
            if time.monotonic() > deadline:
                raise
            continue
        same, before = same + 1 if before and now["totals"] == before["totals"] else 0, now
    return before


def compare(
    events: Iterable[UsageEvent],
    bill: Iterable[Mapping[str, str]],
    acknowledged: Mapping[str, Acknowledged],
    cut_off: Mapping[str, str],
) -> tuple[list[Lost], list[str]]:
    """Compare ledger, bill and clients' notes call by call; return what only the bill knows, and all that is wrong."""
    booked: dict[str, list[UsageEvent]] = defaultdict(list)
    billed: dict[str, list[Decimal]] = defaultdict(list)
    for event in events:
        booked[event.run].append(event)
    for entry in bill:
        billed[entry["client_request_id"]].append(Decimal(entry["cost"]))
    lost, problems = [], []
    for call in sorted(booked.keys() | billed.keys() | acknowledged.keys()):
        mine, reply = booked.get(call, []), acknowledged.get(call)
        # An attempt that never reached the provider is an event too: it says so, and costs nothing.
        costs = sorted(event.cost or Decimal("NaN") for event in mine if event.cost != 0 or event.outcome != "error")
        if reply and [event.request_id for event in mine] != [reply.request_id] * max(len(mine), 1):
            problems.append(f"{call}: acknowledged as {reply.request_id}, booked as {[e.request_id for e in mine]}")
        elif reply and reply.cost is not None and sum(costs, Decimal(0)) != reply.cost:
            problems.append(f"{call}: its reply said {reply.cost}, its events {costs}")
        elif not costs and len(billed[call]) == 1 and call in cut_off and not reply:
            lost.append(Lost(call, billed[call][0], cut_off[call]))
        elif costs != sorted(billed[call]):
            held = cut_off.get(call, "no worker that was killed")
            problems.append(f"{call}: booked {costs}, billed {billed[call]}; {reply}; held by {held}")
    return lost, problems


def one_run(folder: Path, chance: random.Random, *, kills: int = 3, seconds: float = 1.2) -> Found:
    """Start a gateway, set it on fire, and look at what is left."""
    settings = f'[ledger]\nfsync = "always"\ncompact_seconds = 0.5\n{SANDBOX}'
    fire = Fire(Server(folder, settings, "--workers", "2"), chance)
    return burn(fire, fire.kill(kills, seconds))


def burn(fire: Fire, fault: Coroutine[None, None, None]) -> Found:
    """Let something happen to a server under load; stop it, and hold its ledger against the bill."""
    server = fire.server
    try:
        asyncio.run(fire.run(fault))
        bill = settled_bill(server)
    finally:
        server.stop()
    with Ledger.open(server.data) as ledger:
        events = ledger.events()
        ledger.compact()
        checked = ledger.verify()
    lost, problems = compare(events, bill["entries"], fire.acknowledged, fire.cut_off)
    problems += [f"verify: {problem.kind} {problem.place}: {problem.detail}" for problem in checked.problems]
    total = sum((event.cost for event in events if event.cost is not None), Decimal(0))
    if checked.cost != total or checked.events != len(events):
        problems.append(f"compaction changed {len(events)} events and {total} to {checked.events}, {checked.cost}")
    if len({event.id for event in events}) != len(events):
        problems.append("an event stands there twice")
    found = Found(
        acknowledged=len(fire.acknowledged), booked=len(events), billed=int(bill["totals"]["calls"]),
        kills=fire.kills, compactors=fire.compactors, ledger=total, bill=Decimal(bill["totals"]["cost"]), lost=lost,
        problems=problems,
    )  # fmt: skip
    if found.ledger + found.lost_cost != found.bill:
        problems.append(f"ledger {total} + {found.lost_cost} of calls that were killed is not the bill, {found.bill}")
    if len(lost) > CLIENTS * fire.kills:
        problems.append(f"{len(lost)} calls were lost in {fire.kills} kills: there were not as many clients")
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=50)
    options.add_argument("--first", type=int, default=1, help="number of the first run: each has chances of its own")
    options.add_argument("--seed", type=int, default=8)
    chosen = options.parse_args()
    runs = []
    for number in range(chosen.first, chosen.first + chosen.runs):
        with tempfile.TemporaryDirectory(prefix="penstock-soak-") as folder:
            runs.append(found := one_run(Path(folder), random.Random(f"{chosen.seed}-{number}")))
        say(
            f"run {number:>3}: {found.kills} kills ({found.compactors} of the compactor), "
            f"{found.acknowledged:,} acknowledged, {found.booked:,} booked, "
            f"{found.billed:,} billed; ledger ${found.ledger} + ${found.lost_cost} of {len(found.lost)} calls that "
            f"were killed = bill ${found.bill}"
        )
        for killed in sorted({one.killed for one in found.lost}):
            calls = ", ".join(f"{one.call} ${one.cost}" for one in found.lost if one.killed == killed)
            say(f"         {killed}, held {calls}")
        for problem in found.problems:
            say(f"         PROBLEM: {problem}")
    bad = sum(bool(found.problems) for found in runs)
    say(
        f"\n{len(runs)} runs, {sum(r.kills for r in runs)} kills ({sum(r.compactors for r in runs)} of the compactor), "
        f"{sum(r.acknowledged for r in runs):,} acknowledged: "
        f"{'all of them in the ledger once, at the cost that they said' if not bad else f'{bad} runs with PROBLEMS'}.\n"
        f"ledger ${sum((r.ledger for r in runs), Decimal(0))} + ${sum((r.lost_cost for r in runs), Decimal(0))} of "
        f"{sum(len(r.lost) for r in runs)} calls that were killed, each named above and answered to nobody, "
        f"= bill ${sum((r.bill for r in runs), Decimal(0))}; ledger = bill in {sum(not r.lost for r in runs)} runs."
    )
    return 1 if bad else 0


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, flush=True)  # noqa: T201  # this is its purpose


if __name__ == "__main__":
    sys.exit(main())
