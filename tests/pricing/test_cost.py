"""Usage times rates: every unit counts, and a unit without a rate is no zero."""

from decimal import Decimal

import pytest

from penstock.pricing.cost import amount
from penstock.pricing.usage import PRICED, Usage

RATES = {unit: Decimal(n + 1) for n, unit in enumerate(PRICED)}


@pytest.mark.parametrize("unit", PRICED)
def test_every_unit_is_charged_by_itself_and_beside_text(unit):
    assert amount(Usage(**{unit: 3}), RATES) == 3 * RATES[unit]
    beside = {"input": 7, "output": 11, "cache_read": 13} | {unit: 5}
    assert amount(Usage(**beside), RATES) == sum(n * RATES[name] for name, n in beside.items())


@pytest.mark.parametrize("unit", PRICED)
def test_a_unit_without_a_rate_leaves_the_whole_without_an_amount(unit):
    rates = {name: rate for name, rate in RATES.items() if name != unit}
    assert amount(Usage(**{"input": 7} | {unit: 1}), rates) is None


def test_hidden_reasoning_is_inside_the_output_and_costs_nothing_more():
    assert amount(Usage(output=10, reasoning=8), RATES) == amount(Usage(output=10), RATES)
