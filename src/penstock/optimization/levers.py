"""What the same traffic would cost otherwise: cached, in batches, on a cheaper model, or deployed elsewhere.

All of it is an estimate: usage as it was booked, at prices in force now. Only a holdout proves a saving.
"""

from collections.abc import Iterator
from datetime import UTC, timedelta
from decimal import Decimal

from penstock.analytics.question import EXACT
from penstock.optimization.finding import Finding, Seen, command, named, per_cent, workload
from penstock.optimization.traffic import WHOLE, Line, priced
from penstock.planning.cache import cacheable
from penstock.planning.models import MODELS, ModelFacts, reasons
from penstock.pricing.lifecycle import retirement

LEAST_REQUESTS = 50
"""Of less, nothing can be said."""
HIT_RATE = Decimal("0.9")
"""Share of calls that find a prompt's beginning in the cache, once it is always the same: the calculator's too."""
LEAST_GAIN = Decimal("0.03")
"""Another model or place is worth a word from so much cheaper on."""
FEW_HOURS, MOST_IN_THEM = 6, Decimal("0.6")
"""A job that runs by the clock has so much of its calls in so few hours of the day; an even load has a quarter."""
LASTS = timedelta(days=180)
"""Nothing is recommended that retires sooner."""


def prompt_cache(seen: Seen) -> Iterator[Finding]:
    """Find long prompts of which the provider's cache served little."""
    for line in seen.lines:
        row = seen.row(line)
        prefix = cacheable(line.shortest)
        if row is None or not prefix or line.requests < LEAST_REQUESTS or "cache_read" not in row.rates:
            continue
        could = line.requests * prefix
        cached = line.usage.get("cache_read", 0)
        if cached * 2 >= could:
            continue
        rates = row.rates
        gain = EXACT.multiply(HIT_RATE, rates["input"] - rates["cache_read"])
        gain -= EXACT.multiply(1 - HIT_RATE, rates.get("cache_write", rates["input"]) - rates["input"])
        saving = EXACT.multiply(gain, Decimal(could - cached))
        if saving <= 0:
            continue
        group = _of(line)
        yield Finding(
            id=named("prompt_cache", group), kind="prompt_cache",
            title=f"{_app(line)} sends long prompts to {line.model} that are hardly cached",
            saving=seen.monthly(saving), at_stake=seen.monthly(line.cost), certainty="estimate",
            evidence=f"95 % of {line.requests:,} prompts have {line.shortest:,} tokens or more, and "
            f"{per_cent(cached, line.input_tokens)} of the input came from the cache. At most this much, if the first "
            f"{prefix:,} tokens are the same each time and {per_cent(HIT_RATE, 1)} of the calls find them.",
            effort="low", next="Put what never changes (instructions, tools, examples) first, what changes last.",
            command=command(
                "plan", "cache", "--provider", line.provider, "--model", line.model,
                "--requests-per-day", _each_day(seen, line), "--prefix-tokens", line.shortest,
            ),
            group=group,
        )  # fmt: skip


def batch(seen: Seen) -> Iterator[Finding]:
    """Find calls that are made by the clock and answered in one piece: they could wait for a batch."""
    for line in seen.lines:
        calls = sum(line.by_hour)
        if line.mode != "standard" or calls < LEAST_REQUESTS:
            continue
        busiest = sorted(range(len(line.by_hour)), key=lambda hour: -line.by_hour[hour])[:FEW_HOURS]
        inside = sum(line.by_hour[hour] for hour in busiest)
        live, later = seen.row(line), seen.row(line, mode="batch")
        if inside < calls * MOST_IN_THEM or live is None or later is None or later.mode != "batch":
            continue
        # A batch gets nothing from the prompt cache: its input is all fresh.
        fresh = {"input": sum(line.whole.get(unit, 0) for unit in WHOLE[:-1]), "output": line.whole.get("output", 0)}
        now, then = priced(line.whole, live), priced(fresh, later)
        if now is None or then is None or then >= now:
            continue
        saving = EXACT.multiply(now - then, Decimal(inside) / calls)
        hours = ", ".join(f"{hour:02}" for hour in sorted(busiest) if line.by_hour[hour])
        group = _of(line)
        yield Finding(
            id=named("batch", group), kind="batch",
            title=f"{_app(line)} calls {line.model} by the clock: such calls may wait",
            saving=seen.monthly(saving), at_stake=seen.monthly(line.cost), certainty="estimate",
            evidence=f"{inside:,} of {calls:,} calls that were not streamed ({per_cent(inside, calls)}) began in the "
            f"hours {hours} (UTC). Estimate for those, if all of them may wait for up to a day.",
            effort="medium", next="Ask whether anybody waits for the answers; if not, send them by the batch API.",
            command=command(
                "plan", "batch", "--provider", line.provider, "--model", line.model, *workload(seen, [line]),
                "--batch-share", per_cent(inside, max(line.requests, 1)).replace(" ", ""),
            ),
            group=group,
        )  # fmt: skip


