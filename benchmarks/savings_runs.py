"""End to end, with a provider of known quality and cost: `python -m benchmarks.savings_runs`.

Each run is a key of its own in one real ledger: conversations are drawn into arms by the holdout policy, every attempt
is metered and priced by the books, shadow pairs are sampled by the policy and judged, and after each part of the time
the guard looks. In a fifth of the runs the cheap model silently becomes worse at half-time. Printed: how often the
interval held the true saving (at the end, and at every look), whether the ledger's attempts add up to the reported net
saving to the last digit, and how soon the worse model was taken back.
"""

import tempfile
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random

from cyclopts import App
from msgspec import Struct

from benchmarks.results import grid
from penstock.analytics.savings import Saving, Terms, dollars
from penstock.analytics.savings_book import savings_of
from penstock.ledger.levers import LeverWatch
from penstock.ledger.outcomes import Outcomes, Pair
from penstock.ledger.store import Ledger
from penstock.metering.attribution import Attribution
from penstock.metering.event import Purpose, UsageEvent
from penstock.metering.meter import Attempt, Meter, Served
from penstock.metering.reading import Reading
from penstock.optimization.guard import guard
from penstock.policies.holdout import assign
from penstock.policies.proof import sampled
from penstock.pricing.books import default_catalog
from penstock.pricing.usage import Usage

app = App(name="python -m benchmarks.savings_runs")

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
LOOKS = 6
CALLS = (1, 1, 1, 2, 2, 3, 6)
"""Calls of a conversation, each as likely as the others; so are tokens."""
INPUTS = (200, 400, 400, 800, 1_500, 6_000)
OUTPUTS = (50, 100, 150, 300, 1_200)
FALLBACKS = 0.05
"""Share of cheap answers that fail a check, so that the strong model answers too."""
CLASSIFIER, JUDGE = Usage(input=300, output=5), Usage(input=1_200, output=10)
HOLDOUT, SHADOW = Decimal("0.25"), 0.25
MARGIN = 0.05
DIFFER, WORSE = 0.1, 0.3
"""Share of pairs in which an answer is better: as often one as the other; then the baseline's by that much more."""
STRONG, CHEAP, SMALL = (
    Served("openai", name, name, True, "global", "") for name in ("gpt-4o", "gpt-4o-mini", "gpt-4.1-nano")
)


class Run(Struct):
    """One key, and what is known of it."""

    key: str
    worsens: bool
    total: Decimal = Decimal(0)
    sums: dict[str, Decimal] = {}
    units: dict[str, int] = {}
    taken_back: int = 0
    """The look at which the guard took the lever back."""
    wrong_looks: int = 0
    pairs: int = 0


