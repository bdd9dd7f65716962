from datetime import date
from decimal import Decimal

import pytest

from penstock.errors import InputError
from penstock.ledger.business_metrics import MetricStore, Observation, together
from penstock.ledger.state import State


@pytest.fixture
def store(tmp_path):
    state = State(tmp_path / "state.sqlite")
    yield MetricStore(state)
    state.close()


def tickets(day: int, value: str, **group: str) -> Observation:
    return Observation(day=date(2026, 3, day), metric="tickets", value=Decimal(value), group=group)


def test_the_same_day_metric_and_dimensions_replace_what_was_kept(store):
    first = store.put([tickets(14, "10", app="bot", team="a"), tickets(14, "5", app="web", team="a")])
    assert (first.new, first.replaced, first.unchanged) == (2, 0, 0)
    again = store.put([tickets(14, "10.0", team="a", app="bot"), tickets(14, "7", team="a", app="web")])
    assert (again.new, again.replaced, again.unchanged) == (0, 1, 1)
    assert [(one.group["app"], one.value) for one in store.all()] == [("bot", 10), ("web", 7)]


def test_a_metric_keeps_its_dimensions_and_a_wrong_row_keeps_nothing(store):
    store.put([tickets(14, "10", team="a")])
    with pytest.raises(InputError, match="row 2: tickets is kept by team, and this is of everything"):
        store.put([tickets(15, "1", team="a"), tickets(16, "2")])
    assert len(store.all()) == 1
    assert store.remove("tickets") == 1
    store.put([tickets(16, "2")])
    with pytest.raises(InputError, match="no metric 'orders' to remove: there is tickets"):
        store.remove("orders")


def test_what_is_kept_is_listed_by_day_and_summed_up(store):
    store.put([tickets(day, "1.5") for day in (16, 14, 15)])
    assert [one.day.day for one in store.all(since=date(2026, 3, 15))] == [15, 16]
    assert [one.day.day for one in store.all(until=date(2026, 3, 15), limit=1, first=1)] == [15]
    [summary] = store.summaries()
    assert (summary.days, summary.total, summary.first.day, summary.last.day) == (3, Decimal("4.5"), 14, 16)


def test_a_metric_that_is_kept_comes_before_one_of_a_file(store):
    store.put([tickets(14, "1")])
    other = Observation(day=date(2026, 3, 14), metric="orders", value=Decimal(3), group={})
    found = together(store.all(), [tickets(14, "99"), tickets(15, "99"), other])
    assert [(one.metric, one.value) for one in found] == [("tickets", 1), ("orders", 3)]


def test_numbers_stay_exact(store):
    store.put([tickets(14, "0.1234567890123456789012345678")])
    assert store.all()[0].value == Decimal("0.1234567890123456789012345678")
