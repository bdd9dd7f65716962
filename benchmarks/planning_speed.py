"""How long the calculators take: `python -m benchmarks.planning_speed [TRACE.csv.gz]`."""

import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random

from penstock.cli.plan_demand import minutes_of_trace
from penstock.planning.agents import Agent, Agents, agents
from penstock.planning.demand import Minute, Mix, best_ptus, bill, loads
from penstock.planning.month import Month, month
from penstock.planning.prices import Prices
from penstock.planning.ptu import Ptu, ptu
from penstock.pricing.books import default_catalog
from penstock.pricing.capacity import shipped_capacity

ROUNDS = 5


def timed(what: str, task: Callable[[], object]) -> None:
    """Print the median of five runs in milliseconds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    print(f"{what:60} {statistics.median(seconds) * 1000:9.1f} ms")


def month_of_minutes() -> tuple[Minute, ...]:
    """Make up a month of office hours, 43,800 minutes: busy days, quiet nights, noise."""
    draw = Random(1)
    base = [5 if minute // 60 % 24 in range(8, 18) else 1 for minute in range(43_800)]
    return tuple(Minute(int(100_000 * load * draw.lognormvariate(0, 0.3)), 20_000 * load) for load in base)


def main() -> None:
    """Time each calculator that works hard."""
    prices, capacity = Prices(default_catalog(), datetime.now(UTC)), shipped_capacity()
    chatbot = Month(model="gpt-4o-mini", requests_per_day=10_000, input_tokens=500, output_tokens=300)
    timed("month, all models side by side", lambda: month(chatbot, prices))
    loop = Agent(
        name="a", model="gpt-4o-mini", loop_tokens=2000, iterations=Decimal(5), iterations_p95=Decimal(15),
        growth_tokens=800, loop_output_tokens=150,
    )  # fmt: skip
    chain = tuple(Agent(**{**{f: getattr(loop, f) for f in loop.__dataclass_fields__}, "name": n}) for n in "abc")
    timed("agents, 10,000 runs of three agents", lambda: agents(Agents(agents=chain), prices))
    minutes = month_of_minutes()
    row = prices.row("gpt-4o")
    demand = loads(minutes, Mix(capacity.models["gpt-4o"], row, row.rates["input"]))
    yearly = capacity.rate("global").year
    assert yearly is not None
    timed("best PTUs for a month of 43,800 minutes, by quantile", lambda: best_ptus(demand, yearly / 12, 15, 5))
    top = int(max(load.ptus for load in demand)) + 5
    start = time.perf_counter()
    best = min((0, *range(15, top, 5)), key=lambda ptus: bill(demand, ptus, yearly / 12))
    print(f"{'the same by trying every number':60} {(time.perf_counter() - start) * 1000:9.1f} ms")
    assert best == best_ptus(demand, yearly / 12, 15, 5)
    timed("plan ptu on that month, all terms", lambda: ptu(Ptu(model="gpt-4o"), prices, capacity, minutes))
    if len(sys.argv) > 1:
        trace = Path(sys.argv[1])
        timed(f"reading {trace.name}", lambda: minutes_of_trace(trace))


if __name__ == "__main__":
    main()
