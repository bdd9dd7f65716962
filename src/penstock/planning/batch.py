"""What moving a share of the traffic to the batch API saves (guide, section 7.6)."""

import dataclasses
from decimal import Decimal

from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import Deployment, Prices, call_cost, used
from penstock.planning.quantity import (
    MONTH_DAYS,
    Balance,
    Count,
    Days,
    Dollars,
    Inputs,
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Inputs):
    """A workload of which a share can wait for up to a day."""

    model: str
    """The model that serves it now."""
    requests_per_day: Count
    """Requests on a usual day."""
    input_tokens: Tokens
    """Tokens sent with each request."""
    output_tokens: Tokens
    """Tokens received for each request."""
    batch_share: Share = Decimal(1)
    """Share of the requests that can wait."""
    batch_model: str = ""
    """The model of the waiting share; by default the same one."""
    cached_share: Share = Decimal(0)
    """Share of the input tokens that the prompt cache serves today; batches get none of it."""
    deployment_type: Deployment = "global"
    """Where the calls may run."""
    region: str = ""
    """Region or zone, where the deployment type has several prices."""
    days: Days = MONTH_DAYS
    """Days of a month."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UseCase:
    """One line of the guide's table: does it need an answer now, and what batch does for it."""

    use_case: str
    waits: bool
    approach: str
    saving: Saved
    """Against the chosen model's live price."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan(Answer):
    """What waiting is worth."""

    cost_now: Dollars
    cost_after: Dollars
    saving: Balance
    saving_share: Saved
    live_per_request: Dollars
    batch_per_request: Dollars
    requests_moved: Count
    """Requests a month that wait."""
    use_cases: tuple[UseCase, ...]


def batch(inputs: Batch, prices: Prices) -> BatchPlan:
    """Compare today's bill with the one after the share has moved."""

    def row(model: str, field: str, mode: str = "standard") -> PriceRow:
        return prices.row(
            model,
            field=field,
            unit="output" if inputs.output_tokens else "input",
            mode=mode,
            deployment_type=inputs.deployment_type,
            region=inputs.region,
            input_tokens=inputs.input_tokens,
        )

    live = row(inputs.model, "model")
    later = row(inputs.batch_model or inputs.model, "batch_model" if inputs.batch_model else "model", "batch")
    now_each, later_each = _each(inputs, live), call_cost(later, inputs.input_tokens, inputs.output_tokens)
    volume = inputs.requests_per_day * inputs.days
    now, after = volume * now_each, _after(inputs, live, later)
    verb = "saves" if now >= after else "costs an extra"
    return BatchPlan(
        answer=f"Moving {percent(inputs.batch_share)} of {inputs.model}'s requests to batch{_onto(inputs)} {verb} "
        f"{money(abs(cents(now - after)))} a month ({percent(abs(ratio(now - after, now)))}).",
        cost_now=cents(now),
        cost_after=cents(after),
        saving=cents(now - after),
        saving_share=ratio(now - after, now),
        live_per_request=exact(now_each),
        batch_per_request=exact(later_each),
        requests_moved=int(volume * inputs.batch_share),
        use_cases=_use_cases(inputs, prices, now_each),
        notes=(
            *prices.retirement_note(inputs.model),
            "The batch API aims at 24 hours; it is a target, not a service level.",
            "Flex processing gives the batch price on a synchronous call where it is offered: try it before batch.",
        ),
        prices=(used(live), used(later)),
        assumptions=(
            f"A month has {inputs.days} days.",
            "The batch price is the book's own row, not half of the live one.",
        ),
        corrections=CORRECTIONS,
        moved="the monthly cost",
        sensitivity=sensitivity(inputs, lambda changed: _after(changed, live, later), leave_out=("days",)),
    )


def _each(inputs: Batch, live: PriceRow) -> Decimal:
    return call_cost(live, inputs.input_tokens, inputs.output_tokens, inputs.input_tokens * inputs.cached_share)


def _after(inputs: Batch, live: PriceRow, later: PriceRow) -> Decimal:
    moved = call_cost(later, inputs.input_tokens, inputs.output_tokens)
    each = (1 - inputs.batch_share) * _each(inputs, live) + inputs.batch_share * moved
    return each * inputs.requests_per_day * inputs.days


def _onto(inputs: Batch) -> str:
    return f" on {inputs.batch_model}" if inputs.batch_model else ""


def _use_cases(inputs: Batch, prices: Prices, now_each: Decimal) -> tuple[UseCase, ...]:
    def saving(model: str) -> Decimal:
        row = prices.find(model, mode="batch", deployment_type=inputs.deployment_type, region=inputs.region)
        return (
            ratio(now_each - call_cost(row, inputs.input_tokens, inputs.output_tokens), now_each) if row else Decimal(0)
        )

    same, nano = saving(inputs.model), saving("gpt-4.1-nano")
    return (
        UseCase(use_case="Document summaries", waits=True, approach="batch", saving=same),
        UseCase(use_case="Nightly reports", waits=True, approach="batch", saving=same),
        UseCase(use_case="Moderation backlog", waits=True, approach="batch on gpt-4.1-nano", saving=nano),
        UseCase(use_case="Chatbot", waits=False, approach="standard", saving=Decimal(0)),
        UseCase(use_case="Voice assistant under 500 ms", waits=False, approach="PTU", saving=Decimal(0)),
    )


CORRECTIONS = (
    Correction(
        section="7.6",
        says="Batch API and nano model: 95%+ savings",
        computed="98%",
        why="Half of gpt-4.1-nano against gpt-4o at 500 tokens in and 300 out: $0.000085 against $0.00425.",
    ),
    Correction(
        section="7.3",
        says="Batch: 24-hour SLA",
        computed="a 24-hour target",
        why="Batches that are not done after 24 hours may expire; nothing is promised.",
    ),
)
