"""What given text and pictures cost: counts come in, dollars come out (guide, section 7.2: content types)."""

import dataclasses
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.models import MODELS
from penstock.planning.prices import Prices, call_cost, rate, used
from penstock.planning.quantity import (
    MONTH_DAYS,
    Amount,
    Count,
    Days,
    Dollars,
    Inputs,
    Share,
    cents,
    exact,
    money,
    ratio,
)
from penstock.planning.quantity import (
    Tokens as TokenCount,
)
from penstock.planning.sensitivity import sensitivity

Content = Literal["english", "german", "french", "python", "javascript", "json", "chinese", "japanese", "korean"]

Detail = Literal["auto", "low", "high", "original"]


@dataclasses.dataclass(frozen=True, slots=True)
class ContentType:
    """How many tokens a kind of content takes."""

    content: str
    guide: str
    """Tokens for 1,000 words, by the guide."""
    per_thousand_words: int | None
    """Measured, o200k vocabulary, words between spaces; None where words are not separated by spaces."""
    characters_per_token: Decimal
    """Measured, o200k vocabulary."""


CONTENT_TYPES = (
    ContentType("english", "~1,300", 1283, Decimal("4.80")),
    ContentType("german", "~1,500", 1650, Decimal("5.02")),
    ContentType("french", "~1,500", 1454, Decimal("4.79")),
    ContentType("python", "~1,800", 2323, Decimal("4.22")),
    ContentType("javascript", "~1,800", 2746, Decimal("3.88")),
    ContentType("json", "~1,600", 3730, Decimal("3.43")),
    ContentType("chinese", "~2,000+", None, Decimal("1.80")),
    ContentType("japanese", "~2,000+", None, Decimal("1.54")),
    ContentType("korean", "~2,000+", 2441, Decimal("2.21")),
)
"""Measured on public texts (speeches, web, the Universal Declaration of Human Rights, source code); 2026-11."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Piece(Inputs):
    """Something that was counted."""

    name: str
    """A file's name, or `text`."""
    kind: str = "text"
    """`text`, `image`, or a content type that was estimated."""
    tokens: TokenCount
    """Input tokens on the model."""
    method: str = "exact"
    """How they were counted: exact, reconstructed, scaled, estimated."""
    error: Share = Decimal(0)
    """Relative error within which 95 of 100 counts lie."""
    detail: str = ""
    """What else there is to say: a picture's size."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tokens(Inputs):
    """Content that is sent to a model."""

    model: str = "gpt-4o"
    """The model that gets it."""
    pieces: tuple[Piece, ...] = ()
    """What was counted; on the command line --text, --file and --image count for you."""
    text: str = ""
    """Text to count."""
    file: tuple[str, ...] = ()
    """Files to count; pictures by their size."""
    image: tuple[str, ...] = ()
    """Pictures by size, such as 1024x1024."""
    detail: Detail = "auto"
    """Detail of pictures."""
    words: Count = 0
    """Or: words of content that is not written yet."""
    characters: Count = 0
    """Or: its characters."""
    content: Content = "english"
    """What those words or characters are."""
    output_tokens: TokenCount = 0
    """Tokens received for each request."""
    requests_per_day: Count = 0
    """Requests on a usual day; 0: the price of one."""
    days: Days = MONTH_DAYS
    """Days of a month."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PieceCost:
    """A piece and what it costs to send once."""

    piece: str
    kind: str
    tokens: TokenCount
    method: str
    error: Share
    cost: Dollars
    detail: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokensOnModel:
    """The same content on another model, as that model counts it."""

    model: str
    input_tokens: TokenCount
    method: str
    """The least sure way in which a part of it was counted."""
    per_request: Dollars
    monthly_cost: Dollars | None
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokensPlan(Answer):
    """Tokens and dollars."""

    input_tokens: TokenCount
    cost_per_request: Dollars
    monthly_cost: Dollars | None
    """Empty: --requests-per-day is not given."""
    low_tokens: TokenCount
    """With the error of the count taken off."""
    high_tokens: TokenCount
    pieces: tuple[PieceCost, ...]
    models: tuple[TokensOnModel, ...]
    """The cheapest first."""
    content_types: tuple["ContentLine", ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContentLine:
    """A thousand words of a kind of content."""

    content: str
    guide_says: str
    measured: TokenCount | None
    """Tokens for 1,000 words; empty where words are not separated by spaces."""
    characters_per_token: Amount
    cost_per_million_characters: Dollars


def tokens(inputs: Tokens, prices: Prices, elsewhere: Mapping[str, tuple[Piece, ...]] | None = None) -> TokensPlan:
    """Price what was counted, or what was estimated from words or characters.

    Counting text, files and pictures is the caller's part: its counts come as `pieces`, and by model in `elsewhere`.
    """
    row = prices.row(inputs.model)
    pieces = (*inputs.pieces, *_estimates(inputs))
    if not pieces:
        raise PlanError("pieces", "nothing to count: give --text, --file, --image, --words or --characters")
    total = sum(piece.tokens for piece in pieces)
    spread = sum((piece.tokens * piece.error for piece in pieces), Decimal(0))
    each = call_cost(row, total, inputs.output_tokens)
    volume = inputs.requests_per_day * inputs.days
    more = f", {money(cents(each * volume))} a month" if volume else ""
    return TokensPlan(
        answer=f"{total:,} tokens on {inputs.model}: {money(each)} a request{more}.",
        input_tokens=total,
        cost_per_request=exact(each),
        monthly_cost=cents(each * volume) if volume else None,
        low_tokens=_whole(total - spread),
        high_tokens=_whole(total + spread),
        pieces=tuple(
            PieceCost(
                piece=piece.name,
                kind=piece.kind,
                tokens=piece.tokens,
                method=piece.method,
                error=piece.error,
                cost=exact(piece.tokens * rate(row, "input")),
                detail=piece.detail,
            )
            for piece in pieces
        ),
        models=tuple(_on_models(inputs, prices, elsewhere or {})),
        content_types=tuple(_line(kind, rate(row, "input")) for kind in CONTENT_TYPES),
        notes=NOTES,
        prices=(used(row),),
        assumptions=(
            "Frames around messages are not counted: about 3 tokens a message and 3 for the reply.",
            "Measured with the o200k vocabulary (gpt-4o and later); other models count 0 to 120 % more.",
        ),
        corrections=CORRECTIONS,
        moved="the monthly cost" if volume else "the cost of a request",
        sensitivity=sensitivity(inputs, lambda changed: _cost(changed, prices), leave_out=("days",)),
    )


SURENESS = ("exact", "reconstructed", "scaled", "estimated")


def _on_models(inputs: Tokens, prices: Prices, elsewhere: Mapping[str, tuple[Piece, ...]]) -> Iterator[TokensOnModel]:
    """Price the content on each model it was counted for; what was estimated from words is the same everywhere."""
    blind = {facts.name for facts in MODELS if not facts.images}
    lines = []
    for model, counted in elsewhere.items():
        row = prices.find(model)
        if row is None or not {"input", "output"} <= row.rates.keys():
            continue
        pieces = (*counted, *_estimates(inputs))
        total = sum(piece.tokens for piece in pieces)
        each = call_cost(row, total, inputs.output_tokens)
        day = prices.retires(model)
        reasons = (
            ("reads no pictures", row.model in blind and any(piece.kind == "image" for piece in pieces)),
            (f"retired on {day}", day is not None and day <= prices.at.date()),
        )
        lines.append(
            TokensOnModel(
                model=row.model,
                input_tokens=total,
                method=max((piece.method for piece in pieces), key=SURENESS.index, default="exact"),
                per_request=exact(each),
                monthly_cost=cents(each * inputs.requests_per_day * inputs.days) if inputs.requests_per_day else None,
                note="; ".join(reason for reason, holds in reasons if holds),
            )
        )
    yield from sorted(lines, key=lambda line: (line.per_request, line.model))


def _cost(inputs: Tokens, prices: Prices) -> Decimal:
    total = sum(piece.tokens for piece in (*inputs.pieces, *_estimates(inputs)))
    return call_cost(prices.row(inputs.model), total, inputs.output_tokens) * (
        inputs.requests_per_day * inputs.days or 1
    )


def _estimates(inputs: Tokens) -> tuple[Piece, ...]:
    kind = next(kind for kind in CONTENT_TYPES if kind.content == inputs.content)
    found = []
    if inputs.words:
        if kind.per_thousand_words is None:
            raise PlanError("words", f"{inputs.content} does not separate words by spaces: give --characters")
        count = _whole(Decimal(inputs.words) * kind.per_thousand_words / 1000)
        found.append(
            Piece(name=f"{inputs.words:,} words", kind=inputs.content, tokens=count, method="estimated", error=BAND)
        )
    if inputs.characters:
        count = _whole(inputs.characters / kind.characters_per_token)
        name = f"{inputs.characters:,} characters"
        found.append(Piece(name=name, kind=inputs.content, tokens=count, method="estimated", error=BAND))
    return tuple(found)


BAND = Decimal("0.3")
"""Error of an estimate from words or characters: one document in twenty is further off."""


def _whole(number: Decimal) -> int:
    return int(number.to_integral_value(rounding=ROUND_HALF_UP))


def _line(kind: ContentType, price: Decimal) -> ContentLine:
    return ContentLine(
        content=kind.content,
        guide_says=kind.guide,
        measured=kind.per_thousand_words,
        characters_per_token=kind.characters_per_token,
        cost_per_million_characters=exact(ratio(1_000_000 * price, kind.characters_per_token)),
    )


NOTES = (
    "Count with the model's own vocabulary before you decide: rules of thumb are off by 15-38 % a document.",
    "Pictures bill by their size in tiles or patches, never by their base64 text; put no base64 into a prompt.",
)

CORRECTIONS = (
    Correction(
        section="7.2",
        says="0.75 words a token, 1,300 tokens per 1,000 words, 4 characters a token",
        computed="1,333 by the first; 1,166-1,327 measured; 4.8-5.3 characters a token in English",
        why="The three rules contradict each other; all are estimates.",
    ),
    Correction(
        section="7.2",
        says="Base64-encoded images: 10,000-85,000 tokens",
        computed="765 tokens for 1024 x 1024 on gpt-4o",
        why="Images sent as images bill by tile: 85 + 170 a tile on gpt-4o; 2,833 + 5,667 on gpt-4o-mini, which makes "
        "25,501 tokens and twice gpt-4o's dollars.",
    ),
    Correction(
        section="7.2",
        says="Code 38% and JSON 23% more than prose",
        computed="80-110 % and 190 % more per 1,000 words",
        why="Measured: Python 2,323, JavaScript 2,746, JSON 3,730 tokens for 1,000 words between spaces.",
    ),
    Correction(
        section="7.5",
        says="System prompt of ~95 tokens becomes ~35: 63% reduction",
        computed="90 and 42: 53 %",
        why="Counted with the o200k vocabulary; 63 % is right for the guide's own counts.",
    ),
)