class World:
    """The provider, and the traffic."""

    def __init__(self, runs: int, units: int, seed: int) -> None:
        self.draw = Random(seed)
        self.meter = Meter(default_catalog().load())
        self.runs = {f"run-{n}": Run(key=f"run-{n}", worsens=n % 5 == 0) for n in range(runs)}
        self.units = units
        self.number = 0

    def part(self, look: int, off: LeverWatch) -> tuple[list[UsageEvent], list[Pair]]:
        """Make the traffic of one part of the time; keys that were taken back have none that a lever decides about."""
        events: list[UsageEvent] = []
        pairs: list[Pair] = []
        for run in self.runs.values():
            if off.is_off("routing", run.key):
                continue
            for number in range(self.units // LOOKS):
                self.conversation(run, f"{run.key}/{look}/{number}", look, events, pairs)
        return events, pairs

    def conversation(self, run: Run, name: str, look: int, events: list[UsageEvent], pairs: list[Pair]) -> None:
        """Make one conversation."""
        arm, probability = assign(name, "routing", HOLDOUT, "bench")
        run.units[arm] = run.units.get(arm, 0) + 1
        tags = {"penstock.lever": "routing", "penstock.key": run.key, "penstock.arm": arm,
                "penstock.propensity": f"{probability:f}", "penstock.baseline": "gpt-4o"}  # fmt: skip
        who, beside = Attribution(run=name, tags=tags), Attribution(run=name, tags={**tags, "penstock.arm": "shadow"})
        for _ in range(self.draw.choice(CALLS)):
            self.number += 1
            request_id = f"{self.number:032x}"
            at = BEGIN + timedelta(days=look, milliseconds=self.number % 86_400_000)
            usage = Usage(input=self.draw.choice(INPUTS), output=self.draw.choice(OUTPUTS))
            made: list[UsageEvent] = []

            def attempt(served: Served, purpose: Purpose, used: Usage, to: Attribution = who) -> None:
                one = Attempt(request_id, len(made) + 1, purpose, at, "chat", "gpt-4o", False, purpose)  # noqa: B023  # called at once
                one.recorded_at = at  # noqa: B023
                made.append(self.meter.event(served, one, Reading(usage=used, usage_source="provider"), to))  # noqa: B023

            if arm == "control":
                attempt(STRONG, "call", usage)
            else:
                attempt(SMALL, "classifier", CLASSIFIER)
                attempt(CHEAP, "call", usage)
                if self.draw.random() < FALLBACKS:
                    attempt(STRONG, "fallback", usage)
                if sampled(request_id, tags, SHADOW):
                    attempt(STRONG, "shadow", usage, beside)
                    attempt(SMALL, "judge", JUDGE, beside)
                    attempt(SMALL, "judge", JUDGE, beside)
                    pairs.append(self.judged(run, request_id, look, at))
            for event in made:
                assert event.cost is not None
                run.total += event.cost
                run.sums[f"{arm} {event.purpose}"] = run.sums.get(f"{arm} {event.purpose}", Decimal(0)) + event.cost
            events += made

    def judged(self, run: Run, request_id: str, look: int, at: datetime) -> Pair:
        """Judge a pair as the quality of the cheap model has it."""
        worse = WORSE if run.worsens and look >= LOOKS // 2 else 0.0
        score = self.draw.choices((0.0, 1.0, 0.5), (DIFFER / 2 + worse, DIFFER / 2, 1 - DIFFER - worse))[0]
        return Pair(
            request_id=request_id, lever="routing", key=run.key, model="gpt-4o-mini", baseline="gpt-4o",
            judge="gpt-4.1-nano", first=score, second=score, at=at,
        )  # fmt: skip

    def truth(self, treated: int) -> float:
        """Return what is truly saved, net, by so many treated conversations."""
        usual = Usage(input=1, output=0), Usage(input=0, output=1)

        def cost(served: Served, sent: float, got: float) -> float:
            each = []
            for one in usual:
                attempt = Attempt("0" * 32, 1, "call", BEGIN, "chat", "gpt-4o", False, "")
                event = self.meter.event(served, attempt, Reading(usage=one, usage_source="provider"), Attribution())
                each.append(float(event.cost or 0))
            return sent * each[0] + got * each[1]

        sent, got, calls = sum(INPUTS) / len(INPUTS), sum(OUTPUTS) / len(OUTPUTS), sum(CALLS) / len(CALLS)
        strong, cheap = cost(STRONG, sent, got), cost(CHEAP, sent, got)
        judge, classifier = cost(SMALL, 1_200, 10), cost(SMALL, 300, 5)
        return treated * calls * (strong - cheap - FALLBACKS * strong - classifier - SHADOW * (strong + 2 * judge))


def adds_up(run: Run, one: Saving) -> bool:
    """Tell whether the report says, to the last digit, what the attempts that were made say."""
    control = run.sums.get("control call", Decimal(0))
    used = sum((amount for name, amount in run.sums.items() if name.startswith("treated ")), Decimal(0))
    held = Fraction(control) / run.units["control"] * run.units["treated"]
    parts = (one.control, one.treated, one.lever_cost, one.proof_cost, one.left_out)
    return one.ledger == run.total == sum(parts) and one.net == dollars(held) - used


@app.default
def main(*, runs: int = 500, units: int = 600, seed: int = 1) -> None:
    """Simulate, and print a table."""
    world, started = World(runs, units, seed), time.perf_counter()
    terms, seconds = Terms(margin=MARGIN), Counter[str]()

    def lap(what: str, since: float) -> float:
        now = time.perf_counter()
        seconds[what] += now - since
        return now

    with tempfile.TemporaryDirectory(prefix="penstock-savings-") as scratch:
        folder = Path(scratch)
        with Ledger.open(folder, create=True) as ledger:
            store, watch = Outcomes(folder), LeverWatch(ledger.state)
            count = 0
            for look in range(LOOKS):
                clock = time.perf_counter()
                events, pairs = world.part(look, watch)
                clock = lap("making traffic", clock)
                ledger.add(events, source="gateway")
                store.judge(*pairs)
                count += len(events)
                for pair in pairs:
                    world.runs[pair.key].pairs += 1
                clock = lap("booking", clock)
                for _, key in guard(ledger, BEGIN + timedelta(days=look + 1), terms):
                    world.runs[key].taken_back = look + 1
                watch.look()
                clock = lap("the guard", clock)
                found = {one.key: one for one in savings_of(ledger, terms=terms) if one.key != "*"}
                for key, one in found.items():
                    if one.low is not None and one.high is not None:
                        truth = world.truth(one.treated_units)
                        world.runs[key].wrong_looks += not float(one.low) <= truth <= float(one.high)
                lap("the report", clock)
            store.close()
    report(world, found, count, seconds)
    print(f"\n{time.perf_counter() - started:.0f} s in all")


def report(world: World, found: dict[str, Saving], count: int, seconds: Counter[str]) -> None:
    """Print what was found."""
    runs = world.runs
    measured = [key for key, one in found.items() if one.low is not None]
    held = [
        key
        for key in measured
        if float(found[key].low or 0) <= world.truth(found[key].treated_units) <= float(found[key].high or 0)
    ]
    exact = [key for key, one in found.items() if adds_up(runs[key], one)]
    worse = [run for run in runs.values() if run.worsens]
    back = [run for run in worse if run.taken_back > LOOKS // 2]
    early = [run for run in worse if 0 < run.taken_back <= LOOKS // 2]
    fine = [run for run in runs.values() if not run.worsens]
    states: dict[bool, Counter[str]] = defaultdict(Counter)
    for key, one in found.items():
        states[runs[key].worsens][one.state] += 1
    always = sum(not runs[key].wrong_looks for key in measured) / len(measured)
    widths = sorted(
        float((found[key].high or 0) - (found[key].low or 0)) / world.truth(found[key].treated_units)
        for key in measured
    )
    soon = " ".join(str(sum(run.taken_back == LOOKS // 2 + n for run in back)) for n in (1, 2, 3))
    rows = [
        ("runs, attempts in the ledger", f"{len(runs):,}, {count:,}"),
        ("the interval holds the true saving, at the end", f"{len(held) / len(measured):.1%} of {len(measured)}"),
        ("the same at every one of the looks", f"{always:.1%}"),
        ("width of the interval, of the true saving (median)", f"{widths[len(widths) // 2]:.0%}"),
        ("attempts add up to the net saving exactly", f"{len(exact):,} of {len(found):,}"),
        ("worsened models that were taken back", f"{len(back)} of {len(worse)}"),
        ("  at the first, second, third look after", soon),
        ("worsened models taken back before that", f"{len(early)} of {len(worse)}"),
        ("good models that were taken back", f"{sum(bool(run.taken_back) for run in fine)} of {len(fine)}"),
        ("good models: states at the end", ", ".join(f"{n} {state}" for state, n in states[False].most_common())),
        ("pairs of a good model (mean)", f"{sum(run.pairs for run in fine) / len(fine):.0f}"),
        *((f"seconds: {name}", f"{value:.0f}") for name, value in seconds.items()),
    ]  # fmt: skip
    print(grid(("what", "figure"), rows))


if __name__ == "__main__":
    app()
