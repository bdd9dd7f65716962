import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import ibis
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.making import NOON, event, events, many, total

from penstock.errors import InputError, LedgerError
from penstock.ledger.log import LogWriter
from penstock.ledger.lookup import newest
from penstock.ledger.manifest import PART_FORMAT, Part
from penstock.ledger.store import CHUNK, Added, Ledger
from penstock.metering.event import new_id
from penstock.pricing.book import PriceRow, make_book


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "book") as ledger:
        yield ledger


def by_id(found):
    return sorted(found, key=lambda one: one.id)


def test_imported_events_come_back_as_they_were(ledger):
    given_events = many(200)
    assert ledger.add(given_events, source="csv") == Added(200, 0)
    assert by_id(ledger.events()) == by_id(given_events)


def test_an_import_twice_changes_nothing(ledger):
    given_events = many(200)
    ledger.add(given_events, source="csv")
    parts = ledger.manifest.parts()
    assert ledger.add(given_events, source="csv") == Added(0, 200)
    assert ledger.add([*given_events[50:], event()], source="csv") == Added(1, 150)
    assert [part for part in ledger.manifest.parts() if part in parts] == parts
    assert len(ledger.events()) == 201


def test_an_event_that_stands_twice_in_one_import_is_booked_once(ledger):
    one, other = event(), event()
    assert ledger.add([one, other, one], source="csv") == Added(2, 1)


def test_an_id_counts_as_known_within_its_source_wherever_it_lies(ledger):
    one = event(source="csv", at=NOON)
    with LogWriter(ledger.folder, "w0") as writer:
        writer.append(one)
        writer.write()
        assert ledger.add([one], source="csv") == Added(0, 1)
    moved = msgspec.structs.replace(one, at=NOON + timedelta(days=40))
    ledger.compact()
    assert ledger.add([moved], source="csv") == Added(0, 1)


def test_an_import_that_breaks_half_way_books_nothing_and_can_be_repeated(ledger):
    given_events = many(30)

    def broken():
        yield from given_events[:20]
        raise InputError("line 21 cannot be read")

    with pytest.raises(InputError):
        ledger.add(broken(), source="csv")
    assert ledger.events() == []
    assert list((ledger.folder / "tmp").iterdir()) == []
    assert ledger.add(given_events, source="csv") == Added(30, 0)


def test_an_import_of_several_chunks_is_one_import(ledger, monkeypatch):
    monkeypatch.setattr("penstock.ledger.store.CHUNK", 7)
    assert CHUNK > 7
    given_events = many(50, days=5)
    assert ledger.add(iter(given_events), source="csv") == Added(50, 0)
    assert by_id(ledger.events()) == by_id(given_events)
    assert sum(part.cost for part in ledger.manifest.parts()) == total(given_events)
    assert len(ledger.manifest.parts()) == len({one.at.date() for one in given_events})


