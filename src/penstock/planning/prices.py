"""The prices of a plan: a catalog asked at one instant, and the rows that the answer rests on."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal

import msgspec

from penstock.errors import PlanError
from penstock.pricing.book import PriceKey, PriceRow
from penstock.pricing.catalog import Catalog
from penstock.pricing.lifecycle import Retirement
from penstock.pricing.missing import why_missing

MILLION = Decimal(1_000_000)

Deployment = Literal["global", "data_zone", "regional"]
"""Where Azure may run the call: anywhere, inside a zone (US, EU), or in one region."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriceUsed:
    """A price that a result rests on: where it stands, since when it holds, who said so."""

    id: str
    """The row's id in its book."""
    valid_from: date
    source: str
    read: date | None
    """The day on which the source was read."""
    rates: dict[str, Decimal]
    """Dollars per million tokens (or per unit named in the key) for what was used."""
    book: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Prices:
    """A catalog at one instant. Every lookup that fails says which names are near."""

    catalog: Catalog
    at: datetime
    provider: str = "azure"
    lifecycle: Mapping[tuple[str, str, str], Retirement] = dataclasses.field(default_factory=dict)
    """Retirement dates by provider, model in lower case, and version."""

    def retires(self, model: str) -> date | None:
        """Say when the model retires; None: no date is known."""
        name, version = self.catalog.identify(self.provider, model)
        for key in ((self.provider, name.lower(), version), (self.provider, name.lower(), "")):
            if key in self.lifecycle:
                return self.lifecycle[key].retires
        return None

    def retirement_note(self, model: str) -> tuple[str, ...]:
        """Warn of a model that has retired, or has a date to do so."""
        day = self.retires(model)
        if day is None:
            return ()
        if day <= self.at.date():
            return (f"{model} retired on {day}: it no longer answers, choose another model.",)
        return (f"{model} retires on {day}: plan for its successor.",)

    def find(
        self,
        model: str,
        *,
        deployment_type: str = "global",
        region: str = "",
        mode: str = "standard",
        input_tokens: int = 0,
    ) -> PriceRow | None:
        """Return the row in force, or None where the book has none for this key."""
        name, version = self.catalog.identify(self.provider, model)
        key = PriceKey(
            provider=self.provider,
            model=name,
            version=version,
            deployment_type=deployment_type,
            region=region,
            mode=mode,
        )
        rows = self.catalog.rows(key, self.at, input_tokens)
        if not rows:
            return None
        row = _with_cached_price(rows[0], rows[1:])
        if row.valid_from > self.at:
            return msgspec.structs.replace(row, source=f"{row.source}; the earliest price known, it stands in")
        return row

    def row(
        self,
        model: str,
        *,
        field: str = "model",
        deployment_type: str = "global",
        region: str = "",
        mode: str = "standard",
        input_tokens: int = 0,
        unit: str = "input",
    ) -> PriceRow:
        """Return the row in force, with a rate for `unit`. PlanError names `field`, and models with a similar name."""
        found = self.find(model, deployment_type=deployment_type, region=region, mode=mode, input_tokens=input_tokens)
        if found is not None and found.rates:
            if unit not in found.rates:
                raise PlanError(field, f"{found.id} has no rate for {unit}")
            return found
        name, version = self.catalog.identify(self.provider, model)
        layers = self.catalog.layers(self.provider)
        known = [row for layer in layers for row in layer.models.get((self.provider, name.lower()), ())]
        if not known:
            raise PlanError(field, f"no model {model!r} at {self.provider}{self._near(model)}")
        key = PriceKey(
            provider=self.provider,
            model=name,
            version=version,
            deployment_type=deployment_type,
            region=region,
            mode=mode,
        )
        raise PlanError(field, why_missing(key, self.at, known))

    def models(self, unit: str = "output") -> tuple[str, ...]:
        """Name the models with a standard price for `unit` in the book that has precedence for each."""
        rows: dict[str, PriceRow] = {}
        for layer in self.catalog.layers(self.provider):
            for (provider, model), known in layer.models.items():
                if provider == self.provider and model not in rows and model != "*":
                    priced = [row for row in known if row.mode == "standard" and unit in row.rates]
                    if priced:
                        rows[model] = priced[0]
        return tuple(sorted(row.model for row in rows.values()))

    def _known(self) -> frozenset[str]:
        return frozenset(
            model
            for layer in self.catalog.layers(self.provider)
            for provider, model in layer.models
            if provider == self.provider
        )

    def _near(self, model: str) -> str:
        near = get_close_matches(model.lower(), sorted(self._known()), n=3, cutoff=0.5)
        if near:
            return f"; did you mean {', '.join(near)}?"
        return "; `penstock prices list` names all of them"


def _with_cached_price(row: PriceRow, hidden: Sequence[PriceRow]) -> PriceRow:
    """Give a scenario's row the cached prices of the list under it, where both charge the same for input."""
    if "cache_read" in row.rates:
        return row
    for other in hidden:
        cached = {name: other.rates[name] for name in ("cache_read", "cache_write") if name in other.rates}
        if "cache_read" in cached and other.rates.get("input") == row.rates.get("input"):
            return msgspec.structs.replace(
                row, rates={**row.rates, **cached}, source=f"{row.source}; cached price: {other.id}"
            )
    return row


def rate(row: PriceRow, unit: str) -> Decimal:
    """Return dollars for one token. Cached input without a price of its own costs what input costs."""
    found = row.rates.get(unit)
    if found is None and unit in ("cache_read", "cache_write"):
        found = row.rates.get("input")
    if found is None:
        raise PlanError("model", f"{row.id} has no rate for {unit}")
    return found


def used(row: PriceRow, *units: str) -> PriceUsed:
    """Name the row and its rates for `units` (all of them, if none is named), per million."""
    names = units or tuple(row.rates)
    return PriceUsed(
        id=row.id,
        valid_from=row.valid_from.date(),
        source=row.source,
        read=row.read,
        book=row.book,
        rates={name: (row.rates[name] * MILLION).normalize() + 0 for name in names if name in row.rates},
    )


def call_cost(
    row: PriceRow, input_tokens: Decimal | int, output_tokens: Decimal | int, cached: Decimal | int = 0
) -> Decimal:
    """Return the dollars of one call; `cached` of the input tokens are read from the prompt cache."""
    cost = (input_tokens - cached) * rate(row, "input") + cached * rate(row, "cache_read")
    return cost + (output_tokens * rate(row, "output") if output_tokens else 0)
