from decimal import Decimal

import pytest
from tests.ledger.making import event, many, total

from penstock.ledger.log import LogWriter, list_logs
from penstock.ledger.store import Ledger


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path) as ledger:
        ledger.add(many(30, days=1), source="csv")
        with LogWriter(ledger.folder, "w0", rotate_bytes=2000) as writer:
            for one in many(20):
                writer.append(one)
                writer.write()
        yield ledger


def kinds(ledger):
    return {problem.kind for problem in ledger.verify().problems}


def test_a_sound_ledger_is_sound_and_its_sum_exact(ledger):
    found = ledger.verify()
    assert found.sound
    assert (found.events, found.cost) == (50, total(many(30)) + total(many(20)))
    ledger.compact()
    assert ledger.verify().sound


def test_a_flipped_bit_in_a_log_is_found(ledger):
    log = list_logs(ledger.folder)[1]
    data = bytearray(log.read_bytes())
    data[-5] ^= 4
    log.write_bytes(data)
    assert kinds(ledger) == {"frame", "gap"}


def test_a_flipped_bit_in_a_part_is_found(ledger):
    part = ledger.folder / ledger.manifest.parts()[0].path
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 4
    part.write_bytes(data)
    (problem,) = ledger.verify().problems
    assert problem.kind == "checksum"
    assert problem.place == ledger.manifest.parts()[0].path  # by its digest, or because it no longer is Parquet


def test_a_missing_part_and_one_that_is_no_parquet_are_found(ledger):
    first, *_, last = ledger.manifest.parts()
    (ledger.folder / first.path).unlink()
    (ledger.folder / last.path).write_bytes(b"no parquet")
    assert kinds(ledger) == {"missing", "checksum"}


def test_a_missing_log_is_a_gap(ledger):
    list_logs(ledger.folder)[1].unlink()
    (problem,) = ledger.verify().problems
    assert problem.kind == "gap"
    assert "20 events were numbered" in problem.detail


def test_a_part_that_the_manifest_lost_is_missed(ledger):
    with ledger.state.transaction() as write:
        write.execute("DELETE FROM parts WHERE number = 1")
    assert kinds(ledger) == {"rows"}


def test_an_event_that_stands_twice_is_found(ledger):
    twice = event()
    with LogWriter(ledger.folder, "w1") as writer:
        writer.append(twice)
        writer.append(twice)
    (problem,) = ledger.verify().problems
    assert (problem.kind, problem.place) == ("duplicate", twice.id)


def test_a_log_copied_beside_its_original_is_found(ledger):
    log = list_logs(ledger.folder)[0]
    log.with_name("copy-" + log.name).write_bytes(log.read_bytes())
    assert "duplicate" in kinds(ledger)


def test_a_sum_that_does_not_match_what_was_noted_is_found(ledger):
    with ledger.state.transaction() as write:
        write.execute("UPDATE parts SET cost = '1.000000000000000001' WHERE number = 1")
    (problem,) = ledger.verify().problems
    assert problem.kind == "cost"
    assert "1.000000000000000001" in problem.detail


def test_another_row_count_and_other_columns_than_noted_are_found(ledger):
    with ledger.state.transaction() as write:
        write.execute("UPDATE parts SET rows = rows + 1 WHERE number = 1")
    assert kinds(ledger) == {"rows"}
    with ledger.state.transaction() as write:
        write.execute("UPDATE part_columns SET names = replace(names, 'team', 'crew')")
    assert "columns" in kinds(ledger)


def test_a_cost_that_contradicts_its_price_state_is_found(ledger):
    with LogWriter(ledger.folder, "w1") as writer:
        writer.append(event(price_state="unpriced", cost=Decimal(0)))
        writer.append(event(price_state="priced", cost=None))
    assert kinds(ledger) == {"price_state"}


def test_verifying_changes_nothing(ledger):
    before = {path: path.stat().st_mtime_ns for path in ledger.folder.rglob("*.parquet")}
    ledger.verify()
    assert {path: path.stat().st_mtime_ns for path in ledger.folder.rglob("*.parquet")} == before
