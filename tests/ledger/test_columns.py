from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.making import event, events

from penstock.errors import LedgerError
from penstock.ledger.columns import SCHEMA, default_of, fits, rounded, to_arrow, to_events
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage


@settings(max_examples=60, deadline=None)
@given(st.lists(events(), max_size=5))
def test_events_come_back_from_columns_as_they_were(given_events):
    table = to_arrow(given_events, "w", range(len(given_events)))
    assert table.schema == SCHEMA
    assert to_events(table) == given_events


def test_every_field_of_an_event_and_every_bucket_of_usage_has_a_column():
    fields = {*UsageEvent.__struct_fields__, *Usage.__struct_fields__} - {"usage"}
    assert fields | {"input_tokens", "output_tokens", "writer", "seq"} == set(SCHEMA.names)
    assert len(SCHEMA.names) == len(set(SCHEMA.names))


def test_totals_are_those_of_the_usage():
    usage = Usage(input=1, cache_read=2, input_audio=4, output=8, reasoning=3, output_image=16)
    (row,) = to_arrow([event(usage=usage)], "w", [1]).select(["input_tokens", "output_tokens"]).to_pylist()
    assert row == {"input_tokens": 7, "output_tokens": 24}


@pytest.mark.parametrize("amount", ["1e-19", "123456789012345678901", "NaN"])
def test_an_amount_that_does_not_fit_exactly_is_refused_by_name(amount):
    bad = event(cost=Decimal(amount))
    with pytest.raises(LedgerError, match=f"Event {bad.id}: cost {Decimal(amount)} does not fit"):
        to_arrow([event(), bad], "w", [1, 2])


def test_the_largest_amount_and_the_smallest_fit():
    for amount in ("99999999999999999999.999999999999999999", "-0.000000000000000001"):
        one = event(cost=Decimal(amount))
        assert fits(Decimal(amount))
        assert to_events(to_arrow([one], "w", [1])) == [one]


def test_rounding_touches_only_what_does_not_fit():
    fine = event()
    assert rounded(fine) == fine
    assert rounded(event(cost=Decimal("0.1234567890123456785"))).cost == Decimal("0.123456789012345678")


def test_every_column_has_a_default_for_parts_that_are_older_than_it():
    assert {default_of(name) for name in ("requests", "attempt", "input")} == {"1", "0"}
    assert (default_of("deployment_type"), default_of("source")) == ("'global'", "'gateway'")
    assert all(default_of(name) for name in SCHEMA.names)
    assert default_of("cost") == "NULL::DECIMAL(38,18)"
    assert SCHEMA.field("cost").type == pa.decimal128(38, 18)
