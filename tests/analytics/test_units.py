from decimal import Decimal
from pathlib import Path

import pytest
from tests.analytics.made import correction, event

from penstock.analytics.units import units
from penstock.errors import InputError
from penstock.ledger.store import Ledger
from penstock.pricing.usage import Usage

BOOK = {
    "big": {"input": Decimal(4), "cache_read": Decimal(1), "cache_write": Decimal(5), "output": Decimal(10)},
    "plain": {"input": Decimal(2), "output": Decimal(3)},
}


def rates(_book, row):
    return BOOK.get(row)


def test_units_and_the_rest_make_the_whole(tmp_path: Path):
    usage = Usage(input=10, cache_read=6, cache_write=2, output=1)
    events = [
        event(model="a", price_row="big", usage=usage, cost=Decimal(66)),
        event(model="b", price_row="plain", usage=Usage(input=5, output=2), cost=Decimal(16), team="x"),
        event(model="c", price_row="forgotten", usage=Usage(input=7), cost=Decimal(7)),
        event(model="d", cost=None, price_row="", usage=Usage(input=1)),
    ]
    with Ledger.open(tmp_path) as ledger:
        ledger.add([*events, correction(events[0], Decimal("-0.5"), price_row="big")], source="test")
        found = units(ledger.moment(), rates)
        [narrowed] = [one for one in units(ledger.moment(), rates, where=[("team", "x")]).units if one.unit == "input"]
        with pytest.raises(InputError):
            units(ledger.moment(), rates, where=[("day", "2026-03-14")])
    costs = {one.unit: (one.quantity, one.cost) for one in found.units}
    assert costs == {"input": (23, 50), "output": (3, 16), "cache_write": (2, 10), "cache_read": (6, 6)}
    assert (found.cost, found.rest) == (Decimal("88.50"), Decimal("6.50"))  # 7 forgotten, 0.5 taken back
    assert sum(one.cost for one in found.units) + found.rest == found.cost
    assert found.saved_by_cache == 6 * 3 - 2 * 1
    [cache] = found.caches  # only `big` knows a cache
    assert (cache.model, cache.cached, cache.plain, cache.possible) == ("a", 6, 10, 30)
    assert (narrowed.quantity, narrowed.cost) == (5, 10)
