"""Prompt, fine-tune or retrieve: where each becomes the cheapest, hosting included (guide, section 7.12)."""

import dataclasses
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import Prices, PriceUsed, call_cost, used
from penstock.planning.quantity import (
    MONTH_HOURS,
    Amount,
    AtLeastOne,
    Count,
    Dollars,
    Inputs,
    Tokens,
    cents,
    exact,
    money,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.book import PriceRow
from penstock.pricing.finetune import FineTunePrice


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tune(Inputs):
    """One task, done by a long prompt, by a tuned model, or by retrieval."""

    requests_per_month: Count = 100_000
    """Requests a month."""
    prompt_model: str = "gpt-4o"
    """The model that gets the long prompt."""
    prompt_input_tokens: Tokens = 500
    """Tokens sent with each request: instructions, examples, question."""
    output_tokens: Tokens = 300
    """Tokens received for each request, whichever way."""
    tuned_model: str = "gpt-4.1-mini"
    """The model to tune."""
    tuned_input_tokens: Tokens = 500
    """Tokens sent to the tuned model; fewer, if the instructions are trained in."""
    training_tokens: Amount = Decimal(2)
    """Tokens of the training set, in millions."""
    epochs: AtLeastOne = 3
    """Passes over the training set."""
    retrainings_per_year: Count = 4
    """Trainings a year, the first one included."""
    preparation_cost: Dollars = Decimal(0)
    """Dollars a year for collecting and labelling examples."""
    hosting_hours: Amount = Decimal(MONTH_HOURS)
    """Hours a month that the tuned model is deployed; 0 for a tier without hosting."""
    rag_model: str = "gpt-4o-mini"
    """The model that answers from retrieved text."""
    rag_input_tokens: Tokens = 2000
    """Tokens sent with retrieved text."""
    rag_monthly_cost: Dollars = Decimal("73.73")
    """Dollars a month for the index and its updates."""
    rag_per_request: Dollars = Decimal("0.0000004")
    """Dollars per request for embedding the question and reranking."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to do the task."""

    way: str
    model: str
    fixed_per_month: Dollars
    """Hosting, training spread over the year, index."""
    per_request: Dollars
    per_month: Dollars
    cheaper_than_prompt_from: Count | None
    """Requests a month; empty: never."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TunePlan(Answer):
    """Which way is the cheapest, and from which volume."""

    cheapest: str
    break_even_requests: Count | None
    """Requests a month from which the tuned model beats the prompt, hosting and training included."""
    break_even_hosting_only: Count | None
    """The same with hosting alone, as if training were free."""
    training_cost: Dollars
    """One training."""
    hosting_per_month: Dollars
    ways: tuple[Way, ...]


def tune(inputs: Tune, prices: Prices, finetunes: Mapping[str, FineTunePrice]) -> TunePlan:
    """Compare the three ways; every break-even is computed, none is a rule of thumb."""
    prompt = prices.row(inputs.prompt_model, field="prompt_model", unit="output")
    tuned = prices.row(inputs.tuned_model, field="tuned_model", unit="output")
    rag = prices.row(inputs.rag_model, field="rag_model", unit="output")
    models = (inputs.prompt_model, inputs.tuned_model, inputs.rag_model)
    price = finetunes.get(tuned.model.lower())
    if price is None:
        raise PlanError("tuned_model", f"no fine-tuning price of {tuned.model}; known: {', '.join(finetunes)}")
    training = inputs.training_tokens * inputs.epochs * price.training_per_million
    hosting = inputs.hosting_hours * price.hosting_per_hour
    fixed = _fixed(inputs, price)
    by_prompt = call_cost(prompt, inputs.prompt_input_tokens, inputs.output_tokens)
    by_tuned = call_cost(tuned, inputs.tuned_input_tokens, inputs.output_tokens)
    by_rag = call_cost(rag, inputs.rag_input_tokens, inputs.output_tokens) + inputs.rag_per_request
    ways = (
        _way("prompt", inputs.prompt_model, Decimal(0), by_prompt, by_prompt, inputs.requests_per_month),
        _way("fine-tune", inputs.tuned_model, fixed, by_tuned, by_prompt, inputs.requests_per_month),
        _way("retrieve", inputs.rag_model, inputs.rag_monthly_cost, by_rag, by_prompt, inputs.requests_per_month),
    )
    best = min(ways, key=lambda way: way.per_month)
    least = break_even(fixed, by_prompt - by_tuned)
    return TunePlan(
        answer=_sentence(inputs, best, least),
        cheapest=best.way,
        break_even_requests=least,
        break_even_hosting_only=break_even(hosting, by_prompt - by_tuned),
        training_cost=cents(training),
        hosting_per_month=cents(hosting),
        ways=ways,
        notes=(
            *(note for model in dict.fromkeys(models) for note in prices.retirement_note(model)),
            "The same quality is taken for granted: try the smaller model with the long prompt first.",
            "A tuned model must be trained again when its base model retires.",
            "Retrieval is for knowledge that changes, tuning for form and style; together they also add up in cost.",
        ),
        prices=(
            *(used(row, "input", "output") for row in {prompt.id: prompt, tuned.id: tuned, rag.id: rag}.values()),
            _used(price),
        ),
        assumptions=(
            f"A month has {MONTH_HOURS} hours; the tuned model is deployed all the time unless hosting hours say less.",
            "Training is spread over the year; each epoch bills every token of the set.",
        ),
        corrections=_corrections(prices, finetunes),
        moved="the monthly cost of the tuned model (it never breaks even)" if least is None else "the break-even",
        sensitivity=sensitivity(inputs, lambda changed: _tuned_month(changed, price, tuned), leave_out=NOT_TUNED)
        if least is None
        else sensitivity(
            inputs, lambda changed: _least(changed, price, prompt, tuned, least), leave_out=NOT_TUNED, unit="requests"
        ),
    )


def break_even(fixed: Decimal, saved_per_request: Decimal) -> int | None:
    """Return requests a month that earn the fixed cost back; None: never."""
    if saved_per_request <= 0:
        return None
    return int((fixed / saved_per_request).to_integral_value(rounding=ROUND_CEILING))


def _way(name: str, model: str, fixed: Decimal, each: Decimal, by_prompt: Decimal, volume: int) -> Way:  # noqa: PLR0917
    return Way(
        way=name,
        model=model,
        fixed_per_month=cents(fixed),
        per_request=exact(ratio_of(each)),
        per_month=cents(fixed + each * volume),
        cheaper_than_prompt_from=None if name == "prompt" else break_even(fixed, by_prompt - each),
    )


def ratio_of(amount: Decimal) -> Decimal:
    """Keep dollars per request to a hundred-millionth."""
    return amount.quantize(Decimal("0.00000001")).normalize() + 0


NOT_TUNED = ("rag_input_tokens", "rag_monthly_cost", "rag_per_request")
"""Inputs that say nothing about the tuned model."""


def _fixed(inputs: Tune, price: FineTunePrice) -> Decimal:
    """Return dollars a month without a single request: hosting, training and preparation."""
    training = inputs.training_tokens * inputs.epochs * price.training_per_million * inputs.retrainings_per_year
    return inputs.hosting_hours * price.hosting_per_hour + (training + inputs.preparation_cost) / 12


def _tuned_month(inputs: Tune, price: FineTunePrice, tuned: PriceRow) -> Decimal:
    each = call_cost(tuned, inputs.tuned_input_tokens, inputs.output_tokens)
    return _fixed(inputs, price) + each * inputs.requests_per_month


def _least(inputs: Tune, price: FineTunePrice, prompt: PriceRow, tuned: PriceRow, known: int) -> Decimal:
    """Return the break-even of changed inputs; where there is none, the known one: nothing can be shown."""
    saved = call_cost(prompt, inputs.prompt_input_tokens, inputs.output_tokens) - call_cost(
        tuned, inputs.tuned_input_tokens, inputs.output_tokens
    )
    least = break_even(_fixed(inputs, price), saved)
    return Decimal(known if least is None else least)


def _sentence(inputs: Tune, best: Way, least: int | None) -> str:
    when = "never" if least is None else f"from {least:,} requests a month"
    return (
        f"At {inputs.requests_per_month:,} requests a month the cheapest way is to {best.way} "
        f"({best.model}, {money(best.per_month)}); tuning {inputs.tuned_model} beats the prompt on "
        f"{inputs.prompt_model} {when}."
    )


def _used(price: FineTunePrice) -> PriceUsed:
    return PriceUsed(
        id=f"azure-finetune/{price.model}@{price.valid_from}",
        valid_from=price.valid_from,
        source=price.source,
        read=price.read,
        rates={"training_million_tokens": price.training_per_million, "hosting_hour": price.hosting_per_hour},
    )


def _corrections(prices: Prices, finetunes: Mapping[str, FineTunePrice]) -> tuple[Correction, ...]:
    big, small, price = prices.find("gpt-4o"), prices.find("gpt-4.1-mini"), finetunes.get("gpt-4.1-mini")
    if big is None or small is None or price is None:
        return ()
    saved = call_cost(big, 500, 300) - call_cost(small, 500, 300)
    hosting = price.hosting_per_hour * MONTH_HOURS
    least = int(ratio(hosting, saved) / 1000 + Decimal("0.5")) * 1000
    return (
        Correction(
            section="7.12",
            says="Fine-tuning is cheaper above 50K-100K requests a month",
            computed=f"{least:,} requests a month, hosting alone",
            why=f"gpt-4.1-mini against gpt-4o on the chatbot: {money(hosting)} a month of hosting / {money(saved)} "
            "saved per request.",
        ),
        Correction(
            section="7.12",
            says="Fine-tuning costs GPU hours ($100-$10,000+)",
            computed="training tokens and hosting",
            why="Azure OpenAI bills tokens of training ($1.50-$25 a million) and $1.70 for each hour it is deployed.",
        ),
    )
