"""genai-prices as the book of direct providers: its models, conditions and variants as dated rows.

The package (MIT) keeps a price as conditions that are tried last to first. Here each condition that changes something
becomes a row: a first day, a daily window, a context tier, a processing mode. Three rules guard against a silent guess:

- flex, priority, fast and batch rates exist from the day on which the package records them; before it, no row does;
- a model that also bills what `Usage` does not count (requests, messages, citations) gets a row without rates;
- an empty price is free only where the model is known to be; elsewhere it is a row without rates.

Azure is left out: there the package knows neither deployment types nor batch, and DeepSeek's own prices for DeepSeek.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from penstock.errors import PriceBookError
from penstock.pricing.book import DECIMALS, SINCE_EVER, Book, PriceRow, make_book
from penstock.pricing.names import Clause, Name, split_version

CONVERSION = 1
"""To be raised when the same package comes out as other rows: equal books have equal ids."""

NOT_OURS = frozenset({"azure"})
"""Providers of the package that have a better book."""

MODES = {
    ("processing", "batch"): "batch",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("service_tier", "fast"): "fast",
    ("speed", "fast"): "fast",
}
"""Which request context of the package is which processing mode."""

PRICE_KEYS = {
    "input": ("input_text_mtok", "input_mtok"),
    "cache_read": ("cache_text_read_mtok", "cache_read_mtok", "input_mtok"),
    "cache_write": ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "output": ("output_text_mtok", "output_mtok"),
    "input_audio": ("input_audio_mtok", "input_mtok"),
    "cache_read_audio": ("cache_audio_read_mtok", "cache_read_mtok", "input_audio_mtok", "input_mtok"),
    "output_audio": ("output_audio_mtok", "output_mtok"),
    "input_image": ("input_image_mtok", "input_mtok"),
    "cache_read_image": ("cache_image_read_mtok", "cache_read_mtok", "input_image_mtok", "input_mtok"),
    "output_image": ("output_image_mtok", "output_mtok"),
    "input_video": ("input_video_mtok", "input_mtok"),
    "web_searches": ("web_searches_kcount",),
    "file_searches": ("storage_searches_kcount",),
    "characters": ("input_mchars",),
    "pages": ("input_document_kpages",),
    "seconds": ("input_audio_hours", "audio_hours"),
}
"""By bucket, the package's price keys from the most specific on: the first that has a price bills the bucket."""

PER = {"mtok": 1_000_000, "mchars": 1_000_000, "kcount": 1_000, "kpages": 1_000, "hours": 3_600}
KNOWN_KEYS = {key for keys in PRICE_KEYS.values() for key in keys} | {"input_annotated_document_kpages"}
FREE = ("openai/moderation", "google/gemma-")
"""Models whose empty price means that they cost nothing, beside those whose name ends in `:free`."""
BY_THE_REQUEST = {"groq/whisper-large-v3", "groq/whisper-large-v3-turbo"}
"""Models that bill at least ten seconds a request: seconds alone do not price them."""


def genai_book(cached: bytes | None = None) -> Book:
    """Return the book of the installed genai-prices.

    `cached` are the bytes that `Book.to_bytes` once gave: they are used if they are whole and of the same version,
    which spares the second that importing and converting the package takes. Keeping them is the caller's business.
    """
    if cached is not None:
        with suppress(PriceBookError):  # a damaged copy is only a slower start
            book = Book.from_bytes(cached)
            if book.id == f"genai-prices@{installed_version()}":
                return book
    return _convert()


def installed_version() -> str:
    """Return the version of the book: that of the installed package (not imported for it), and of the conversion."""
    return version("genai-prices") + (f"+{CONVERSION}" if CONVERSION > 1 else "")


@cache
def _convert() -> Book:
    from genai_prices.data import providers  # noqa: PLC0415 (1.6 MB of tables: imported when they are needed)

    name = f"genai-prices {installed_version()}"
    rows: list[PriceRow] = []
    names: dict[str, tuple[Name, ...]] = {}
    for provider in providers:
        if provider.id in NOT_OURS:
            continue
        source = f"{name}: {(provider.pricing_urls or [''])[0]}".rstrip(": ")
        known = []
        for model in provider.models:
            plain, its_version = split_version(model.id)
            known.append(Name(plain, its_version, _clause(model.match)))
            rows += _model_rows(provider.id, model, plain, its_version, source)
        names[provider.id] = tuple(known)
    return make_book(
        "genai-prices", installed_version(), rows, title="Direct providers", source="genai-prices (MIT)", names=names
    )


def _clause(match: Any) -> Clause:
    (kind, value), *_ = vars(match).items()
    kind = kind.rstrip("_")
    if isinstance(value, list):
        return Clause(kind, parts=tuple(_clause(part) for part in value))
    return Clause(kind, value if kind == "regex" else value.lower())


