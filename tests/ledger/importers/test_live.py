"""What arrives while the server runs, without a server."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.ledger.importers.test_otlp import document, span

from penstock.errors import LedgerError
from penstock.ledger.importers.live import Arrival, FullError, Intake, TooLargeError, unpacked
from penstock.ledger.importers.otlp_wire import WireError
from penstock.ledger.retention import RETIRED
from penstock.ledger.store import Ledger
from penstock.metering.attribution import Attribution
from penstock.pricing.books import default_catalog

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CATALOG = default_catalog().load()


def intake(open_ledger: Callable[[], Ledger]) -> Intake:
    return Intake(open_ledger, CATALOG, max_body=10_000, max_waiting=100, now=lambda: NOW)


def traces(*spans: dict) -> Arrival:
    return Arrival("traces", "json", document(*spans).encode())


def test_what_waits_is_booked_together_and_a_bad_request_fails_alone(tmp_path: Path):
    one = intake(lambda: Ledger.open(tmp_path))
    arrivals = [traces(span(n)) for n in range(1, 6)]
    arrivals.insert(2, Arrival("traces", "json", b"{"))
    done = [one.take(arrival) for arrival in arrivals]
    with pytest.raises(WireError):
        done.pop(2).result(60)
    assert [future.result(60).rejected for future in done] == [0] * 5
    assert one.take(traces(span(3))).result(60).message == ""  # sent again: there already
    one.close()
    with Ledger.open(tmp_path) as ledger:
        assert len({event.id for event in ledger.events()}) == len(ledger.events()) == 5
    with pytest.raises(FullError), one.room(1):
        pass


def test_a_body_has_its_room_from_before_it_is_read_until_it_is_booked():
    one = intake(lambda: pytest.fail("nothing is booked"))
    # Alone, one may be larger than the whole: nobody would ever get it in.
    with one.room(500), pytest.raises(FullError, match="500 bytes of telemetry wait"), one.room(1):
        pass
    with one.room(60), one.room(40), pytest.raises(FullError), one.room(1):
        pass
    one.close()


def test_a_ledger_that_cannot_be_written_is_told_to_the_sender():
    def broken() -> Ledger:
        raise LedgerError("The disk is full.")

    one = intake(broken)
    with pytest.raises(LedgerError, match="The disk is full"):
        one.take(traces(span())).result(60)
    one.close()


def test_spans_without_an_id_and_of_retired_days_are_rejected(tmp_path: Path):
    with Ledger.open(tmp_path) as ledger:
        ledger.state.set(RETIRED, "2026-06-01")
    one = intake(lambda: Ledger.open(tmp_path))
    nanos = int((NOW - timedelta(hours=1)).timestamp()) * 10**9
    fresh = span(2) | {"startTimeUnixNano": str(nanos), "endTimeUnixNano": str(nanos)}
    booked = one.take(traces(span(1), fresh, fresh | {"spanId": ""})).result(60)
    one.close()
    assert booked.rejected == 2
    assert booked.message.startswith("spans rejected: 2, events booked: 1; ")
    assert "days before 2026-06-01 were retired" in booked.message
    assert "spanId is empty" in booked.message


def test_the_key_says_who_pays_then_the_span_then_the_headers(tmp_path: Path):
    one = intake(lambda: Ledger.open(tmp_path))
    said = span(**{"penstock.team": "from-span", "penstock.app": "from-span"})
    arrival = Arrival(
        "traces", "json", document(said).encode(), payer=Attribution(key="k1", team="from-key", tags={"a": "key"}),
        otherwise=Attribution(team="from-header", app="from-header", feature="from-header", tags={"a": "header"}),
    )  # fmt: skip
    one.take(arrival).result(60)
    one.close()
    with Ledger.open(tmp_path) as ledger:
        [event] = ledger.events()
    assert (event.key, event.team, event.app, event.feature) == ("k1", "from-key", "from-span", "from-header")
    assert event.tags == {"a": "key"}


def test_a_packed_body_is_unpacked_to_a_limit():
    import gzip

    assert unpacked(gzip.compress(b"x" * 50), 50) == b"x" * 50
    with pytest.raises(TooLargeError, match="larger than 49 bytes"):
        unpacked(gzip.compress(b"x" * 50), 49)
    with pytest.raises(WireError, match="cut off"):
        unpacked(gzip.compress(json.dumps([1, 2]).encode())[:-4], 50)
