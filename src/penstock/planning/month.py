"""What a steady workload costs a month, by model (guide, section 7.2: the token budget calculator)."""

import dataclasses
from decimal import Decimal
from itertools import accumulate, repeat
from operator import mul

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.models import reasons
from penstock.planning.prices import Deployment, Prices, PriceUsed, call_cost, rate, used
from penstock.planning.quantity import (
    LARGEST,
    MONTH_DAYS,
    Amount,
    Balance,
    Count,
    Days,
    Dollars,
    Growth,
    Horizon,
    Inputs,
    Rate,
    Ratio,
    Saved,
    Share,
    Tokens,
    cents,
    exact,
    money,
    percent,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.book import PriceRow

DEFAULT_BASELINE = "gpt-4o"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Month(Inputs):
    """A steady stream of like requests to one model."""

    model: str
    """The model that serves it."""
    requests_per_day: Count
    """Requests on a usual day."""
    input_tokens: Tokens
    """Tokens sent with each request."""
    output_tokens: Tokens
    """Visible tokens received for each request."""
    reasoning_tokens: Tokens = 0
    """Hidden reasoning tokens a request; they bill as output."""
    cached_share: Share = Decimal(0)
    """Share of the input tokens that the prompt cache serves."""
    batch_share: Share = Decimal(0)
    """Share of the requests that can wait a day for the batch price."""
    growth: Growth = Decimal(0)
    """Growth of the volume from month to month."""
    months: Horizon = 12
    """Months to look ahead."""
    days: Days = MONTH_DAYS
    """Days of a month."""
    deployment_type: Deployment = "global"
    """Where the calls may run."""
    region: str = ""
    """Region or zone, where the deployment type has several prices."""
    baseline: str = DEFAULT_BASELINE
    """The model whose cost is 1.0 in the comparison."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelMonth:
    """The same workload on another model."""

    model: str
    input_per_million: Rate
    output_per_million: Rate
    per_request: Dollars
    monthly_cost: Dollars
    index: Ratio
    """Cost relative to the baseline's."""
    saving: Balance
    """Dollars a month that it costs less than the chosen model."""
    retired: str = ""
    """The day on which it retired, if it has."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GrownMonth:
    """One month of a growing workload."""

    month: int
    requests_per_day: Amount
    cost: Dollars


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MonthPlan(Answer):
    """What the workload costs."""

    monthly_cost: Dollars
    """Dollars a month, rounded to cents."""
    exact_monthly_cost: Dollars
    cost_per_request: Dollars
    cost_per_day: Dollars
    cost_per_year: Dollars
    """Twelve months of this size, without growth."""
    tokens_per_month: int
    index: Ratio
    """Cost relative to the baseline's."""
    baseline_saving: Balance
    """Dollars a month less than the baseline costs."""
    baseline_saving_share: Saved
    horizon_cost: Dollars
    """Dollars over the months ahead, growth included."""
    models: tuple[ModelMonth, ...]
    """Every model of the book on this workload, the cheapest first."""
    ahead: tuple[GrownMonth, ...]


def month(inputs: Month, prices: Prices) -> MonthPlan:
    """Work out the monthly cost: (input x price + output x price) x requests a day x days."""
    row, batch = _rows(inputs, prices)
    per_request = _per_request(inputs, row, batch)
    volume = inputs.requests_per_day * inputs.days
    cost = per_request * volume
    base_row, base_note = _baseline(inputs, prices)
    base = _other(inputs, prices, base_row) if base_row else per_request
    ahead = tuple(_ahead(inputs, cost))
    saving = (base - per_request) * volume
    return MonthPlan(
        answer=_sentence(inputs, cost, saving, ratio(saving, base * volume)),
        monthly_cost=cents(cost),
        exact_monthly_cost=exact(cost),
        cost_per_request=exact(per_request),
        cost_per_day=exact(per_request * inputs.requests_per_day),
        cost_per_year=exact(cost * 12),
        tokens_per_month=volume * (inputs.input_tokens + inputs.output_tokens + inputs.reasoning_tokens),
        index=ratio(per_request, base),
        baseline_saving=exact(saving),
        baseline_saving_share=ratio(saving, base * volume),
        horizon_cost=exact(sum((step.cost for step in ahead), Decimal(0))),
        models=_side_by_side(inputs, prices, cost, base),
        ahead=ahead if inputs.growth else (),
        notes=(*base_note, *prices.retirement_note(inputs.model)),
        prices=_prices_used(inputs, row, batch),
        assumptions=_assumptions(inputs),
        corrections=(*_index_corrections(prices), SIXTEENFOLD),
        moved="the monthly cost",
        sensitivity=sensitivity(
            inputs,
            lambda changed: _per_request(changed, row, batch) * changed.requests_per_day * changed.days,
            leave_out=("months", "growth", "days"),
        ),
    )


def _rows(inputs: Month, prices: Prices) -> tuple[PriceRow, PriceRow | None]:
    def row(mode: str) -> PriceRow:
        return prices.row(
            inputs.model,
            mode=mode,
            deployment_type=inputs.deployment_type,
            region=inputs.region,
            input_tokens=inputs.input_tokens,
        )

    return row("standard"), row("batch") if inputs.batch_share else None


def _baseline(inputs: Month, prices: Prices) -> tuple[PriceRow | None, tuple[str, ...]]:
    """Return the baseline's row, and what to know about it. Raises PlanError for a model that nobody knows."""
    found = prices.find(inputs.baseline, deployment_type=inputs.deployment_type, region=inputs.region)
    if found is not None:
        return found, ()
    if (
        inputs.baseline == DEFAULT_BASELINE and prices.find(inputs.baseline) is None
    ):  # another provider, nobody chose it
        return None, (f"{prices.provider} has no {inputs.baseline}: --baseline names a model to compare with.",)
    row = prices.row(inputs.baseline, field="baseline")
    return row, (f"{inputs.baseline} has no {inputs.deployment_type} price: it is compared at its Global price.",)


def _per_request(inputs: Month, row: PriceRow, batch: PriceRow | None) -> Decimal:
    hidden = inputs.reasoning_tokens if row.model == inputs.model or reasons(row.model) else 0
    received = inputs.output_tokens + hidden
    live = call_cost(row, inputs.input_tokens, received, inputs.input_tokens * inputs.cached_share)
    if batch is None:
        return live
    later = call_cost(batch, inputs.input_tokens, received)
    return (1 - inputs.batch_share) * live + inputs.batch_share * later


def _other(inputs: Month, prices: Prices, row: PriceRow) -> Decimal:
    batch = None
    if inputs.batch_share:
        batch = prices.find(row.model, mode="batch", deployment_type=row.deployment_type, region=row.region)
    return _per_request(inputs, row, batch)


def _side_by_side(inputs: Month, prices: Prices, cost: Decimal, base: Decimal) -> tuple[ModelMonth, ...]:
    volume = inputs.requests_per_day * inputs.days
    lines = []
    for model in prices.models():
        row = prices.find(
            model, deployment_type=inputs.deployment_type, region=inputs.region, input_tokens=inputs.input_tokens
        )
        if row is None or not {"input", "output"} <= row.rates.keys():
            continue
        each = _other(inputs, prices, row)
        lines.append(
            ModelMonth(
                model=row.model,
                input_per_million=exact(rate(row, "input") * 1_000_000),
                output_per_million=exact(rate(row, "output") * 1_000_000),
                per_request=exact(each),
                monthly_cost=cents(each * volume),
                index=ratio(each, base),
                saving=cents(cost - each * volume),
                retired=_retired(prices, row.model),
            )
        )
    return tuple(sorted(lines, key=lambda line: (line.per_request, line.model)))


def _retired(prices: Prices, model: str) -> str:
    day = prices.retires(model)
    return str(day) if day and day <= prices.at.date() else ""


def _ahead(inputs: Month, cost: Decimal) -> list[GrownMonth]:
    factors = list(accumulate(repeat(1 + inputs.growth, inputs.months - 1), mul, initial=Decimal(1)))
    if max(factors) * max(Decimal(inputs.requests_per_day), cost) > LARGEST:
        raise PlanError("growth", f"{percent(inputs.growth)} for {inputs.months} months is too large to mean anything")
    return [
        GrownMonth(
            month=step + 1, requests_per_day=ratio(inputs.requests_per_day * factor, 1), cost=cents(cost * factor)
        )
        for step, factor in enumerate(factors)
    ]


def _sentence(inputs: Month, cost: Decimal, saving: Decimal, share: Decimal) -> str:
    what = f"{inputs.requests_per_day:,} requests a day on {inputs.model} cost {money(cents(cost))} a month"
    if not saving or inputs.model == inputs.baseline:
        return f"{what}."
    word = "less" if saving > 0 else "more"
    return f"{what}: {money(abs(cents(saving)))} ({percent(abs(share))}) {word} than on {inputs.baseline}."


def _prices_used(inputs: Month, row: PriceRow, batch: PriceRow | None) -> tuple[PriceUsed, ...]:
    units = ("input", "cache_read", "output") if inputs.cached_share else ("input", "output")
    return (used(row, *units), *((used(batch, "input", "output"),) if batch else ()))


def _assumptions(inputs: Month) -> tuple[str, ...]:
    lines = [f"A month has {inputs.days} days; every day has the same volume."]
    if inputs.cached_share:
        lines.append(
            "Cached input is billed at the model's own cached price; writing to the cache is not charged extra."
        )
    if inputs.batch_share:
        lines.append("Batch calls get no cached price; the batch price is the book's row, not half of the live one.")
        lines.append("A model without a batch price is compared at its live price.")
    if inputs.reasoning_tokens:
        lines.append("Hidden reasoning tokens bill as output; models that do not reason have none.")
    return tuple(lines)


SIXTEENFOLD = Correction(
    section="7.1",
    says="GPT-4o vs GPT-4o-mini = 16x difference",
    computed="16.67x",
    why="$2.50 / $0.15 and $10 / $0.60 are both 16.67.",
)


def _index_corrections(prices: Prices) -> list[Correction]:
    """Recompute the guide's relative cost index for the two models whose price on Azure is another one."""
    said = {"DeepSeek-R1": ("0.22x", "$0.55/$2.19"), "Phi-4": ("0.01x", "$0.07/$0.14")}
    found = []
    base = prices.find("gpt-4o")
    for model, (index, price) in said.items():
        row = prices.find(model)
        if row is None or base is None or "output" not in row.rates:
            continue
        computed = ratio(call_cost(row, 500, 300), call_cost(base, 500, 300))
        if f"{computed:.2f}x" == index:
            continue
        now = f"{money(rate(row, 'input') * 1_000_000)}/{money(rate(row, 'output') * 1_000_000)}"
        why = f"At {now} per million tokens in this book, for 500 tokens in and 300 out."
        found.append(
            Correction(
                section="7.2", says=f"{model} costs {index} of GPT-4o ({price})", computed=f"{computed:.3f}x", why=why
            )
        )
    return found
