"""When a cascade pays: a cheap model answers first, and a dear one where that answer fails a check (guide, 7.6)."""

import dataclasses
from decimal import Decimal

from penstock.planning.answer import Answer
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

SHARES = tuple(Decimal(share) for share in ("0", "0.1", "0.25", "0.5", "0.75", "1"))
"""Shares of failed answers that are set side by side."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cascade(Inputs):
    """A workload that a dear model serves now, and that a cheap one is to try first."""

    first_model: str
    """The cheap model, which answers every request."""
    then_model: str
    """The dear model, which answers where the first answer fails the check."""
    requests_per_day: Count
    """Requests on a usual day."""
    input_tokens: Tokens
    """Tokens sent with each request."""
    output_tokens: Tokens
    """Tokens that the first model writes for each request."""
    then_output_tokens: Tokens = 0
    """Tokens that the second model writes; 0: as many as the first."""
    failed_share: Share = Decimal("0.2")
    """Share of the first answers that fail the check: in the ledger, attempts with the purpose `cascade`."""
    check_cost: Dollars = Decimal(0)
    """Dollars for checking one answer: nothing for schema and form, the price of its call where a model judges."""
    deployment_type: Deployment = "global"
    """Where the calls may run."""
    region: str = ""
    """Region or zone, where the deployment type has several prices."""
    days: Days = MONTH_DAYS
    """Days of a month."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AtShare:
    """The cascade, if that share of the first answers failed."""

    failed_share: Share
    cost: Dollars
    """A month."""
    saving: Balance
    saving_share: Saved


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FirstModel:
    """Another model of the book in the first place."""

    model: str
    per_request: Dollars
    """Of its answer alone."""
    pays_below: Share
    """Share of failed answers below which the cascade pays."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CascadePlan(Answer):
    """What trying the cheap model first is worth."""

    pays: bool
    pays_below: Saved
    """Share of failed answers below which it pays; zero or less: it cannot."""
    cost_now: Dollars
    """A month, every request at the second model."""
    cost_with: Dollars
    """A month with the cascade."""
    saving: Balance
    saving_share: Saved
    first_per_request: Dollars
    """Of the first answer with its check."""
    then_per_request: Dollars
    asked_twice: Count
    """Requests a month that both models answer, and that wait for both."""
    shares: tuple[AtShare, ...]
    first_models: tuple[FirstModel, ...]
    """Models that can pay in the first place, the one with most room for failures first."""


def cascade(inputs: Cascade, prices: Prices) -> CascadePlan:
    """Compare the dear model alone with the cheap one first: `first + check + failed x then` against `then`.

    It pays while `failed < 1 - (first + check) / then`.
    """
    first, then = _row(inputs, prices, "first_model"), _row(inputs, prices, "then_model")
    tried, dear = _tried(inputs, first), _dear(inputs, then)
    most = 1 - ratio(tried, dear) if dear else Decimal(0)
    volume = inputs.requests_per_day * inputs.days
    now, after = volume * dear, _after(inputs, first, then)
    return CascadePlan(
        answer=_sentence(inputs, most, now - after, now),
        pays=after < now,
        pays_below=most,
        cost_now=cents(now),
        cost_with=cents(after),
        saving=cents(now - after),
        saving_share=ratio(now - after, now),
        first_per_request=exact(tried),
        then_per_request=exact(dear),
        asked_twice=int(volume * inputs.failed_share),
        shares=tuple(_at(inputs, first, then, share) for share in SHARES),
        first_models=_first_models(inputs, prices, dear),
        notes=(
            *prices.retirement_note(inputs.first_model),
            *prices.retirement_note(inputs.then_model),
            "A request that fails waits for both answers, and nothing can be streamed before the check is done.",
            "It says nothing of wrong answers that the check lets pass: measure those behind a holdout.",
        ),
        prices=(used(first), used(then)),
        assumptions=(
            f"A month has {inputs.days} days.",
            "Both models get the same prompt; none of it comes from a prompt cache.",
        ),
        moved="the monthly cost with the cascade",
        sensitivity=sensitivity(inputs, lambda changed: _after(changed, first, then), leave_out=("days",)),
    )


def _row(inputs: Cascade, prices: Prices, field: str) -> PriceRow:
    return prices.row(
        getattr(inputs, field),
        field=field,
        unit="output" if inputs.output_tokens or inputs.then_output_tokens else "input",
        deployment_type=inputs.deployment_type,
        region=inputs.region,
        input_tokens=inputs.input_tokens,
    )


def _tried(inputs: Cascade, first: PriceRow) -> Decimal:
    """Return the dollars of one first answer with its check."""
    return call_cost(first, inputs.input_tokens, inputs.output_tokens) + inputs.check_cost


def _dear(inputs: Cascade, then: PriceRow) -> Decimal:
    return call_cost(then, inputs.input_tokens, inputs.then_output_tokens or inputs.output_tokens)


def _after(inputs: Cascade, first: PriceRow, then: PriceRow) -> Decimal:
    each = _tried(inputs, first) + inputs.failed_share * _dear(inputs, then)
    return each * inputs.requests_per_day * inputs.days


def _at(inputs: Cascade, first: PriceRow, then: PriceRow, share: Decimal) -> AtShare:
    changed = dataclasses.replace(inputs, failed_share=share)
    now, after = inputs.requests_per_day * inputs.days * _dear(inputs, then), _after(changed, first, then)
    return AtShare(
        failed_share=share, cost=cents(after), saving=cents(now - after), saving_share=ratio(now - after, now)
    )


def _first_models(inputs: Cascade, prices: Prices, dear: Decimal) -> tuple[FirstModel, ...]:
    found = []
    for model in prices.models():
        row = prices.find(
            model, deployment_type=inputs.deployment_type, region=inputs.region, input_tokens=inputs.input_tokens
        )
        gone = prices.retires(model)
        if row is None or not {"input", "output"} <= row.rates.keys() or (gone and gone <= prices.at.date()):
            continue
        tried = _tried(inputs, row)
        if tried < dear:
            found.append(
                FirstModel(model=model, per_request=exact(tried - inputs.check_cost), pays_below=1 - ratio(tried, dear))
            )
    return tuple(sorted(found, key=lambda one: (-one.pays_below, one.model)))


def _sentence(inputs: Cascade, most: Decimal, saved: Decimal, now: Decimal) -> str:
    way = f"{inputs.first_model} before {inputs.then_model}"
    if most <= 0:
        return f"{way} cannot pay: the first answer and its check cost as much as {inputs.then_model} alone, or more."
    verb = "saves" if saved >= 0 else "costs an extra"
    return (
        f"{way} {verb} {money(abs(cents(saved)))} a month ({percent(abs(ratio(saved, now)))}) if "
        f"{percent(inputs.failed_share)} of its answers fail; it pays below {percent(most)}."
    )
