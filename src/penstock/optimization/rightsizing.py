"""Which routes may move to a smaller model: what that would save, what is known of its answers, what a proof takes.

The saving is an estimate: the tokens as they were booked, at the prices of the other deployment now. Whether its
answers are good enough is no estimate: pairs that were judged say so, with an interval, or nothing does.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from penstock.analytics.attempts import attempts_of
from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.savings import USUAL, Quality, Terms, foreseen, quality_of, unknown
from penstock.analytics.savings_arms import OWN, PROOF, answered
from penstock.ledger.outcomes import Pair
from penstock.policies.deployments import Deployment, Provider, target_of
from penstock.pricing.catalog import Catalog, PriceKey
from penstock.pricing.usage import Usage

Verdict = Literal["proven", "worse", "measuring", "untried"]

TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
OTHERS = tuple(name for name in Usage.__struct_fields__ if name not in (*TOKENS, "reasoning"))
"""Units that another model may not even have: calls with any of them stay where they are."""
LEAST_CALLS = 20
ORDER: Mapping[Verdict, int] = {"proven": 0, "measuring": 1, "untried": 2, "worse": 3}


class RightSize(Struct, frozen=True, kw_only=True):
    """One route, and one cheaper deployment that could serve it. Dollars are those of the span."""

    route: str
    """What clients ask for."""
    model: str
    """What serves most of its dollars now."""
    deployment: str
    to: str
    """The model that could, and its deployment."""
    to_deployment: str
    calls: int
    cost: Decimal
    would_cost: Decimal
    saving: Decimal
    verdict: Verdict
    quality: Quality
    pairs_needed: int | None
    """About how many more judged pairs a certificate takes."""
    proof_cost: Decimal
    """Dollars that their shadow calls would cost, at the mean cost of a call of today's model."""


class Line(Struct):
    """The traffic of one route on one model."""

    calls: int = 0
    cost: Decimal = Decimal(0)
    usage: dict[str, int] = {}
    deployments: dict[str, Decimal] = {}


def rightsizing(
    source: Any,
    catalog: Catalog,
    now: datetime,
    *,
    providers: Sequence[Provider],
    deployments: Sequence[Deployment],
    pairs: Sequence[Pair] = (),
    since: datetime | None = None,
    terms: Terms = USUAL,
) -> list[RightSize]:
    """Hold every route against the cheaper deployments of the settings; what is proven, then what saves most, first."""
    lines = _lines(source, since)
    asked = answered(source, {pair.request_id for pair in pairs})
    judged: dict[tuple[str, str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        where = asked.get(pair.request_id)
        if where is not None:
            judged[where.route, pair.baseline, pair.model].append(pair)
    homes = {one.name: one for one in providers}
    found = []
    for route in dict.fromkeys(route for route, _ in lines):
        mine = {model: line for (name, model), line in lines.items() if name == route}
        model, line = max(mine.items(), key=lambda one: (one[1].cost, one[0]))
        if line.calls < LEAST_CALLS or not line.cost:
            continue
        home = max(line.deployments, key=lambda name: (line.deployments[name], name))
        for row in deployments:
            if row.model == model:
                continue
            would = price_of(row, homes[row.provider], line.usage, catalog, now)
            if would is not None and would < line.cost:
                found.append(_sized((route, model, home), line, (row, would), judged[route, model, row.model], terms))
    return sorted(found, key=lambda one: (ORDER[one.verdict], -one.saving, one.route, one.to_deployment))


def _sized(
    now: tuple[str, str, str], line: Line, row: tuple[Deployment, Decimal], pairs: Sequence[Pair], terms: Terms
) -> RightSize:
    quality = quality_of(pairs, {}, terms) if pairs else unknown()
    would = row[1]
    verdict: Verdict = "measuring" if pairs else "untried"
    if quality.certified or quality.breached:
        verdict = "proven" if quality.certified and not quality.breached else "worse"
    needed = quality.needed if pairs else foreseen({}, terms.margin, terms.alpha)
    more = None if needed is None else max(0, needed - quality.count)
    if verdict in ("proven", "worse"):
        more = 0
    each = line.cost / line.calls
    return RightSize(
        route=now[0], model=now[1], deployment=now[2], to=row[0].model, to_deployment=row[0].name, calls=line.calls,
        cost=trimmed(line.cost), would_cost=trimmed(would), saving=trimmed(EXACT.subtract(line.cost, would)),
        verdict=verdict, quality=quality, pairs_needed=more,
        proof_cost=((more or 0) * each).quantize(Decimal("0.000001")),
    )  # fmt: skip


def price_of(
    row: Deployment, provider: Provider, usage: Mapping[str, int], catalog: Catalog, now: datetime
) -> Decimal | None:
    """Price tokens as this deployment would bill them now; None: its price is not known.

    What another model's cache served, or was written to it, is priced as this one prices it, else as plain input.
    """
    served = target_of(row, provider, declared=True).served
    model, version = catalog.identify(served.provider, served.model)
    key = PriceKey(
        provider=served.provider, model=model, version=version, deployment_type=served.deployment_type,
        region=served.region, mode="standard",
    )  # fmt: skip
    found = catalog.row(key, now)
    if found is None:
        return None
    rates = found.rates
    total = Decimal(0)
    for unit, count in usage.items():
        rate = rates.get(unit, rates.get("output" if unit == "output" else "input"))
        if count and rate is None:
            return None
        if count and rate is not None:
            total = EXACT.add(total, EXACT.multiply(rate, Decimal(count)))
    return total


def _lines(source: Any, since: datetime | None) -> dict[tuple[str, str], Line]:
    """Add up what answers cost, by what was asked for and what served."""
    events = attempts_of(source, since=since)
    kept = events.filter(
        ~events.purpose.isin((*PROOF, *OWN)), events.price_state == "priced",
        sum((events[name] for name in OTHERS), start=events["input"] * 0) == 0,
    )  # fmt: skip
    route = kept.requested_model.fill_null("").nullif("").fill_null(kept.model)
    groups = kept.mutate(route=route).group_by(["route", "model", "deployment"]).aggregate(
        calls=kept.is_event.sum(), cost=kept.cost.sum(), **{name: kept[name].sum() for name in TOKENS}
    )  # fmt: skip
    lines: dict[tuple[str, str], Line] = defaultdict(Line)
    for row in groups.order_by(["route", "model", "deployment"]).to_pyarrow().to_pylist():
        line = lines[row["route"], row["model"]]
        line.calls += int(row["calls"])
        line.cost = EXACT.add(line.cost, row["cost"] or Decimal(0))
        line.deployments[row["deployment"] or ""] = row["cost"] or Decimal(0)
        for name in TOKENS:
            line.usage[name] = line.usage.get(name, 0) + int(row[name] or 0)
    return dict(lines)