def test_two_imports_of_one_source_at_once_do_not_double_what_they_share(ledger):
    given_events = many(100)
    results: list[Added] = []
    barrier = threading.Barrier(3)

    def import_some(first: int) -> None:
        with Ledger.open(ledger.folder) as mine:
            barrier.wait()
            results.append(mine.add(given_events[first : first + 60], source="csv"))

    threads = [threading.Thread(target=import_some, args=(first,)) for first in (0, 20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.new for result in results) == 100
    assert by_id(ledger.events()) == by_id(given_events)


def test_the_table_holds_what_is_in_parts_and_in_logs_and_sums_exactly(ledger):
    imported, written = many(100), many(40)
    ledger.add(imported, source="csv")
    with LogWriter(ledger.folder, "w0") as writer:
        for one in written:
            writer.append(one)
        writer.write()
        table = ledger.table()
        assert table.count().to_pyarrow().as_py() == 140
        assert table.cost.sum().to_pyarrow().as_py() == total(imported + written)
        writer.append(event(cost=Decimal("0.000000000000000001")))
        writer.write()
        assert table.count().to_pyarrow().as_py() == 140
        exact = ledger.table().cost.sum().to_pyarrow().as_py()
        assert exact == total(imported + written) + Decimal("0.000000000000000001")


def test_a_table_is_asked_from_many_threads_at_once(ledger):
    ledger.add(many(500), source="csv")
    expected = ledger.table().count().to_pyarrow().as_py()
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(10):
            table = ledger.table()
            found = table.group_by(table.model).aggregate(n=table.count()).to_pyarrow().to_pylist()
            if sum(row["n"] for row in found) != expected:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_table_of_a_span_opens_only_the_parts_of_that_span(ledger):
    ledger.add(many(100, days=10), source="csv")
    day = timedelta(days=1)
    some = ledger.table(since=NOON + 3 * day, until=NOON + 5 * day)
    assert ibis.to_sql(some)
    found = {at.date() for at in some["at"].to_pyarrow().to_pylist()}
    assert found == {(NOON + n * day).date() for n in (3, 4, 5)}


def test_events_are_found_by_request_time_and_number(ledger):
    given_events = many(60)
    ledger.add(given_events, source="csv")
    one = given_events[17]
    assert ledger.events(request_id=one.request_id) == [one]
    assert ledger.events(request_id="it's nobody's") == []
    middle = given_events[30].at
    assert ledger.events(since=middle) == [e for e in given_events if e.at >= middle]
    assert ledger.events(until=middle) == [e for e in given_events if e.at < middle]
    assert ledger.events(limit=5) == given_events[:5]
    assert ledger.events(limit=5, newest_first=True) == given_events[:-6:-1]


def test_no_attempt_is_missed_when_the_clock_was_set_between_attempts(ledger):
    first = event(id=new_id(NOON.timestamp()), at=NOON)
    ahead = event(request_id=first.id, attempt=2, at=NOON + timedelta(days=400))
    behind = event(request_id=first.id, attempt=3, at=NOON - timedelta(days=400))
    for one in (first, ahead, behind):  # a part each
        ledger.add([one, *(event(at=one.at) for _ in range(3))], source="csv")
    assert ledger.events(request_id=first.id) == [behind, first, ahead]
    ledger.compact()
    assert ledger.events(request_id=first.id) == [behind, first, ahead]


def test_a_request_is_found_whatever_its_id_looks_like(ledger):
    near, far = event(id=new_id(NOON.timestamp()), at=NOON + timedelta(hours=20)), event()
    ledger.add([near, far, *many(20, days=9)], source="csv")
    late = event(request_id=near.id, attempt=2, at=NOON + timedelta(hours=30))
    with LogWriter(ledger.folder, "w0") as writer:
        writer.append(late)
        writer.write()
        assert ledger.events(request_id=near.id) == [near, late]
    assert ledger.events(request_id=far.id) == [far]
    assert ledger.events(request_id="a\0b") == []


@given(
    spans=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5), st.integers(1, 9)), max_size=6),
    rows=st.integers(0, 20),
)
def test_the_parts_kept_for_the_newest_rows_hold_them_however_parts_overlap(spans, rows):
    parts = [
        Part(path=str(n), day=NOON.date(), columns=(), rows=count, bytes=0, sha256="", cost=Decimal(0), sources=(),
             first=NOON + timedelta(days=first), last=NOON + timedelta(days=first + length))
        for n, (first, length, count) in enumerate(spans)
    ]  # fmt: skip
    kept = newest(parts, rows)
    dropped = [part for part in parts if part not in kept]
    assert sum(part.rows for part in kept) >= min(rows, sum(part.rows for part in parts))
    if kept and dropped:
        surely_younger = sum(part.rows for part in kept if part.first > max(one.last for one in dropped))
        assert surely_younger >= rows


def test_a_correction_adds_up_with_the_event_it_corrects(ledger):
    wrong = event(cost=Decimal(1))
    ledger.add([wrong], source="csv")
    ledger.add([event(corrects=wrong.id, cost=Decimal("-0.25"), request_id=wrong.request_id)], source="csv")
    assert total(ledger.events(request_id=wrong.request_id)) == Decimal("0.75")


