"""Provisioned throughput: traffic that is large enough for it, and traffic that is on it."""
# ruff: noqa: S608  # names of columns; values are bound

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from penstock.analytics.question import TAG
from penstock.analytics.spend import add, dimension
from penstock.errors import PlanError
from penstock.optimization.finding import Finding, Seen, command, named
from penstock.optimization.traffic import Line
from penstock.planning.demand import Minute
from penstock.planning.prices import Prices
from penstock.planning.ptu import Ptu, PtuPlan, ptu
from penstock.pricing.capacity import shipped_capacity

MINUTE = timedelta(minutes=1)


def ptu_use(seen: Seen) -> Iterator[Finding]:
    """Find models that run on PTUs: how well those are used is known once their number is."""
    for model in dict.fromkeys(line.model for line in seen.lines if line.deployment_type.endswith("_ptu")):
        some = [line for line in seen.lines if line.model == model]
        on = [line for line in some if line.deployment_type.endswith("_ptu")]
        off = [line for line in some if line not in on]
        spilled = add(line.cost for line in off)
        group = {"provider": on[0].provider, "model": model}
        yield Finding(
            id=named("ptu_use", group), kind="ptu_use", title=f"How well the PTUs of {model} are used is not known",
            saving=None, at_stake=seen.monthly(spilled) if off else None, certainty="unknown",
            evidence=f"{sum(line.requests for line in on):,} requests ran on PTUs, and "
            f"{sum(line.requests for line in off):,} by the token for ${spilled:,.2f}. PTUs cost the same whether "
            "they are used or not.",
            effort="low", next="Say how many PTUs there are, and see coverage and idle capacity.",
            command=f"{command('report', 'ptu', '--model', model)} --ptus NUMBER", group=group,
        )  # fmt: skip


def worth_ptus(seen: Seen) -> Iterator[Finding]:
    """Find models at Azure whose traffic by the token would cost less with PTUs, by the minutes it came in."""
    capacity = shipped_capacity()
    if seen.catalog is None:
        return
    prices = Prices(seen.catalog, seen.until)
    for model in dict.fromkeys(line.model for line in seen.lines if line.provider == "azure"):
        some = [line for line in seen.lines if line.model == model and line.provider == "azure" and _by_token(line)]
        known = capacity.models.get(model.lower())
        cost = seen.monthly(add(line.cost for line in some))
        # Fewer PTUs than the least cannot be had: below their price no minute has to be looked at.
        if known is None or cost < known.min_global * (capacity.rate("global", "").month or Decimal(0)):
            continue
        try:
            plan = ptu(Ptu(model=model), prices, capacity, _minutes(seen, model))
        except PlanError:
            continue
        if plan.best_ptus and plan.saving > 0:
            yield _worth(seen, model, plan)


def _worth(seen: Seen, model: str, plan: PtuPlan) -> Finding:
    group = {"provider": "azure", "model": model}
    return Finding(
        id=named("ptu", group), kind="ptu", title=f"{plan.best_ptus:,} PTUs would serve {model} for less",
        saving=plan.saving, at_stake=plan.pay_as_you_go, certainty="estimate",
        evidence=f"The minutes of {seen.days:.0f} days cost ${plan.pay_as_you_go:,.2f} a month by the token, and "
        f"${plan.best_bill:,.2f} with {plan.best_ptus:,} PTUs {plan.best_term}, if they repeat.",
        effort="high", next="Look at the days that are to come before you reserve.",
        command=command("plan", "ptu", "--model", model, "--ledger", "--since", f"{seen.since:%Y-%m-%d}"), group=group,
    )  # fmt: skip


def _by_token(line: Line) -> bool:
    return line.mode == "standard" and not line.deployment_type.endswith("_ptu")


def _minutes(seen: Seen, model: str) -> tuple[Minute, ...]:
    """Add the traffic of a model up by the minute, quiet ones included."""
    given = "".join(f" AND {dimension(name)} = ${n}" for n, (name, _value) in enumerate(seen.where, 2))
    rows = seen.moment.select(
        "SELECT date_trunc('minute', \"at\") AS minute, sum(input_tokens)::VARCHAR AS sent, "
        "sum(output_tokens)::VARCHAR AS received, sum(requests)::VARCHAR AS requests FROM events "
        "WHERE model = $1 AND provider = 'azure' AND mode = 'standard' AND NOT ends_with(deployment_type, '_ptu')"
        f"{given} GROUP BY ALL",
        [model, *(value for _name, value in seen.where)],
        columns=(
            "model", "provider", "mode", "deployment_type", "input_tokens", "output_tokens", "requests",
            *("tags" if name.startswith(TAG) else name for name, _value in seen.where),
        ),
        since=seen.since, until=seen.until,
    ).to_pylist()  # fmt: skip
    found = {
        row["minute"].replace(tzinfo=UTC): Minute(int(row["sent"]), int(row["received"]), int(row["requests"]))
        for row in rows
    }
    if not found:
        return ()
    first, last = min(found), max(found)
    count = int((last - first) / MINUTE) + 1
    return tuple(found.get(_later(first, n), Minute()) for n in range(count))


def _later(first: datetime, minutes: int) -> datetime:
    return first + MINUTE * minutes
