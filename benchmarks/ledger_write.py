"""What writing costs: events a second on one core, by how soon they must be on the disk.

python -m benchmarks.ledger_write [--events 100000]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from penstock.ledger.log import LogWriter
from penstock.metering.event import UsageEvent, new_id
from penstock.pricing.usage import Usage

START = datetime(2026, 3, 1, tzinfo=UTC)
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gpt-4.1", "o4-mini")


def sample(n: int, *, days: int = 1, count: int = 1) -> UsageEvent:
    """An event as the gateway books it: about thirty of its fields are filled."""
    name = new_id()
    return UsageEvent(
        id=name, request_id=name, at=START + timedelta(seconds=n * 86_400 * days / count),
        recorded_at=START + timedelta(seconds=n * 86_400 * days / count + 2), provider="azure", deployment="chat-eu",
        model=MODELS[n % 5], version="2024-08-06", requested_model=MODELS[n % 5], deployment_type="data_zone",
        region="eu", endpoint="chat", finish_reason="stop", stream=n % 2 == 0, duration_us=1_200_000 + n % 800_000,
        first_token_us=310_000 + n % 100_000, tool_calls=n % 3,
        usage=Usage(input=900 + n % 700, cache_read=1024 * (n % 3), output=120 + n % 300, reasoning=n % 64),
        price_state="priced", cost=Decimal("0.00000025") * (9000 + n % 7919), price_book="azure@2026-11-23",
        price_row="azure/gpt-4o@2024-08-06/data_zone:eu/standard@2025-04-01", price_hash="92a08086dcc30138",
        key=f"key-{n % 40}", team=f"team-{n % 23}", app=f"app-{n % 7}", feature="answers", user=f"user-{n % 5000}",
        tags={"product": f"p{n % 9}"}, decision="chat-eu#1",
    )  # fmt: skip


def measure(work: Callable[[LogWriter], None], events: int) -> tuple[float, float, float]:
    """Run once; return seconds of CPU and of time for an event, and bytes on the disk for an event."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("PENSTOCK_BENCH_DIR")) as folder:
        writer = LogWriter(Path(folder), "bench")
        cpu, wall = time.process_time(), time.perf_counter()
        work(writer)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        writer.close()
        size = sum(path.stat().st_size for path in Path(folder).glob("log/*.log"))
    return cpu / events, wall / events, size / events


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=100_000)
    count = options.parse_args().events
    events = [sample(n) for n in range(count)]

    def policy(batch: int, sync_every: int) -> Callable[[LogWriter], None]:
        def work(writer: LogWriter) -> None:
            for number, start in enumerate(range(0, count, batch)):
                for event in events[start : start + batch]:
                    writer.append(event)
                writer.write()
                if sync_every and number % sync_every == 0:
                    writer.sync()

        return work

    def append_only(writer: LogWriter) -> None:
        for event in events:
            writer.append(event)
            if writer.pending > 8 << 20:
                writer._buffer.clear()  # noqa: SLF001  # to measure the encoding alone

    print(f"{count:,} events, best of 3, one process\n")
    print(f"{'policy':<44}{'us CPU/event':>14}{'events/s':>12}{'B/event':>9}")
    for name, work in (
        ("append alone (encode, checksum)", append_only),
        ("never: write each 256", policy(256, 0)),
        ("interval: write each 256, sync each 16,384", policy(256, 64)),
        ("always: sync each 256 (busy worker)", policy(256, 1)),
        ("always: sync each 16", policy(16, 1)),
    ):
        found = [measure(work, count) for _ in range(3)]
        cpu, wall = min(row[0] for row in found), min(row[1] for row in found)
        print(f"{name:<44}{cpu * 1e6:>14.2f}{1 / wall:>12,.0f}{found[0][2]:>9.0f}")


if __name__ == "__main__":
    main()
