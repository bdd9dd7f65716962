from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.analytics.made import MARCH, correction, event, table

from penstock.analytics.requests import Request, explain, latest
from penstock.errors import InputError
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.pricing.books import default_catalog
from penstock.pricing.catalog import PriceKey
from penstock.pricing.usage import Usage


def requests(source, **asked) -> list[Request]:
    return latest(source, **asked)[0]


def test_a_request_is_the_sum_of_its_attempts():
    first = event(
        request_id="r", cost=Decimal("0.5"), outcome="error", status=500, error="http_500", usage=Usage(input=10)
    )
    second = event(
        request_id="r", attempt=2, purpose="fallback", model="o1", cost=Decimal("0.25"), team="a",
        at=MARCH + timedelta(seconds=2), duration_us=500_000, usage=Usage(input=20, cache_read=5, output=3),
    )  # fmt: skip
    [found] = requests(table([second, first]))
    assert (found.attempts, found.cost, found.model, found.outcome, found.team) == (2, Decimal("0.75"), "o1", "ok", "a")
    assert (found.input_tokens, found.cached_tokens, found.output_tokens) == (35, 5, 3)
    assert (found.at, found.duration_us) == (MARCH, 2_500_000)


def test_overhead_counts_in_the_cost_and_does_not_stand_for_the_request():
    call = event(request_id="r", cost=Decimal(1), model="gpt-4o")
    judge = event(
        request_id="r", attempt=2, purpose="judge", cost=Decimal(1), model="o1", at=MARCH + timedelta(seconds=1)
    )
    [found] = requests(table([call, judge]))
    assert (found.model, found.cost) == ("gpt-4o", 2)


def test_an_attempt_without_a_price_leaves_the_request_without_a_total():
    [found] = requests(table([event(request_id="r"), event(request_id="r", attempt=2, cost=None)]))
    assert found.cost is None
    assert found.priced_part == 1


def test_a_correction_settles_it():
    late = event(request_id="r", cost=None)
    [found] = requests(table([late, correction(late, Decimal("0.5"))]))
    assert (found.cost, found.attempts) == (Decimal("0.50"), 1)


def test_the_latest_come_first_and_no_more_than_asked():
    events = [event(request_id=f"r{n}", at=MARCH + timedelta(minutes=n)) for n in range(5)]
    assert [found.request_id for found in requests(table(events), limit=2)] == ["r4", "r3"]


def test_requests_can_be_narrowed():
    events = [event(request_id=f"r{n}", team="ab"[n % 2], at=MARCH + timedelta(minutes=n)) for n in range(4)]
    found = requests(table(events), where=[("team", "a")], since=MARCH + timedelta(minutes=1))
    assert [one.request_id for one in found] == ["r2"]
    assert requests(table(events), until=MARCH) == []
    with pytest.raises(InputError, match="'day'"):
        requests(table(events), where=[("day", "2026-03-14")])


def priced(**changes) -> UsageEvent:
    usage, at = Usage(input=1000, cache_read=24, output=10), changes.get("at", MARCH)
    cost = default_catalog().price(PriceKey(provider="azure", model="gpt-4o"), usage, at)
    return event(
        request_id="r", usage=usage, cost=cost.total, price_book=cost.book, price_row=cost.row,
        **changes,
    )  # fmt: skip


def test_a_request_is_explained_line_by_line_from_the_archived_book(tmp_path):
    with Ledger.open(tmp_path) as ledger:
        for book in default_catalog().books:
            ledger.archive_book(book)
        ledger.add([priced(), event(request_id="other")], source="test")
        [found] = explain(ledger, "r")
    assert found.event.cost is not None
    assert sum(line.amount for line in found.lines) == found.event.cost
    assert {line.unit: (line.quantity, line.rate) for line in found.lines} == {
        "input": (1000, Decimal("0.0000025")), "cache_read": (24, Decimal("0.00000125")),
        "output": (10, Decimal("0.00001")),
    }  # fmt: skip
    assert found.row is not None
    assert found.row.source
    assert found.note == ""


def test_what_cannot_be_explained_says_so(tmp_path):
    late = event(request_id="r", cost=None, at=MARCH + timedelta(seconds=1))
    events = [
        late, correction(late, Decimal(1), at=MARCH + timedelta(seconds=2)),
        event(request_id="r", price_book="lost@1", at=MARCH + timedelta(seconds=3)),
        event(request_id="r", price_row="", cost=Decimal(0), usage=Usage(), at=MARCH + timedelta(seconds=4)),
        priced(at=datetime(2023, 11, 16, tzinfo=UTC)),
    ]  # fmt: skip
    with Ledger.open(tmp_path) as ledger:
        ledger.add(events, source="test")
        early, unpriced, corrected, lost, nothing = explain(ledger, "r")
    assert "earliest price known" in early.note
    assert early.lines
    assert "no price is known" in unpriced.note
    assert late.id in corrected.note
    assert "lost@1" in lost.note
    assert "nothing was used" in nothing.note
    assert not lost.lines


def test_an_unknown_request_has_no_events(tmp_path):
    with Ledger.open(tmp_path) as ledger:
        assert explain(ledger, "nobody") == []


def test_a_ledger_lists_what_a_table_of_its_events_lists(tmp_path):
    events = [
        event(
            request_id=f"r{n // 3}", attempt=n % 3 + 1, at=MARCH + timedelta(minutes=n), team="ab"[n % 2],
            cost=None if n == 5 else Decimal(n), tags={"x": str(n % 4)},
        )
        for n in range(60)
    ]  # fmt: skip
    events += [event(request_id="many", attempt=n, at=MARCH + timedelta(hours=2)) for n in range(1, 40)]
    events.append(correction(events[5], Decimal("0.5")))
    with Ledger.open(tmp_path) as ledger:
        ledger.add(events, source="test")
        for asked in (
            {},
            {"limit": 3},
            {"limit": 1},
            {"where": [("team", "a"), ("tag:x", "2")], "limit": 4},
            {"since": MARCH + timedelta(minutes=10), "until": MARCH + timedelta(minutes=30)},
            {"until": MARCH},
        ):
            assert requests(ledger.moment(), **asked) == requests(table(events), **asked)


def test_pages_of_requests_hold_each_of_them_once(tmp_path):
    events = [
        event(
            request_id=f"r{n // 2}", at=MARCH + timedelta(hours=3 * n), outcome="ok" if n % 3 else "error",
            user=f"u{n % 4}",
        )
        for n in range(40)
    ]  # fmt: skip
    with Ledger.open(tmp_path) as ledger:
        ledger.add(events, source="test")
        ledger.compact()
        for where in ((), (("user", "u1"),), (("outcome", "error"),), (("status", "0"),), (("user", "nobody"),)):
            whole = requests(table(events), where=where)
            pages = [latest(ledger.moment(), where=where, limit=3, skip=skip) for skip in range(0, 21, 3)]
            assert [one.request_id for found, _ in pages for one in found] == [one.request_id for one in whole]
            assert [more for _, more in pages] == [len(whole) > skip + 3 for skip in range(0, 21, 3)]
