"""What holding a call to its budgets costs: `python -m benchmarks.reservation`.

CPU of this process for one call (worked out, reserved, settled) under five budgets and two limits, with the counters in
the process and in Redis (a `redis-server` of its own on a loopback port), beside a call where nothing is configured.
"""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from cyclopts import App

from benchmarks.results import grid
from penstock.metering.attribution import Attribution
from penstock.metering.event import UsageEvent, new_id
from penstock.metering.request import read_request
from penstock.policies.budgets.counters import Counters
from penstock.policies.budgets.embedded import EmbeddedCounters
from penstock.policies.budgets.policy import Budgets
from penstock.policies.budgets.rules import Budget, BudgetSettings, Limit, Rules
from penstock.policies.budgets.shared import RedisCounters, connect
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Deployment, Provider, target_of
from penstock.pricing.books import default_catalog

app = App(name="python -m benchmarks.reservation")

BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"%s"}],"max_tokens":50}' % (b"hello " * 100)
MUCH = Decimal(10**9)
RULES = Rules(
    budgets=tuple(
        Budget(dollars=MUCH, scope=scope, per=per)
        for scope, per in (
            ("everything", "month"), ("team=support", "month"), ("user=*", "day"), ("key=*", "day"),
            ("model=gpt-4o-mini", "week"),
        )
    ),
    limits=(Limit(scope="key=*", requests_per_minute=100_000_000, tokens_per_minute=100_000_000),),
)  # fmt: skip
PROVIDER = Provider(name="p", base_url="http://localhost")
TARGET = target_of(Deployment(name="d", provider="p", model="gpt-4o-mini"), PROVIDER, declared=True)
HEAD = read_request("openai.chat", BODY)
WHO = Attribution(team="support", user="ada", key="k1")


def call() -> Call:
    """Make a call as the gateway does."""
    return Call(
        new_id(), datetime.now(UTC), "openai.chat", HEAD, BODY, WHO, (TARGET,), 0, "gpt-4o-mini", [], [],
    )  # fmt: skip


async def answer(call: Call) -> Reply:
    """Book what a call cost."""
    call.events.append(
        UsageEvent(
            id=call.request_id, request_id=call.request_id, at=call.at, recorded_at=call.at, provider="openai",
            model="gpt-4o-mini", price_state="priced", cost=Decimal("0.0000375"), team="support", user="ada", key="k1",
        )
    )  # fmt: skip
    return Reply(200, b"", b"", call.events)


async def measured(counters: Counters, rules: Rules, *, calls: int, at_once: int) -> tuple[float, float]:
    """Return microseconds of CPU, and of time, for one call."""
    policy = Budgets(default_catalog().load(), counters, BudgetSettings(), rules)
    if not rules.limits:
        policy = Budgets(default_catalog().load(), EmbeddedCounters(), BudgetSettings())
    await counters.begin_fill(0)
    await counters.end_fill(0, {})

    async def some(count: int) -> None:
        for _ in range(count):
            await policy(call(), proceed=answer)

    await some(100)
    cpu, clock = time.process_time(), time.perf_counter()
    await asyncio.gather(*(some(calls // at_once) for _ in range(at_once)))
    return (time.process_time() - cpu) / calls * 1e6, (time.perf_counter() - clock) / calls * 1e6


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """Start a Redis on a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


@app.default
def main(*, calls: int = 10_000) -> None:
    """Measure, and print a table. Ratios are of CPU, to a call where nothing is configured."""
    rows: list[tuple[str, float, float]] = []

    async def run(name: str, counters: Counters, rules: Rules, count: int, at_once: int) -> None:
        rows.append((name, *await measured(counters, rules, calls=count, at_once=at_once)))

    asyncio.run(run("nothing configured", EmbeddedCounters(), Rules(), calls, 1))
    asyncio.run(run("in the process", EmbeddedCounters(), RULES, calls, 1))
    if shutil.which("redis-server"):
        with redis_server() as url:
            for at_once in (1, 50):

                async def shared(at_once: int = at_once) -> None:
                    counters = RedisCounters(connect(url, 10), ledger="bench", prefix=f"bench{at_once}")
                    await run(f"in Redis, {at_once} at once", counters, RULES, calls // 4, at_once)
                    await counters.close()

                asyncio.run(shared())
    base = rows[0][1]
    print(
        grid(
            ("counters", "CPU us a call", "time us a call", "CPU, times nothing configured"),
            [(name, f"{cpu:.1f}", f"{clock:.1f}", f"{cpu / base:.1f}") for name, cpu, clock in rows],
        )
    )


if __name__ == "__main__":
    app()
