"""What retrieval costs: embedding, the index, the retrieved text in every prompt, updates (guide, section 7.6)."""

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import Prices, PriceUsed, call_cost, rate, used
from penstock.planning.quantity import (
    MONTH_DAYS,
    MONTH_HOURS,
    Amount,
    AtLeastOne,
    Balance,
    Count,
    Days,
    Dollars,
    Gigabytes,
    Inputs,
    Saved,
    Share,
    Tokens,
    ceil_to,
    cents,
    money,
    quotient,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.book import PriceRow
from penstock.pricing.search import SearchTier

Tier = Literal["auto", "basic", "s1", "s2", "s3", "l1", "l2"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rag(Inputs):
    """A body of documents, the questions asked of it, and how they are answered."""

    documents: Count = 100_000
    """Documents in the index."""
    tokens_per_document: Tokens = 800
    """Tokens of a document."""
    chunk_tokens: AtLeastOne = 400
    """Tokens of a chunk: what is embedded, found and sent as one."""
    overlap: Share = Decimal("0.1")
    """Share of a chunk that repeats the one before."""
    changed_share: Share = Decimal("0.05")
    """Share of the documents that change in a month."""
    index_builds: Count = 4
    """Updates of the index in a month, if each embeds everything again."""
    queries_per_day: Count = 10_000
    """Questions on a usual day."""
    query_tokens: Tokens = 20
    """Tokens of a question."""
    model: str = "gpt-4o"
    """The model that answers."""
    prompt_tokens: Tokens = 300
    """Tokens of instructions and question in each prompt."""
    output_tokens: Tokens = 300
    """Tokens of an answer."""
    top_k: Count = 20
    """Chunks that are sent without reranking."""
    reranked_k: Count = 5
    """Chunks that are sent after reranking."""
    rerank_per_thousand: Dollars = Decimal(1)
    """Dollars for reranking the hits of a thousand questions."""
    embedding_model: str = "text-embedding-3-small"
    """The model that embeds."""
    batch_embedding: bool = False
    """Embed the documents by the batch API."""
    dimensions: AtLeastOne = 1536
    """Numbers of a vector."""
    bytes_per_number: AtLeastOne = 4
    """4: 32-bit floats; 1: 8-bit integers."""
    index_overhead: Share = Decimal("0.1")
    """What the index adds to its vectors."""
    tier: Tier = "auto"
    """Tier of Azure AI Search; auto: the cheapest that fits."""
    peak_queries_per_second: Amount = Decimal(5)
    """Questions in the busiest second."""
    queries_per_replica: Amount = Decimal(15)
    """Questions a second that one replica answers: measure it, nobody publishes it."""
    available: bool = True
    """Two replicas at least, as the service level for queries demands."""
    days: Days = MONTH_DAYS
    """Days of a month."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One tier that may hold the index."""

    tier: str
    replicas: Count
    partitions: Count
    units: Count
    monthly_cost: Dollars
    fits: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RagPlan(Answer):
    """What a month of retrieval costs."""

    monthly_cost: Dollars
    """With reranking and incremental updates."""
    chunks: Count
    embedded_tokens: Tokens
    """Of the whole body, overlap included."""
    first_embedding: Dollars
    """Once."""
    reembedding_full: Dollars
    """A month, everything at each update."""
    reembedding_incremental: Dollars
    """A month, only what has changed."""
    query_embedding: Dollars
    index_size: Gigabytes
    search_tier: str
    search_cost: Dollars
    one_replica: Dollars
    """What one replica more or less changes a month."""
    rerank_cost: Dollars
    generation_without_rerank: Dollars
    generation: Dollars
    rerank_saving: Balance
    """A month, its own cost included."""
    rerank_saving_share: Saved
    cost_per_question: Dollars | None
    """Empty: nobody asks."""
    without_retrieval: Dollars
    """The same answers from the model alone, a month."""
    services: tuple[Service, ...]


def rag(inputs: Rag, prices: Prices, tiers: Mapping[str, SearchTier]) -> RagPlan:
    """Add up embedding, search, reranking and generation."""
    row, embedding = prices.row(inputs.model), prices.row(inputs.embedding_model, field="embedding_model")
    bulk = prices.find(inputs.embedding_model, mode="batch") if inputs.batch_embedding else None
    if inputs.batch_embedding and bulk is None:
        raise PlanError("batch_embedding", f"no batch price for {inputs.embedding_model}")
    chunks, tokens = _chunks(inputs)
    whole = tokens * rate(bulk or embedding, "input")
    size = ratio(Decimal(chunks) * inputs.dimensions * inputs.bytes_per_number * (1 + inputs.index_overhead), 10**9)
    services = _services(inputs, size, tiers)
    service = _choose(inputs, services)
    questions = inputs.queries_per_day * inputs.days
    asked = questions * inputs.query_tokens * rate(embedding, "input")
    rerank = inputs.rerank_per_thousand * questions / 1000
    before, after = (_generation(inputs, row, k) for k in (inputs.top_k, inputs.reranked_k))
    alone = _generation(inputs, row, 0)
    total = whole * inputs.changed_share + asked + service.monthly_cost + rerank + after
    return RagPlan(
        answer=f"{money(cents(total))} a month for {questions:,} questions; sending {inputs.reranked_k} chunks instead "
        f"of {inputs.top_k} {_saves(before - after - rerank)}, reranking included.",
        monthly_cost=cents(total),
        chunks=chunks,
        embedded_tokens=tokens,
        first_embedding=cents(whole),
        reembedding_full=cents(whole * inputs.index_builds),
        reembedding_incremental=cents(whole * inputs.changed_share),
        query_embedding=cents(asked),
        index_size=size.quantize(Decimal("0.01")),
        search_tier=service.tier,
        search_cost=service.monthly_cost,
        one_replica=cents(tiers[service.tier].hourly * MONTH_HOURS * service.partitions),
        rerank_cost=cents(rerank),
        generation_without_rerank=cents(before),
        generation=cents(after),
        rerank_saving=cents(before - after - rerank),
        rerank_saving_share=ratio(before - after - rerank, before),
        cost_per_question=quotient(total, questions),
        without_retrieval=cents(alone),
        services=services,
        notes=NOTES,
        prices=_used(row, embedding, bulk, tiers[service.tier]),
        assumptions=(
            f"Tokens: {inputs.days} days a month. Search: {MONTH_HOURS} hours a month.",
            "Replicas follow the questions in the busiest second, partitions the size of the vectors.",
            f"Chunks in the prompt have {inputs.chunk_tokens} tokens each and are not cached.",
        ),
        corrections=CORRECTIONS,
        moved="the monthly cost",
        sensitivity=sensitivity(
            inputs,
            lambda changed: _total(changed, row, embedding, bulk, tiers),
            leave_out=("days", "top_k", "index_builds", "bytes_per_number"),
        ),
    )


def _chunks(inputs: Rag) -> tuple[int, int]:
    """Return chunks and embedded tokens: each chunk but a document's first repeats the overlap."""
    step = inputs.chunk_tokens * (1 - inputs.overlap)
    if inputs.tokens_per_document <= inputs.chunk_tokens:
        each, tokens = 1, inputs.tokens_per_document
    elif not step:
        raise PlanError("overlap", "chunks that repeat each other wholly never end; 10 % is usual")
    else:
        each = 1 + ceil_to((inputs.tokens_per_document - inputs.chunk_tokens) / step, 1)
        tokens = inputs.tokens_per_document + int((each - 1) * inputs.chunk_tokens * inputs.overlap)
    return inputs.documents * each, inputs.documents * tokens


def _generation(inputs: Rag, row: PriceRow, chunks: int) -> Decimal:
    sent = inputs.prompt_tokens + chunks * inputs.chunk_tokens
    return call_cost(row, sent, inputs.output_tokens) * inputs.queries_per_day * inputs.days


def _services(inputs: Rag, size: Decimal, tiers: Mapping[str, SearchTier]) -> tuple[Service, ...]:
    if not inputs.queries_per_replica:
        raise PlanError("queries_per_replica", "0 questions a second per replica answer nothing")
    replicas = ceil_to(inputs.peak_queries_per_second / inputs.queries_per_replica, 1, 2 if inputs.available else 1)
    lines = []
    for tier in tiers.values():
        partitions = ceil_to(size / tier.gigabytes, 1, 1)
        if partitions in (5, 7, 8, 9, 10, 11):  # a service has 1, 2, 3, 4, 6 or 12
            partitions = 6 if partitions == 5 else 12
        units = replicas * partitions
        fits = partitions <= tier.partitions and replicas <= tier.replicas and units <= tier.units
        lines.append(
            Service(
                tier=tier.tier,
                replicas=replicas,
                partitions=partitions,
                units=units,
                monthly_cost=cents(units * tier.hourly * MONTH_HOURS),
                fits=fits,
            )
        )
    return tuple(lines)


def _choose(inputs: Rag, services: tuple[Service, ...]) -> Service:
    fitting = [each for each in services if each.fits and inputs.tier in ("auto", each.tier)]
    if not fitting:
        raise PlanError("tier", f"the index does not fit on {'any tier' if inputs.tier == 'auto' else inputs.tier}")
    return min(fitting, key=lambda each: each.monthly_cost)


def _total(
    inputs: Rag, row: PriceRow, embedding: PriceRow, bulk: PriceRow | None, tiers: Mapping[str, SearchTier]
) -> Decimal:
    chunks, tokens = _chunks(inputs)
    size = ratio(Decimal(chunks) * inputs.dimensions * inputs.bytes_per_number * (1 + inputs.index_overhead), 10**9)
    questions = inputs.queries_per_day * inputs.days
    return (
        tokens * rate(bulk or embedding, "input") * inputs.changed_share
        + questions * inputs.query_tokens * rate(embedding, "input")
        + _choose(inputs, _services(inputs, size, tiers)).monthly_cost
        + inputs.rerank_per_thousand * questions / 1000
        + _generation(inputs, row, inputs.reranked_k)
    )


def _saves(amount: Decimal) -> str:
    return f"saves {money(cents(amount))}" if amount >= 0 else f"costs {money(cents(-amount))} more"


def _used(row: PriceRow, embedding: PriceRow, bulk: PriceRow | None, tier: SearchTier) -> tuple[PriceUsed, ...]:
    search = PriceUsed(
        id=f"azure-search/{tier.tier}@{tier.valid_from}",
        valid_from=tier.valid_from,
        source=tier.source,
        read=tier.read,
        rates={"search_unit_hour": tier.hourly},
    )
    return (used(row, "input", "output"), used(embedding, "input"), *((used(bulk, "input"),) if bulk else ()), search)


NOTES = (
    "Search prices are not verified and differ by region: compare them with your price sheet.",
    "Replicas follow questions, partitions follow size; a larger tier is not a faster one.",
    "A change of the chunking or of the embedding model embeds everything again, incremental or not.",
    "Test answers with fewer chunks on your own questions before you trust a smaller k.",
)

CORRECTIONS = (
    Correction(
        section="7.6",
        says="Limit to the top 3-5 chunks",
        computed="98.1 % of the answers in 3 chunks, 98.7 % in 5 (98.2 % in 10 without reranking)",
        why="Measured on 445 chunks with one fact per question: an upper bound, not a promise.",
    ),
)
