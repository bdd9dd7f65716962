"""Every book in force, in order of precedence: the first layer that has a row for the key decides."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from penstock.pricing.book import ANY_MODEL, Book, PriceKey, PriceRow, make_book
from penstock.pricing.cost import Cost, cost_of
from penstock.pricing.missing import why_missing
from penstock.pricing.names import split_version
from penstock.pricing.timeline import Timeline
from penstock.pricing.usage import Usage
from penstock.pricing.zones import plain_region, zone_of

__all__ = ["Catalog", "Layer", "PriceKey"]

MEMO_SIZE = 20_000
"""Keys and names remembered; replies choose names, so memory must not grow with them."""

_Key = tuple[str, str, str, str, str, str]
"""provider, model in lower case, version, deployment type, region, mode"""


class Layer:
    """One book, indexed."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.models: dict[tuple[str, str], list[PriceRow]] = {}
        by_key: dict[_Key, list[PriceRow]] = {}
        for row in book.rows:
            model = row.model.lower()
            self.models.setdefault((row.provider, model), []).append(row)
            by_key.setdefault((row.provider, model, row.version, row.deployment_type, row.region, row.mode), []).append(
                row
            )
        self.timelines = {key: Timeline(rows) for key, rows in by_key.items()}

    def matching(self, key: PriceKey) -> Iterator[Timeline]:
        """Yield what fits the key, the most specific first."""
        region = plain_region(key.region)
        places = dict.fromkeys((region, zone_of(region), ""))
        # provisioned capacity is paid by the hour, whatever the processing mode
        mode = "standard" if key.deployment_type.endswith("_ptu") else key.mode
        for model in (key.model.lower(), ANY_MODEL):
            if (key.provider, model) in self.models:
                for version in dict.fromkeys((key.version, "")):
                    for place in places:
                        line = self.timelines.get((key.provider, model, version, key.deployment_type, place, mode))
                        if line is not None:
                            yield line


class Catalog:
    """Rows by key; built once, asked on every call.

    `layers` stand in order of precedence. `later` loads the books of the lowest layers when the first question
    reaches them; it is not asked for the providers in `without_later`.
    """

    def __init__(
        self,
        layers: Sequence[Book | Sequence[PriceRow]],
        later: Callable[[], Sequence[Book]] | None = None,
        without_later: frozenset[str] = frozenset({"azure"}),
    ) -> None:
        self._layers = [Layer(book if isinstance(book, Book) else make_book("rows", "", book)) for book in layers]
        self._later, self._without_later = later, without_later
        self._plans: dict[PriceKey, tuple[Timeline, ...]] = {}
        self._quotes: dict[PriceKey, tuple[PriceRow, datetime, datetime]] = {}
        self._names: dict[tuple[str, str], tuple[str, str]] = {}

    @property
    def books(self) -> tuple[Book, ...]:
        """Every book loaded so far, in order of precedence."""
        return tuple(layer.book for layer in self._layers)

    def load(self) -> "Catalog":
        """Load the lowest layers now, so that no call has to wait for them."""
        if self._later is not None:
            later, self._later = self._later, None
            self._layers += [Layer(book) for book in later()]
        return self

    def layers(self, provider: str) -> Sequence[Layer]:
        """Return the layers that may price what this provider serves."""
        if provider not in self._without_later:
            self.load()
        return self._layers

    def identify(self, provider: str, served: str) -> tuple[str, str]:
        """Split the name that a reply gives (`gpt-4o-2024-08-06`) into plain model and version.

        A name that no book knows loses its date and is otherwise returned as it came.
        """
        found = self._names.get((provider, served))
        if found is None:
            if len(self._names) >= MEMO_SIZE:
                self._names.clear()
            found = self._names[provider, served] = self._identify(provider, served)
        return found

    def _identify(self, provider: str, served: str) -> tuple[str, str]:
        whole = served.lower()
        base, version = split_version(whole)
        dashed = f"{base}-{version}" if version else whole
        for layer in self.layers(provider):
            for spelling in dict.fromkeys((whole, dashed)):
                for name in layer.book.names.get(provider, ()):
                    if name.clause.matches(spelling):
                        return name.model, name.version or version
            for candidate, its_version in ((whole, ""), (base, version)):
                if rows := layer.models.get((provider, candidate)):
                    return rows[0].model, its_version
        return split_version(served)

    def row(self, key: PriceKey, at: datetime, input_tokens: int = 0) -> PriceRow | None:
        """Find the row in force at `at` for a call with that many input tokens; None: no price is known.

        Where no row is in force yet, the first one stands in if its book allows that: its `valid_from` is after `at`.
        """
        quote = self.quote(key, at)
        if quote is not None:
            return quote[0]
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MEMO_SIZE:
                self._plans.clear()
            plan = self._plans[key] = tuple(line for layer in self.layers(key.provider) for line in layer.matching(key))
        for line in plan:
            if row := line.row(at, input_tokens):
                self._remember(key, row, at)
                return row
        for line in plan:
            if row := line.stand_in(at, input_tokens):
                return row
        return None

    def _remember(self, key: PriceKey, row: PriceRow, at: datetime) -> None:
        """Keep the row and the span around `at` in which nothing else can answer, unless size or hour decide too."""
        plan = self._plans[key]
        if any(line.depends_on_more for line in plan) or at < row.valid_from:
            return
        edges = sorted({edge for line in plan for edge in line.edges})
        after = next((edge for edge in edges if edge > at), datetime.max.replace(tzinfo=UTC))
        before = max((edge for edge in edges if edge <= at), default=row.valid_from)
        if len(self._quotes) >= MEMO_SIZE:
            self._quotes.clear()
        self._quotes[key] = row, before, after

    def quote(self, key: PriceKey, at: datetime) -> tuple[PriceRow, datetime, datetime] | None:
        """Return the row in force, and the span around `at` in which it is the answer whatever else is asked."""
        quote = self._quotes.get(key)
        return quote if quote is not None and quote[1] <= at < quote[2] else None

    def rows(self, key: PriceKey, at: datetime, input_tokens: int = 0) -> list[PriceRow]:
        """Return the row in force, then the ones that it hides: less specific, or in a lower layer."""
        lines = [line for layer in self.layers(key.provider) for line in layer.matching(key)]
        exact = [row for line in lines if (row := line.row(at, input_tokens))]
        return exact + [row for line in lines if (row := line.stand_in(at, input_tokens))]

    def price(self, key: PriceKey, usage: Usage, at: datetime) -> Cost:
        """Price `usage` as of `at`."""
        row = self.row(key, at, usage.input_tokens)
        if row is None:
            if not usage.units():
                return Cost(state="priced", total=Decimal(0), reason="nothing was used")
            model = (key.provider, key.model.lower())
            known = [row for layer in self.layers(key.provider) for row in layer.models.get(model, ())]
            return Cost(state="unpriced", total=None, reason=why_missing(key, at, known))
        cost = cost_of(usage, row)
        if at < row.valid_from:
            reason = cost.reason or f"{row.id} is the earliest price known; it stands in for {at:%Y-%m-%d}"
            return msgspec.structs.replace(cost, reason=reason)
        return cost
