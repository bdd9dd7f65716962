from datetime import timedelta
from decimal import Decimal

import pytest
from tests.ledger.making import NOON, event, many

from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger
from penstock.pricing.book import PriceRow, make_book
from penstock.pricing.catalog import Catalog
from penstock.pricing.usage import Usage

LONG_AGO = NOON - timedelta(days=900)


def catalog(rate: str, *, model: str = "gpt-4o", **fields) -> Catalog:
    rates = {unit: Decimal(rate) for unit in ("input", "output", "cache_read")}
    row = PriceRow(**{"provider": "azure", "model": model, "valid_from": LONG_AGO, "rates": rates} | fields)
    return Catalog([make_book("own", rate, [row])])


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path) as ledger:
        yield ledger


def cost_of_request(ledger, request_id) -> Decimal:
    return sum((one.cost for one in ledger.events(request_id=request_id) if one.cost is not None), Decimal(0))


def test_an_event_without_a_price_gets_one_by_a_correction_with_the_difference(ledger):
    missing = event(cost=None, price_state="unpriced", usage=Usage(input=1000, output=10))
    ledger.add([missing], source="csv")
    found = ledger.reprice(catalog("0.001"), dry_run=False)
    (row,) = found.models.values()
    assert (row.events, row.were_unpriced, row.old, row.new) == (1, 1, 0, Decimal("1.01"))
    assert (found.looked_at, found.written, found.difference) == (1, 1, Decimal("1.01"))
    original, correction = sorted(ledger.events(), key=lambda one: one.corrects)
    assert original == missing
    assert (correction.corrects, correction.cost, correction.price_state) == (missing.id, Decimal("1.01"), "priced")
    assert (correction.at, correction.request_id, correction.team) == (missing.at, missing.request_id, missing.team)
    assert (correction.requests, correction.usage, correction.source) == (0, Usage(), "reprice")
    assert correction.price_row == "azure/gpt-4o/global/standard@2023-09-26T12:00:00Z"


def test_repricing_twice_changes_nothing(ledger):
    ledger.add(many(50), source="csv")
    first = ledger.reprice(catalog("0.0001"), dry_run=False)
    assert first.written > 10
    before = ledger.events()
    again = ledger.reprice(catalog("0.0001"), dry_run=False)
    assert (again.written, again.models) == (0, {})
    assert ledger.events() == before
    assert ledger.verify().problems == []


def test_a_dry_run_writes_nothing_and_finds_what_the_real_run_books(ledger):
    ledger.add(many(50), source="csv")
    before = ledger.table().cost.sum().to_pyarrow().as_py()
    would = ledger.reprice(catalog("0.0001"))
    assert (would.written, len(ledger.events())) == (0, 50)
    did = ledger.reprice(catalog("0.0001"), dry_run=False)
    assert did.models == would.models
    assert ledger.table().cost.sum().to_pyarrow().as_py() == before + would.difference


def test_prices_that_go_up_and_down_and_up_again_end_at_the_last_one(ledger):
    one = event(usage=Usage(input=1000), cost=Decimal("0.9"))
    ledger.add([one], source="csv")
    for number, rate in enumerate(("0.002", "0.001", "0.002", "0.001", "0.003"), 1):
        assert ledger.reprice(catalog(rate), dry_run=False).written == 1
        assert cost_of_request(ledger, one.request_id) == 1000 * Decimal(rate)
        assert len(ledger.events()) == number + 1


def test_each_event_is_priced_as_of_its_own_time(ledger):
    early, late = event(usage=Usage(input=1)), event(usage=Usage(input=1), at=NOON + timedelta(days=2))
    ledger.add([early, late], source="csv")
    rows = [
        PriceRow(provider="azure", model="gpt-4o", valid_from=start, rates={"input": Decimal(rate)})
        for start, rate in ((LONG_AGO, 1), (NOON + timedelta(days=1), 5))
    ]
    ledger.reprice(Catalog([make_book("own", "1", rows)]), dry_run=False)
    assert (cost_of_request(ledger, early.request_id), cost_of_request(ledger, late.request_id)) == (1, 5)


def test_only_the_events_of_the_span_are_repriced(ledger):
    given_events = many(30, days=10, model="gpt-4o")
    ledger.add(given_events, source="csv")
    since, until = NOON + timedelta(days=2), NOON + timedelta(days=4)
    found = ledger.reprice(catalog("1"), since=since, until=until)
    assert found.looked_at == sum(since <= one.at < until for one in given_events)


def test_an_event_whose_price_no_book_knows_any_more_keeps_it(ledger):
    ledger.add([event()], source="csv")
    found = ledger.reprice(catalog("1", model="another-model"), dry_run=False)
    assert (found.lost, found.written) == (1, 0)


def test_a_change_to_flat_rate_takes_the_cost_back(ledger):
    one = event(cost=Decimal("0.5"))
    ledger.add([one], source="csv")
    ledger.reprice(catalog("1", flat_rate=True, rates={}), dry_run=False)
    assert cost_of_request(ledger, one.request_id) == 0
    assert {e.price_state for e in ledger.events() if e.corrects} == {"flat_rate"}


def test_an_aggregate_is_priced_in_the_context_tier_of_its_average_call(ledger):
    book = make_book("own", "1", [
        PriceRow(provider="azure", model="gpt-4o", valid_from=LONG_AGO, rates={"input": Decimal(1)}),
        PriceRow(provider="azure", model="gpt-4o", valid_from=LONG_AGO, rates={"input": Decimal(2)}, context_over=100),
    ])  # fmt: skip
    one = event(usage=Usage(input=500), requests=10, cost=Decimal(1))
    ledger.add([one], source="csv")
    ledger.reprice(Catalog([book]), dry_run=False)
    assert cost_of_request(ledger, one.request_id) == 500


def test_a_corrected_usage_is_what_is_priced(ledger):
    one = event(usage=Usage(input=500), cost=Decimal(500))
    fix = event(corrects=one.id, request_id=one.request_id, usage=Usage(input=-100), cost=Decimal(-100), requests=0)
    ledger.add([one, fix], source="csv")
    assert ledger.reprice(catalog("1")).models == {}
    ledger.reprice(catalog("2"), dry_run=False)
    assert cost_of_request(ledger, one.request_id) == 800


def test_events_in_logs_are_repriced_too_and_after_compaction_not_again(ledger):
    with LogWriter(ledger.folder, "w0") as writer:
        writer.append(event(cost=None, price_state="unpriced"))
        writer.write()
        assert ledger.reprice(catalog("1"), dry_run=False).written == 1
    ledger.compact()
    assert ledger.reprice(catalog("1"), dry_run=False).written == 0
