"""Where to run a model: every deployment type side by side, with what rules some of them out (guide, section 7.3)."""

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import Deployment as Where
from penstock.planning.prices import Prices, PriceUsed, call_cost, used
from penstock.planning.ptu import Ptu, ptu, ptu_prices
from penstock.planning.quantity import (
    MONTH_DAYS,
    MONTH_HOURS,
    Count,
    Days,
    Dollars,
    Growth,
    Inputs,
    Ratio,
    Share,
    Tokens,
    cents,
    money,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.book import PriceRow
from penstock.pricing.capacity import Capacity

Residency = Literal["none", "zone", "region"]

TYPES: tuple[tuple[Where, str], ...] = (("global", "Global"), ("data_zone", "Data zone"), ("regional", "Regional"))
MODES = ("standard", "batch", "priority")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(Inputs):
    """A workload, and what its data and its users demand."""

    model: str
    """The model that serves it."""
    requests_per_day: Count
    """Requests on a usual day."""
    input_tokens: Tokens
    """Tokens sent with each request."""
    output_tokens: Tokens
    """Tokens received for each request."""
    cached_share: Share = Decimal(0)
    """Share of the input tokens that the prompt cache serves."""
    residency: Residency = "none"
    """Where data may be processed: anywhere, inside a zone (US, EU), or in one region."""
    region: str = "us"
    """The region or zone, for prices that depend on it."""
    can_wait: bool = False
    """Answers may come within a day."""
    steady_latency: bool = False
    """The latency must hold at the busiest minute: capacity of one's own."""
    peak_to_average: Ratio = Decimal(3)
    """Busiest minute over the average minute."""
    days: Days = MONTH_DAYS
    """Days of a month, for what is billed by token."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to deploy."""

    deployment: str
    monthly_cost: Dollars | None
    """Dollars a month; empty: the book has no price."""
    against_global: Growth | None
    """Against Global standard."""
    allowed: bool
    why_not: str
    commitment: str
    """How the PTUs are paid for; empty: none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPlan(Answer):
    """The cheapest way that is allowed, and all others."""

    best: str
    best_cost: Dollars
    dearest_cost: Dollars
    """The dearest allowed one."""
    options: tuple[Option, ...]


def deployment(inputs: Deployment, prices: Prices, capacity: Capacity) -> DeploymentPlan:
    """Price every deployment type, and strike out those that the demands rule out."""
    rows = {(kind, mode): _row(inputs, prices, kind, mode) for kind, _ in TYPES for mode in MODES}
    prices.row(inputs.model, input_tokens=inputs.input_tokens)  # names a model that is not there
    base = _monthly(inputs, rows["global", "standard"])
    by_token = [
        _option(inputs, f"{name} {mode}", (kind, mode), _monthly(inputs, rows[kind, mode]), base=base)
        for kind, name in TYPES
        for mode in MODES
    ]
    options = [*by_token, *_provisioned(inputs, prices, capacity, base)]
    options.sort(
        key=lambda option: (not option.allowed, option.monthly_cost is None, option.monthly_cost or Decimal(0))
    )
    allowed = [
        (option.monthly_cost, option) for option in options if option.allowed and option.monthly_cost is not None
    ]
    if not allowed:
        raise PlanError("residency", "no deployment with a known price meets these demands; name another region")
    cost, best = allowed[0]
    name = f"{best.deployment}, {best.commitment}" if best.commitment else best.deployment
    return DeploymentPlan(
        answer=f"{name} is the cheapest way that is allowed: {money(cost)} a month for {inputs.model}.",
        best=name,
        best_cost=cost,
        dearest_cost=max(each for each, _ in allowed),
        options=tuple(options),
        notes=(*prices.retirement_note(inputs.model), *NOTES),
        prices=(*_used(rows), *_capacity_used(inputs, prices, capacity)),
        assumptions=(
            f"By token: {inputs.days} days a month. PTUs: {MONTH_HOURS} hours a month.",
            f"PTUs hold a busiest minute of {inputs.peak_to_average} times the average, without spill-over.",
            "Batch gets no cached price. A deployment without a price in the book is shown, not guessed.",
        ),
        corrections=CORRECTIONS,
        moved=f"the monthly cost of {name}",
        sensitivity=sensitivity(
            inputs, lambda changed: _same_way(changed, best, rows, prices, capacity), leave_out=("days",)
        ),
    )


def _same_way(
    inputs: Deployment,
    best: Option,
    rows: Mapping[tuple[Where, str], PriceRow | None],
    prices: Prices,
    capacity: Capacity,
) -> Decimal:
    """Return the monthly cost of the chosen way for other inputs; PTUs are sized anew."""
    if best.commitment:
        kind = best.deployment.partition(" PTU")[0]
        costs = [
            option.monthly_cost
            for option in _provisioned(inputs, prices, capacity, None)
            if option.deployment.startswith(f"{kind} PTU") and option.commitment == best.commitment
        ]
        if not costs:
            raise PlanError("requests_per_day", "no requests: there is nothing to size")
        return costs[0] or Decimal(0)
    key = next((where, mode) for where, name in TYPES for mode in MODES if best.deployment == f"{name} {mode}")
    return _monthly(inputs, rows[key]) or Decimal(0)


def _row(inputs: Deployment, prices: Prices, kind: str, mode: str) -> PriceRow | None:
    region = "" if kind == "global" else inputs.region
    row = prices.find(inputs.model, deployment_type=kind, region=region, mode=mode, input_tokens=inputs.input_tokens)
    return row if row is not None and {"input", "output"} <= row.rates.keys() else None


def _monthly(inputs: Deployment, row: PriceRow | None) -> Decimal | None:
    if row is None:
        return None
    cached = inputs.input_tokens * inputs.cached_share if row.mode != "batch" else Decimal(0)
    each = call_cost(row, inputs.input_tokens, inputs.output_tokens, cached)
    return each * inputs.requests_per_day * inputs.days


def _provisioned(inputs: Deployment, prices: Prices, capacity: Capacity, base: Decimal | None) -> list[Option]:
    model, _ = prices.catalog.identify(prices.provider, inputs.model)
    per_minute = Decimal(inputs.requests_per_day) / 1440 * inputs.peak_to_average
    if model.lower() not in capacity.models or not per_minute:
        return []
    found = []
    for kind, name in TYPES:
        try:
            plan = ptu(
                Ptu(
                    model=inputs.model,
                    requests_per_minute=per_minute,
                    input_tokens=inputs.input_tokens,
                    output_tokens=inputs.output_tokens,
                    cached_share=inputs.cached_share,
                    deployment_type=kind,
                    region="" if kind == "global" else inputs.region,
                ),
                prices,
                capacity,
            )
        except PlanError:  # no such deployment, or no price for it
            continue
        found += [
            _option(
                inputs,
                f"{name} PTU x {plan.ptus_for_peak}",
                (kind, "ptu"),
                plan.ptus_for_peak * term.dollars_per_ptu,
                base=base,
                term=term.term,
            )
            for term in plan.terms
        ]
    return found


def _option(
    inputs: Deployment, name: str, key: tuple[str, str], cost: Decimal | None, *, base: Decimal | None, term: str = ""
) -> Option:
    kind, mode = key
    reasons = []
    if inputs.residency == "region" and kind != "regional":
        reasons.append("data would leave the region")
    elif inputs.residency == "zone" and kind == "global":
        reasons.append("data would leave the zone")
    if mode == "batch" and not inputs.can_wait:
        reasons.append("answers come within a day")
    if inputs.steady_latency and mode != "ptu":
        reasons.append("latency is not held at peaks")
    if cost is None:
        reasons.append("no price in the book")
    return Option(
        deployment=name,
        monthly_cost=None if cost is None else cents(cost),
        against_global=ratio(cost - base, base) if cost is not None and base else None,
        allowed=not reasons,
        why_not="; ".join(reasons),
        commitment=term,
    )


def _used(rows: Mapping[tuple[Where, str], PriceRow | None]) -> tuple[PriceUsed, ...]:
    return tuple(used(row) for row in rows.values() if row is not None)


def _capacity_used(inputs: Deployment, prices: Prices, capacity: Capacity) -> tuple[PriceUsed, ...]:
    model = capacity.models.get(prices.catalog.identify(prices.provider, inputs.model)[0].lower())
    if model is None:
        return ()
    kinds = [kind for kind, _ in TYPES if model.smallest(kind)]
    pairs = [ptu_prices(capacity.rate(kind, "" if kind == "global" else inputs.region), model) for kind in kinds]
    return (*(rate for rate, _ in pairs), pairs[0][1])


NOTES = (
    "Data at rest stays in the resource's geography; residency here is about where prompts are processed.",
    "PTUs with spill-over are often cheaper than PTUs for the peak: see penstock plan ptu.",
)

CORRECTIONS = (
    Correction(
        section="7.3",
        says="Standard (Regional): per-token",
        computed="Global + 10 % (US) to + 37.5 % (US government)",
        why="The meters differ by region: gpt-4.1 input is $2.20 in the US, $2.42 in Sweden, $2.64 in Ireland.",
    ),
    Correction(
        section="7.3",
        says="PTU commitment: monthly / yearly",
        computed="hourly, monthly, yearly",
        why="Hourly PTUs exist and cost 2.8 to 6 times the work that they can do: for tests only.",
    ),
    Correction(
        section="7.3",
        says="Five deployment models",
        computed="nine",
        why="Also: priority, flex, Global and data zone PTUs, data zone batch.",
    ),
)
