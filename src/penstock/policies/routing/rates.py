"""What a target costs, for comparing; exact prices are for bills."""

from collections.abc import Sequence
from datetime import datetime

from penstock.policies.deployments import Target
from penstock.policies.routing.router import Rates
from penstock.pricing.catalog import MEMO_SIZE, Catalog, PriceKey

USUAL_CALL = (1_000, 300)
"""Tokens in and out, for comparing models where no call is at hand."""
FREE = Rates(0.0, 0.0, 0.0)


class RateCard:
    """Dollars a token by target. Provisioned capacity adds nothing to the bill until it is full."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._keys: dict[str, PriceKey] = {}
        self._known: dict[tuple[str, bool], tuple[Rates, datetime, datetime]] = {}

    def of(self, target: Target, at: datetime, tokens: int, *, answers: bool = True) -> Rates | None:
        """Return the rates of a call with that many tokens of input; None: no price is known.

        `answers`: it has tokens of output, as all calls but embeddings; then these must have a price too.
        """
        known = self._known.get((target.key, answers))
        if known is not None and known[1] <= at < known[2]:
            return known[0]
        if target.served.deployment_type.endswith("_ptu"):
            return FREE
        key = self._key(target)
        row = self._catalog.row(key, at, tokens)
        if row is None:
            return None
        if row.free or row.flat_rate:
            rates = FREE
        elif "input" not in row.rates or (answers and "output" not in row.rates):
            return None
        else:
            sent = row.rates["input"]
            received = row.rates["output"] if answers else 0
            rates = Rates(float(sent), float(row.rates.get("cache_read", sent)), float(received))
        quote = self._catalog.quote(key, at)
        if quote is not None:  # nothing but time decides until then
            self._known[target.key, answers] = rates, quote[1], quote[2]
        return rates

    def _key(self, target: Target) -> PriceKey:
        key = self._keys.get(target.key)
        if key is None:
            if len(self._keys) >= MEMO_SIZE:
                self._keys.clear()
                self._known.clear()
            served = target.served
            model, version = self._catalog.identify(served.provider, served.model)
            key = self._keys[target.key] = PriceKey(
                provider=served.provider, model=model, version=version, deployment_type=served.deployment_type,
                region=served.region,
            )  # fmt: skip
        return key


def breakeven(card: RateCard, among: Sequence[Target], strong: Target, at: datetime) -> float | None:
    """Return the share of failed answers below which a cascade from the cheapest of these to `strong` pays.

    It costs the cheap answer always, and the dear one where that fails: less than the dear one alone while the share is
    under 1 - cheap / dear. None: a price is not known. 0 or less: it cannot pay.
    """
    sent, received = USUAL_CALL
    prices = {
        one.key: sent * rates.input + received * rates.output
        for one in (*among, strong)
        if (rates := card.of(one, at, sent)) is not None
    }
    if strong.key not in prices:
        return None
    dear = prices[strong.key]
    return 1 - min(prices.values()) / dear if dear else 0.0