def cheaper_model(seen: Seen) -> Iterator[Finding]:
    """Find models with another version, or another model of the family, that is as able by its card and cheaper."""
    for line in seen.lines:
        now = _now(seen, line)
        if now is None or line.requests < LEAST_REQUESTS:
            continue
        best = min(
            (
                (then, name, version)
                for name, version in _others(seen, line)
                if (then := _then(seen, line, model=name, version=version)) is not None and _lasts(seen, line, name)
            ),
            default=None,
        )
        if best is None or best[0] > now * (1 - LEAST_GAIN):
            continue
        then, name, version = best
        other = f"{name} {version}".strip()
        group = _of(line)
        yield Finding(
            id=named("cheaper_model", group), kind="cheaper_model",
            title=f"{other} costs less than {f'{line.model} {line.version}'.strip()} for {_app(line)}",
            saving=seen.monthly(now - then), at_stake=seen.monthly(line.cost), certainty="estimate",
            evidence=f"{line.requests:,} requests cost ${now:,.4f} at today's prices and would cost ${then:,.4f} with "
            "as many tokens. By their cards it reads as much and is of the same class; whether its answers are "
            "as good on your prompts, only a trial shows.",
            effort="medium", next="Try it on your own prompts with a part of the traffic, and compare the answers.",
            command=command("plan", "month", "--provider", line.provider, "--model", name, *workload(seen, [line])),
            group=group,
        )  # fmt: skip


def deployment(seen: Seen) -> Iterator[Finding]:
    """Find traffic in a region or a zone that would cost less wherever there is room."""
    for line in seen.lines:
        if line.deployment_type not in ("regional", "data_zone") or line.requests < LEAST_REQUESTS:
            continue
        now, then = _now(seen, line), _then(seen, line, deployment_type="global", region="")
        if now is None or then is None or then > now * (1 - LEAST_GAIN):
            continue
        group = _of(line) | {"deployment_type": line.deployment_type}
        yield Finding(
            id=named("deployment", group), kind="deployment",
            title=f"{line.model} costs less in a global deployment than in a {line.deployment_type.replace('_', ' ')}",
            saving=seen.monthly(now - then), at_stake=seen.monthly(line.cost), certainty="estimate",
            evidence=f"{line.requests:,} requests of {_app(line)} cost ${now:,.4f} at today's prices, and ${then:,.4f} "
            "where they may run anywhere.",
            effort="low", next="Ask whether the data must stay there; if not, move the deployment.",
            command=command(
                "plan", "deployment", "--provider", line.provider, "--model", line.model, *workload(seen, [line])
            ),
            group=group,
        )  # fmt: skip


def _now(seen: Seen, line: Line) -> Decimal | None:
    row = seen.row(line)
    return priced(line.usage, row) if row is not None else None


def _then(seen: Seen, line: Line, **changes: str) -> Decimal | None:
    row = seen.row(line, **changes)
    if row is None or any(
        changes[name] != getattr(row, name) for name in ("model", "deployment_type") if name in changes
    ):
        return None
    return priced(line.usage, row)


def _others(seen: Seen, line: Line) -> Iterator[tuple[str, str]]:
    """Yield versions of the model that have a price of their own, and models that can do as much by their cards."""
    assert seen.catalog is not None
    for layer in seen.catalog.layers(line.provider):
        for row in layer.models.get((line.provider, line.model.lower()), ()):
            if row.version and row.version > line.version > "" and row.mode == line.mode:
                yield line.model, row.version
    known = next((one for one in MODELS if one.name == line.model), None)
    if known is not None:
        yield from ((one.name, "") for one in MODELS if one is not known and _is_as_able(one, known))


def _is_as_able(one: ModelFacts, other: ModelFacts) -> bool:
    """Say whether a model is of the same family and class, and reads all that the other one does."""
    return (
        one.tier == other.tier
        and one.context >= other.context
        and one.images >= other.images
        and one.codes >= other.codes
        and reasons(one.name) == reasons(other.name)
        and one.name.split("-")[0] == other.name.split("-")[0]
    )


def _lasts(seen: Seen, line: Line, model: str) -> bool:
    """Say whether a model outlives the one in use, or at least the next half a year."""
    today = seen.until.astimezone(UTC).date()
    known, old = retirement(line.provider, model), retirement(line.provider, line.model, line.version)
    if known is None:
        return True
    return known.retires > today + LASTS or (old is not None and old.retires < known.retires and known.retires > today)


def _of(line: Line) -> dict[str, str]:
    return {"provider": line.provider, "model": line.model, "app": line.app}


def _app(line: Line) -> str:
    return line.app or "Traffic without an app"


def _each_day(seen: Seen, line: Line) -> int:
    return max(1, round(line.requests / seen.days))
