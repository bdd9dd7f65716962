import sqlite3
import threading

import pytest

from penstock.errors import LedgerError
from penstock.ledger.state import MIGRATIONS, State


def test_settings_and_the_import_register_survive_reopening(tmp_path):
    state = State(tmp_path / "state.sqlite")
    state.set("a", "1")
    state.set("a", "2")
    state.record_import(digest="d", name="usage.csv", source="csv", new=3, duplicates=1)
    state.close()
    state = State(tmp_path / "state.sqlite")
    assert (state.get("a"), state.get("b", "none")) == ("2", "none")
    found = state.find_import("d")
    assert found is not None
    assert (found.name, found.source, found.new, found.duplicates) == ("usage.csv", "csv", 3, 1)
    assert state.find_import("other") is None
    state.close()


def test_migrations_are_noted_one_by_one_and_a_younger_file_is_left_alone(tmp_path):
    state = State(tmp_path / "state.sqlite")
    assert [row[0] for row in state.read("SELECT version FROM migrations ORDER BY 1")] == [
        *range(1, len(MIGRATIONS) + 1)
    ]
    with state.transaction() as write:
        write.execute("INSERT INTO migrations VALUES (?, 'from the future', '')", (len(MIGRATIONS) + 1,))
    state.close()
    with pytest.raises(LedgerError, match="newer Penstock"):
        State(tmp_path / "state.sqlite").close()


def test_a_file_of_an_older_version_is_brought_up_to_date_with_what_it_holds(tmp_path):
    old = sqlite3.connect(tmp_path / "state.sqlite")
    old.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, at TEXT NOT NULL)")
    for statement in MIGRATIONS[0][1].split(";"):
        old.execute(statement)
    old.execute("INSERT INTO migrations VALUES (1, 'first', '')")
    old.execute("INSERT INTO settings VALUES ('kept', 'yes')")
    old.commit()
    old.close()
    state = State(tmp_path / "state.sqlite")
    assert state.get("kept") == "yes"
    assert state.read("SELECT count(*) FROM parts") == [(0,)]
    state.close()


def test_a_transaction_that_fails_changes_nothing(tmp_path):
    state = State(tmp_path / "state.sqlite")
    with pytest.raises(sqlite3.IntegrityError), state.transaction() as write:  # the second row breaks it
        write.executemany("INSERT INTO settings VALUES (?, ?)", [("a", "1"), ("b", None)])
    assert not state.get("a")
    state.close()


def test_several_processes_may_open_a_new_one_at_once(tmp_path):
    errors: list[Exception] = []

    def open_it() -> None:
        try:
            State(tmp_path / "state.sqlite").close()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "state.sqlite").write_text("not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(LedgerError, match=r"Cannot open .*state\.sqlite"):
        State(tmp_path / "state.sqlite")


def test_a_new_file_that_another_is_just_making_is_waited_for(tmp_path):
    other = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE x (y)")
    soon = threading.Timer(0.2, other.execute, ["COMMIT"])
    soon.start()
    state = State(tmp_path / "state.sqlite")  # SQLite itself does not wait in this one case
    assert state.get("a", "none") == "none"
    state.close()
    soon.join()
    other.close()
