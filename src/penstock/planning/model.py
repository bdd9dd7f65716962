"""Which model for a task: the decision tree and the right-sizing matrix (guide, section 7.4)."""

import dataclasses
from decimal import Decimal
from typing import Literal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.models import EMBEDDINGS, MODELS, Modality, ModelFacts, reasons
from penstock.planning.prices import Prices, call_cost, used
from penstock.planning.quantity import (
    MONTH_DAYS,
    Balance,
    Count,
    Days,
    Dollars,
    Inputs,
    Saved,
    Tokens,
    cents,
    money,
    percent,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.book import PriceRow

Task = Literal[
    "classification",
    "summarization",
    "extraction",
    "support",
    "moderation",
    "code",
    "rag",
    "math",
    "translation",
    "embeddings",
]
Quality = Literal["basic", "good", "best"]
Patience = Literal["fast", "normal", "day"]


@dataclasses.dataclass(frozen=True, slots=True)
class RightSize:
    """One line of the right-sizing matrix."""

    task: str
    title: str
    tier: int
    """Size that good quality needs: 1 (nano) to 3 (large)."""
    recommended: str
    """By the guide."""
    why_not_bigger: str
    guide_saving: str
    thinks: bool = False
    """The task needs chains of reasoning."""
    codes: bool = False


MATRIX = (
    RightSize(
        "classification", "Intent classification, routing", 1, "gpt-4.1-nano", "A label needs no reasoning.", "96%"
    ),
    RightSize("summarization", "Text summarization", 2, "gpt-4o-mini", "Small models summarize well.", "94%"),
    RightSize(
        "extraction", "Structured data extraction", 2, "gpt-4o-mini", "A schema keeps a small model in line.", "94%"
    ),
    RightSize(
        "support", "Customer support questions", 2, "gpt-4o-mini", "Answers are short, the domain is known.", "94%"
    ),
    RightSize("moderation", "Content moderation", 1, "gpt-4.1-nano", "It is a classification.", "96%"),
    RightSize(
        "code",
        "Code generation",
        3,
        "gpt-4.1",
        "It is the model for code of its price; only dearer ones do better.",
        "20%",
        codes=True,
    ),
    RightSize(
        "rag",
        "Answers over many documents",
        3,
        "gpt-4.1",
        "Joining documents needs a large model, not a reasoning one.",
        "baseline",
    ),
    RightSize(
        "math", "Mathematics, science", 2, "o3-mini", "A small reasoning model thinks long enough.", "56%", thinks=True
    ),
    RightSize("translation", "Translation", 2, "gpt-4o-mini", "Quality across languages is high.", "94%"),
    RightSize("embeddings", "Embeddings", 1, "text-embedding-3-small", "It is made for this.", "99%+"),
)

QUESTIONS = (
    ("task", "What is the task?", tuple(line.task for line in MATRIX)),
    ("quality", "How good must the answer be?", ("basic", "good", "best")),
    ("modality", "What goes in?", ("text", "image", "embedding")),
    ("context_tokens", "How many tokens does the longest prompt have?", ()),
    ("patience", "How long may an answer take?", ("fast", "normal", "day")),
)
"""The decision tree as an interview: field, question, answers."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model(Inputs):
    """A task and what it demands."""

    task: Task = "support"
    """What is to be done."""
    quality: Quality = "good"
    """Basic: mistakes are cheap. Best: mistakes are dear."""
    modality: Modality = "text"
    """What goes in."""
    context_tokens: Tokens = 8000
    """Tokens of the longest prompt and its answer."""
    patience: Patience = "normal"
    """Fast rules out models that think first; a day allows batch."""
    requests_per_day: Count = 10_000
    """Requests on a usual day."""
    input_tokens: Tokens = 500
    """Tokens sent with each request."""
    output_tokens: Tokens = 300
    """Visible tokens received for each request."""
    reasoning_tokens: Tokens = 1000
    """Hidden tokens a request on a model that reasons."""
    baseline: str = "gpt-4o"
    """The model that savings are measured against."""
    days: Days = MONTH_DAYS
    """Days of a month."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model for the task."""

    model: str
    monthly_cost: Dollars
    fits: bool
    why_not: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice(Answer):
    """The smallest model that is enough."""

    model: str
    why_not_bigger: str
    monthly_cost: Dollars
    saving: Balance
    """Dollars a month against the baseline."""
    saving_share: Saved
    guide_recommends: str
    path: tuple[str, ...]
    """The answers that led here."""
    candidates: tuple[Candidate, ...]


def model(inputs: Model, prices: Prices) -> ModelChoice:
    """Walk the decision tree: leave out what cannot do it, take the cheapest of the rest."""
    line = next(line for line in MATRIX if line.task == inputs.task)
    embeds = inputs.modality == "embedding" or inputs.task == "embeddings"
    candidates = _embeddings(inputs, prices) if embeds else _candidates(inputs, line, prices)
    fitting = [candidate for candidate in candidates if candidate.fits]
    if not fitting:
        raise PlanError("context_tokens", f"no model of the table does this task with {inputs.context_tokens:,} tokens")
    best = min(fitting, key=lambda candidate: (candidate.monthly_cost, candidate.model))
    row = prices.row(best.model)
    base = prices.row(inputs.baseline, field="baseline")
    cost, other = _monthly(inputs, row, prices), _monthly(inputs, base, prices, embeds=embeds)
    usual = embeds or needed_tier(inputs, line) == line.tier
    why = line.why_not_bigger if usual else WHY_THIS_SIZE[inputs.quality]
    return ModelChoice(
        answer=f"{best.model} for {line.title.lower()}: {money(best.monthly_cost)} a month, "
        f"{_against(inputs.baseline, ratio(other - cost, other))}. {why}",
        model=best.model,
        why_not_bigger=f"{why}{_next_size(best, fitting)}",
        monthly_cost=best.monthly_cost,
        saving=cents(other - cost),
        saving_share=ratio(other - cost, other),
        guide_recommends=line.recommended,
        path=_path(inputs, line),
        candidates=tuple(sorted(candidates, key=lambda each: (not each.fits, each.monthly_cost, each.model))),
        notes=_notes(inputs, line, prices),
        prices=tuple(used(each) for each in {row.id: row, base.id: base}.values()),
        assumptions=(
            f"A month has {inputs.days} days.",
            f"Models that reason take {inputs.reasoning_tokens:,} hidden tokens a request.",
            "Sizes are a judgement: test the choice on your own cases before and after.",
        ),
        corrections=CORRECTIONS,
        moved="the monthly cost",
        sensitivity=sensitivity(
            inputs, lambda changed: _monthly(changed, row, prices), leave_out=("days", "context_tokens")
        ),
    )


WHY_THIS_SIZE = {
    "basic": "Mistakes are cheap: one size less than usual will do.",
    "best": "Mistakes are dear: one size more than usual, and no more than that.",
}
"""Why the model is of this size, where the quality and not the task decides it."""


def _next_size(best: Candidate, fitting: list[Candidate]) -> str:
    """Say what the next size up would cost; nothing, if there is none."""
    sizes = {facts.name: facts.tier for facts in MODELS}
    bigger = [each for each in fitting if sizes.get(each.model, 0) > sizes.get(best.model, 0)]
    if not bigger:
        return ""
    after = min(bigger, key=lambda each: (sizes[each.model], each.monthly_cost))
    return f" The next size up, {after.model}, costs {money(after.monthly_cost - best.monthly_cost)} more a month."


def needed_tier(inputs: Model, line: RightSize) -> int:
    """Return the size that the task needs: one more for the best quality, one less where mistakes are cheap."""
    return max(1, line.tier + {"basic": -1, "good": 0, "best": 1}[inputs.quality])


def _candidates(inputs: Model, line: RightSize, prices: Prices) -> list[Candidate]:
    found = []
    for facts in MODELS:
        row = prices.find(facts.name)
        if row is not None and {"input", "output"} <= row.rates.keys():
            why = _why_not(inputs, line, facts, prices)
            cost = cents(_monthly(inputs, row, prices))
            found.append(Candidate(model=row.model, monthly_cost=cost, fits=not why, why_not=why))
    return found


def _why_not(inputs: Model, line: RightSize, facts: ModelFacts, prices: Prices) -> str:
    day = prices.retires(facts.name)
    checks = (
        (day is not None and day <= prices.at.date(), f"retired on {day}"),
        (facts.tier < needed_tier(inputs, line), "too small"),
        (facts.context < inputs.context_tokens, f"context of {facts.context:,} tokens"),
        (inputs.modality == "image" and not facts.images, "does not read images"),
        (line.thinks and not reasons(facts.name), "does not reason"),
        (inputs.patience == "fast" and reasons(facts.name) and not line.thinks, "thinks before it answers"),
        (line.codes and inputs.quality != "basic" and not facts.codes, "others of its size code better"),
    )
    return "; ".join(reason for wrong, reason in checks if wrong)


def _embeddings(inputs: Model, prices: Prices) -> list[Candidate]:
    rows = [row for name in EMBEDDINGS if (row := prices.find(name)) is not None]
    volume = inputs.requests_per_day * inputs.days
    return [
        Candidate(
            model=row.model, monthly_cost=cents(call_cost(row, inputs.input_tokens, 0) * volume), fits=True, why_not=""
        )
        for row in rows
    ]


def _monthly(inputs: Model, row: PriceRow, prices: Prices, *, embeds: bool = False) -> Decimal:
    """Return dollars a month; by the batch price, if the answer may take a day and there is one."""
    if "output" not in row.rates or embeds:
        return call_cost(row, inputs.input_tokens, 0) * inputs.requests_per_day * inputs.days
    if inputs.patience == "day":
        row = prices.find(row.model, mode="batch") or row
    received = inputs.output_tokens + (inputs.reasoning_tokens if reasons(row.model) else 0)
    return call_cost(row, inputs.input_tokens, received) * inputs.requests_per_day * inputs.days


def _against(baseline: str, share: Decimal) -> str:
    return f"{percent(abs(share))} {'less' if share >= 0 else 'more'} than {baseline}"


def _path(inputs: Model, line: RightSize) -> tuple[str, ...]:
    return (
        f"task: {line.title.lower()}",
        f"quality: {inputs.quality}, so size {needed_tier(inputs, line)} of 4",
        f"input: {inputs.modality}, up to {inputs.context_tokens:,} tokens",
        f"patience: {inputs.patience}",
    )


def _notes(inputs: Model, line: RightSize, prices: Prices) -> tuple[str, ...]:
    notes = list(prices.retirement_note(line.recommended))
    if inputs.modality == "image":
        notes.append(
            "An image on gpt-4o-mini takes 33 times the tokens that gpt-4o takes: it costs twice as much there."
        )
    if line.thinks:
        notes.append("Hidden reasoning tokens bill as output; measure them, they decide what a reasoning model costs.")
    return tuple(notes)


CORRECTIONS = (
    Correction(
        section="7.4",
        says="o3-mini is 56% cheaper than GPT-4o",
        computed="48 % dearer with 1,000 hidden tokens",
        why="56 % holds at equal tokens; 1,000 hidden tokens beside 300 visible ones make $0.00627 against $0.00425.",
    ),
    Correction(
        section="7.4",
        says="Recommends o3-mini; 7.2 lists o1 and DeepSeek-R1",
        computed="retired on Azure in 2026",
        why="DeepSeek-R1 on 2026-08-13, o1 and o3-mini on 2026-11-19: a recommendation must read the date.",
    ),
    Correction(
        section="7.2",
        says="The 100x rule",
        computed="214x for input, 429x for output",
        why="o1 against Phi-4 by the guide's own table; 120x with Azure's price of Phi-4.",
    ),
)


def right_sizes(prices: Prices) -> tuple[tuple[str, Decimal], ...]:
    """Return each task of the matrix with the computed saving of its recommended model against gpt-4o."""
    base, found = prices.row("gpt-4o"), []
    for line in MATRIX:
        row = prices.row(line.recommended)
        received = 300 if "output" in row.rates else 0
        cost, other = call_cost(row, 500, received), call_cost(base, 500, received)
        found.append((line.task, ratio(other - cost, other)))
    return tuple(found)