@settings(max_examples=8, deadline=None)
@given(data=st.data(), batches=st.lists(st.lists(events(), max_size=6), max_size=3))
def test_whatever_is_written_comes_back_however_it_is_written_and_compacted(data, batches, tmp_path_factory):
    folder = tmp_path_factory.mktemp("law")
    expected = {}
    with Ledger.open(folder) as ledger:
        for batch in batches:
            fresh = {one.id: one for one in batch if one.id not in expected}
            if data.draw(st.booleans(), label="through a log"):
                with LogWriter(folder, "w0", rotate_bytes=300) as writer:
                    for one in fresh.values():
                        writer.append(one)
                        writer.write()
            else:
                assert ledger.add(fresh.values(), source="csv").new == len(fresh)
            expected |= fresh
            if data.draw(st.booleans(), label="compact"):
                ledger.compact()
        assert {one.id: one for one in ledger.events()} == expected
        assert (ledger.table().cost.sum().to_pyarrow().as_py() or 0) == total(list(expected.values()))
        assert ledger.verify().problems == []


def test_a_folder_without_a_ledger_is_not_made_one_by_a_question(tmp_path):
    with pytest.raises(InputError, match="There is no ledger in"):
        Ledger.open(tmp_path / "nothing", create=False)
    assert not (tmp_path / "nothing").exists()
    with LogWriter(tmp_path / "logs-only", "w0") as writer:
        writer.append(event())
    with Ledger.open(tmp_path / "logs-only", create=False) as ledger:
        assert len(ledger.events()) == 1


def test_parts_of_a_newer_format_are_refused_and_left_alone(ledger):
    ledger.add([event()], source="csv")
    with ledger.state.transaction() as write:
        write.execute("UPDATE parts SET format = ?", (PART_FORMAT + 1,))
    with pytest.raises(LedgerError, match="newer Penstock"):
        ledger.events()


def test_parts_from_before_a_column_existed_are_read_with_its_default_and_upgraded_by_merging(ledger, monkeypatch):
    from penstock.ledger import columns, parts

    given_events = many(20, days=1)
    young = columns.SCHEMA
    old = young.remove(young.get_field_index("deployment_type")).remove(young.get_field_index("pages") - 1)
    assert set(young.names) - set(old.names) == {"deployment_type", "pages"}
    ledger.add(given_events, source="csv")
    for part in ledger.manifest.parts():
        writer = parts.PartWriter(ledger.folder, part.day, old)
        writer.put(parts.pq.read_table(ledger.folder / part.path).select(old.names))
        ledger.manifest.commit(add=[writer.close()], drop=[part])
    assert by_id(ledger.events()) == by_id(given_events)
    ledger.add([event(at=part.first) for part in ledger.manifest.parts()], source="csv")
    assert ledger.verify().problems == []
    ledger.compact()
    assert {part.columns for part in ledger.manifest.parts()} == {tuple(young.names)}
    assert len(ledger.events()) == 20 + 2


def test_a_price_book_is_kept_for_as_long_as_events_may_name_it(ledger):
    row = PriceRow(provider="own", model="m", valid_from=NOON, rates={"input": Decimal("0.000001")})
    book = make_book("own", "1", [row])
    ledger.archive_book(book)
    ledger.archive_book(book)
    kept = ledger.load_book(book.id)
    assert kept is not None
    assert type(book).from_bytes(kept) == book
    assert ledger.load_book("other") is None


def test_the_status_counts_what_is_where(ledger):
    assert ledger.status().events == 0
    ledger.add(many(10), source="csv")
    with LogWriter(ledger.folder, "w0") as writer:
        writer.append(event(at=datetime(2026, 12, 31, tzinfo=UTC)))
        writer.write()
        found = ledger.status()
        assert (found.events, found.parts_events, found.logs_events, found.live_logs) == (11, 10, 1, 1)
        assert found.last == datetime(2026, 12, 31, tzinfo=UTC)
    assert ledger.status().closed_logs == 1
