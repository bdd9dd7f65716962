"""What a prompt cache and a semantic cache save, net of what they cost (guide, sections 7.5 and 7.6)."""

import dataclasses
from decimal import Decimal

from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import Prices, PriceUsed, rate, used
from penstock.planning.quantity import (
    MONTH_DAYS,
    Balance,
    Count,
    Days,
    Dollars,
    Growth,
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

LEAST_PREFIX, STEP = 1024, 128
"""A prefix shorter than this is never cached; beyond it, whole steps are (OpenAI and Azure OpenAI, up to GPT-5.5)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cache(Inputs):
    """A workload whose prompts begin alike, or whose questions come again."""

    model: str
    """The model that serves it."""
    requests_per_day: Count
    """Requests on a usual day."""
    prefix_tokens: Tokens = 1024
    """Tokens at the head of every prompt that never change."""
    variable_tokens: Tokens = 150
    """Tokens of each prompt that change."""
    output_tokens: Tokens = 300
    """Tokens received for each request."""
    prompt_hit_rate: Share = Decimal("0.9")
    """Share of the calls that find the prefix in the provider's prompt cache."""
    semantic_hit_rate: Share = Decimal(0)
    """Share of the requests answered from a semantic cache, without a call."""
    wrong_hit_rate: Share = Decimal("0.02")
    """Share of the semantic hits that answer another question."""
    wrong_hit_cost: Dollars = Decimal(0)
    """What one wrong answer costs."""
    audit_share: Share = Decimal("0.05")
    """Share of the semantic hits that are asked again, to measure wrong ones."""
    query_tokens: Tokens = 20
    """Tokens embedded for each lookup."""
    embedding_model: str = "text-embedding-3-small"
    """The model that embeds the question."""
    store_cost: Dollars = Decimal(0)
    """Dollars a month for the store of embeddings and answers."""
    days: Days = MONTH_DAYS
    """Days of a month."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CachedModel:
    """The prompt cache on another model."""

    model: str
    discount: Growth
    """What a cached token costs less than a fresh one."""
    without: Dollars
    """The prefix, a month, without the cache."""
    with_cache: Dollars
    saving: Balance


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan(Answer):
    """What both caches save together, and each alone."""

    cost_without: Dollars
    """A month without any cache."""
    cost_with: Dollars
    """A month with both caches, their own cost included."""
    saving: Balance
    saving_share: Saved
    cached_prefix: Tokens
    """Tokens of the prefix that the prompt cache can hold."""
    discount: Growth
    """What a cached token of this model costs less."""
    prefix_cost_per_day: Dollars
    """The prefix without the prompt cache."""
    cached_prefix_cost_per_day: Dollars
    prompt_cache_saving: Balance
    """A month, if the prompt cache stands alone."""
    calls_per_day: Count
    """Calls that still reach the model."""
    semantic_saving: Balance
    """A month: calls avoided, less embedding, store, audit and wrong hits."""
    embedding_cost: Dollars
    audit_cost: Dollars
    wrong_hits: Count
    """Wrong answers a month."""
    wrong_hits_cost: Dollars
    worthless_at: Dollars | None
    """A wrong hit that costs this much eats the whole saving of the semantic cache; empty: there is no wrong hit."""
    models: tuple[CachedModel, ...]
    """The same prefix on every model of the book."""


def cache(inputs: Cache, prices: Prices) -> CachePlan:
    """Work out what both caches save; a semantic hit never reaches the prompt cache."""
    row = prices.row(inputs.model, input_tokens=inputs.prefix_tokens + inputs.variable_tokens)
    embedding = prices.row(inputs.embedding_model, field="embedding_model") if inputs.semantic_hit_rate else None
    volume = inputs.requests_per_day * inputs.days
    plain, cached = _call(inputs, row, Decimal(0)), _call(inputs, row, inputs.prompt_hit_rate)
    hits = volume * inputs.semantic_hit_rate
    lookup = volume * inputs.query_tokens * rate(embedding, "input") if embedding else Decimal(0)
    store = inputs.store_cost if embedding else Decimal(0)
    audit, wrong = hits * inputs.audit_share * cached, hits * inputs.wrong_hit_rate
    avoided = hits * cached
    semantic = avoided - lookup - store - audit - wrong * inputs.wrong_hit_cost
    without, both = volume * plain, volume * cached - semantic
    prefix = inputs.prefix_tokens * rate(row, "input")
    return CachePlan(
        answer=_sentence(inputs, without, both),
        cost_without=cents(without),
        cost_with=cents(both),
        saving=cents(without - both),
        saving_share=ratio(without - both, without),
        cached_prefix=cacheable(inputs.prefix_tokens),
        discount=1 - ratio(rate(row, "cache_read"), rate(row, "input")),
        prefix_cost_per_day=exact(prefix * inputs.requests_per_day),
        cached_prefix_cost_per_day=exact((prefix - plain + cached) * inputs.requests_per_day),
        prompt_cache_saving=exact(volume * (plain - cached)),
        calls_per_day=int(inputs.requests_per_day * (1 - inputs.semantic_hit_rate)),
        semantic_saving=cents(semantic),
        embedding_cost=exact(lookup),
        audit_cost=cents(audit),
        wrong_hits=int(wrong),
        wrong_hits_cost=cents(wrong * inputs.wrong_hit_cost),
        worthless_at=cents(max(Decimal(0), avoided - lookup - store - audit) / wrong) if wrong else None,
        models=_models(inputs, prices),
        notes=(*prices.retirement_note(inputs.model), *_notes(inputs, row)),
        prices=_used(row, embedding),
        assumptions=_assumptions(inputs),
        corrections=CORRECTIONS,
        moved="the monthly cost",
        sensitivity=sensitivity(inputs, lambda changed: _total(changed, row, embedding), leave_out=("days",)),
    )


def cacheable(prefix: int) -> int:
    """Return how many tokens of a prefix the prompt cache holds: none below the minimum, whole steps above it."""
    return 0 if prefix < LEAST_PREFIX else LEAST_PREFIX + (prefix - LEAST_PREFIX) // STEP * STEP


def _call(inputs: Cache, row: PriceRow, hit_rate: Decimal) -> Decimal:
    """Return dollars of one call; where writing to the cache is charged, each miss writes the prefix."""
    held = cacheable(inputs.prefix_tokens) if hit_rate else 0
    fresh = inputs.prefix_tokens + inputs.variable_tokens - held
    head = held * (hit_rate * rate(row, "cache_read") + (1 - hit_rate) * rate(row, "cache_write"))
    return head + fresh * rate(row, "input") + inputs.output_tokens * rate(row, "output")


def _total(inputs: Cache, row: PriceRow, embedding: PriceRow | None) -> Decimal:
    volume, cached = inputs.requests_per_day * inputs.days, _call(inputs, row, inputs.prompt_hit_rate)
    hits = volume * inputs.semantic_hit_rate
    extra = hits * (inputs.audit_share * cached + inputs.wrong_hit_rate * inputs.wrong_hit_cost)
    lookup = volume * inputs.query_tokens * rate(embedding, "input") + inputs.store_cost if embedding else Decimal(0)
    return (volume - hits) * cached + extra + lookup


def _models(inputs: Cache, prices: Prices) -> tuple[CachedModel, ...]:
    volume, lines = inputs.requests_per_day * inputs.days, []
    for name in prices.models():
        row = prices.find(name)
        if row is None or not {"input", "cache_read", "output"} <= row.rates.keys():
            continue
        without = inputs.prefix_tokens * rate(row, "input") * volume
        saved = (_call(inputs, row, Decimal(0)) - _call(inputs, row, inputs.prompt_hit_rate)) * volume
        lines.append(
            CachedModel(
                model=row.model,
                discount=1 - ratio(rate(row, "cache_read"), rate(row, "input")),
                without=cents(without),
                with_cache=cents(without - saved),
                saving=cents(saved),
            )
        )
    return tuple(sorted(lines, key=lambda line: (-line.discount, line.model)))


def _sentence(inputs: Cache, without: Decimal, both: Decimal) -> str:
    saving = without - both
    word = "saves" if saving >= 0 else "loses"
    what = "Prompt and semantic cache" if inputs.semantic_hit_rate else "The prompt cache"
    return (
        f"{what} on {inputs.model} {word} {money(abs(cents(saving)))} a month "
        f"({percent(abs(ratio(saving, without)))}): {money(cents(both))} instead of {money(cents(without))}."
    )


def _notes(inputs: Cache, row: PriceRow) -> tuple[str, ...]:
    notes = []
    if 0 < inputs.prefix_tokens < LEAST_PREFIX:
        short = LEAST_PREFIX - inputs.prefix_tokens
        notes.append(
            f"A prefix of {inputs.prefix_tokens} tokens is never cached: {LEAST_PREFIX} is the least. Moving {short} "
            "stable tokens (examples, tool descriptions) into it may cost less than leaving it short."
        )
    if "cache_read" not in row.rates:
        notes.append(f"{row.model} has no cached price in this book: its prompt cache saves nothing.")
    if "cache_write" in row.rates and inputs.prompt_hit_rate < 1:
        more = ratio(rate(row, "cache_write"), rate(row, "input"))
        notes.append(f"A miss writes the prefix at {more} times the input price: a prefix that changes costs more.")
    if inputs.semantic_hit_rate:
        notes.append("Safe hit rates measured on real streams run from near 0 % (conversations) to about 69 % (FAQ).")
        if not inputs.wrong_hit_cost:
            notes.append("A wrong answer is taken to cost nothing; say what it costs with --wrong-hit-cost.")
    return tuple(notes)


def _assumptions(inputs: Cache) -> tuple[str, ...]:
    lines = [
        f"A month has {inputs.days} days.",
        f"Prompt cache: at least {LEAST_PREFIX} tokens, steps of {STEP}, entries live minutes; hit rate as given.",
    ]
    if inputs.semantic_hit_rate:
        lines.append("Every request is embedded once; a hit costs no call; audited hits are asked again in full.")
    return tuple(lines)


def _used(row: PriceRow, embedding: PriceRow | None) -> tuple[PriceUsed, ...]:
    return (used(row), *((used(embedding, "input"),) if embedding else ()))


CORRECTIONS = (
    Correction(
        section="7.5",
        says="Prompt caching takes 50% off cached input",
        computed="50% on gpt-4o, gpt-4o-mini, o1 and o3-mini; 75% on gpt-4.1, o3 and o4-mini; 90% on gpt-5 and later",
        why="The discount belongs to the model's family. Prompts under 1,024 tokens are never cached, and GPT-5.6 and "
        "later charge 1.25 times the input price for writing.",
    ),
    Correction(
        section="7.5",
        says="Caching a 1,024-token prompt saves $384 a month",
        computed="$384 only if every call hits",
        why="At a hit rate of 90 % it is $345.60; entries live for minutes, so quiet hours miss.",
    ),
    Correction(
        section="7.6, 7.14, 7.16",
        says="Semantic caching saves 60-80% / 30-70% / 30-70%",
        computed="19-69% on question streams at 2% wrong hits, near 0 on conversations",
        why="The guide's figures contradict each other and leave out embedding, store and wrong hits.",
    ),
)