def _model_rows(provider: str, model: Any, plain: str, its_version: str, source: str) -> Iterator[PriceRow]:
    conditions = [one.constraint for one in model.prices] if isinstance(model.prices, list) else []
    variants = model.price_variants or []
    days = _days([*conditions, *(variant.constraint for variant in variants)])
    edges = sorted(
        {edge for one in conditions if hasattr(one, "start_time") for edge in (one.start_time, one.end_time)}
    )
    whens = {when: mode for variant in variants for when in variant.when.items() if (mode := MODES.get(when))}
    for when, mode in [(None, "standard"), *whens.items()]:
        context = dict([when]) if when else None
        for day, next_day, windows in _changes(
            model,
            context,
            edges,
            [day for day in days if when is None or any(_active(variant, when, day) for variant in variants)],
        ):
            # every window states every tier: a call finds its tier first, then its window
            steps = sorted({0}.union(*(_steps(prices) for _, prices in windows)))
            for hours, prices in windows:
                missing = _why_no_rates(provider, model.id, prices)
                for over in steps:
                    rates = _rates(prices, over)
                    yield PriceRow(
                        provider=provider,
                        model=plain,
                        version=its_version,
                        mode=mode,
                        context_over=over,
                        hours=hours,
                        valid_from=day,
                        valid_to=next_day,
                        rates={} if missing else rates,
                        free=not missing and not any(rates.values()),
                        source=f"{source}; {missing}" if missing else source,
                    )


def _changes(
    model: Any, context: dict[str, str] | None, edges: list[time], days: list[datetime]
) -> list[tuple[datetime, datetime | None, list[tuple[str, Any]]]]:
    """List the days on which a price changes, each with the day that ends it and the prices by daily window."""

    def windows(day: datetime) -> list[tuple[str, Any]]:
        return _windows(edges, lambda at: model.get_prices(datetime.combine(day, at, UTC), context))

    changes = [(day, windows(day)) for day in days]
    changes = [change for n, change in enumerate(changes) if n == 0 or change[1] != changes[n - 1][1]]
    ends = [day for day, _ in changes[1:]]
    return [(day, end, prices) for (day, prices), end in zip(changes, [*ends, None], strict=True)]


def _days(constraints: list[Any]) -> list[datetime]:
    """List the first days of all conditions, from the beginning on."""
    starts = {one.start_date for one in constraints if hasattr(one, "start_date")}
    return [SINCE_EVER, *(datetime.combine(day, time(), UTC) for day in sorted(starts))]


def _active(variant: Any, when: tuple[str, str], day: datetime) -> bool:
    return tuple(variant.when.items()) == (when,) and (variant.constraint is None or variant.constraint.active(day))


def _windows(edges: list[time], price: Callable[[time], Any]) -> list[tuple[str, Any]]:
    """Split a day where its price changes: the longest part is the all-day price, the others are windows."""
    if not edges:
        return [("", price(time()))]
    parts: list[tuple[timedelta, str, Any]] = []
    for start, end in pairwise([*edges, edges[0]]):
        length = (_since_midnight(end) - _since_midnight(start)) % timedelta(days=1) or timedelta(days=1)
        parts.append((length, f"{start:%H:%M}-{end:%H:%M}", price(start.replace(tzinfo=None))))
    *_, usual = max(parts, key=lambda part: sum((one[0] for one in parts if one[2] == part[2]), timedelta()))
    return [("", usual), *((hours, prices) for _, hours, prices in parts if prices != usual)]


def _since_midnight(at: time) -> timedelta:
    return timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)


def _steps(prices: Any) -> set[int]:
    """List the numbers of input tokens above which a whole call pays other rates."""
    return {tier.start for price in vars(prices).values() if hasattr(price, "tiers") for tier in price.tiers}


def _rates(prices: Any, over: int) -> dict[str, Decimal]:
    """Return the rates for one unit in a call with more than `over` input tokens."""
    known = {key: price for key, price in vars(prices).items() if price is not None}
    rates = {}
    for unit, keys in PRICE_KEYS.items():
        key = next((key for key in keys if key in known), "")
        if key:
            quote = Decimal(_quote(known[key], over))
            # what the ledger can hold: a second's part of an hour never ends, and some quotes carry the
            # noise of a float (0.18000000000000002)
            rates[unit] = round(quote / PER[key.rsplit("_", 1)[1]], DECIMALS).normalize()
    return rates


def _quote(price: Any, over: int) -> Any:
    """Return what a tiered price asks of a call with more than `over` input tokens."""
    if not hasattr(price, "tiers"):
        return price
    return next((tier.price for tier in reversed(price.tiers) if tier.start <= over), price.base)


def _why_no_rates(provider: str, model: str, prices: Any) -> str:
    """Say why a price of the package cannot be used; empty when it can."""
    known = {key for key, price in vars(prices).items() if price is not None}
    if not known and not model.endswith(":free") and not f"{provider}/{model}".startswith(FREE):
        return "the package lists the model without a price"
    if unknown := known - KNOWN_KEYS:
        return f"it also bills {', '.join(sorted(unknown))}, which is not metered"
    if f"{provider}/{model}" in BY_THE_REQUEST:
        return "it bills at least ten seconds a request"
    return ""
