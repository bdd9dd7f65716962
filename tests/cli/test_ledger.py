import json
from decimal import Decimal
from pathlib import Path

import pytest
from tests.ledger.making import event, many, total

from penstock.cli.main import main
from penstock.cli.options import console
from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger
from penstock.pricing.usage import Usage

BOOK = Path("penstock-data")


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setattr(console, "_width", 140)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def booked():
    events = many(40)
    with Ledger.open(BOOK) as ledger:
        ledger.add(events, source="csv")
    return events


def penstock(*words: object) -> int:
    """Run a command and return its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def answer(capsys, *words: object) -> dict:
    assert penstock(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_status_says_what_is_there(booked, capsys):
    with LogWriter(BOOK, "w0") as writer:
        writer.append(event())
        writer.write()
        assert penstock("ledger", "status") == 0
        out = capsys.readouterr().out
    assert "41" in out
    assert "40 events, 4 files" in out
    assert "1 events, 1 live and 0 closed logs" in out
    assert "2026-03-14 12:00 to 2026-03-17" in out


def test_a_ledger_that_is_not_there_is_wrong_input(capsys):
    for command in ("status", "verify", "compact"):
        assert penstock("ledger", command) == 2
        assert "There is no ledger in penstock-data" in capsys.readouterr().err
    assert not BOOK.exists()


def test_verify_of_a_sound_ledger_is_yes(booked, capsys):
    assert penstock("ledger", "verify") == 0
    assert "40 events, 4 parts, 0 logs, $0.0001: sound" in capsys.readouterr().out
    document = answer(capsys, "ledger", "verify")
    assert (document["sound"], Decimal(document["cost"])) == (True, total(booked))


def test_verify_of_a_damaged_ledger_is_no_and_names_the_place(booked, capsys):
    part = next(BOOK.glob("events/*/*.parquet"))
    part.write_bytes(part.read_bytes().replace(b"gpt", b"gtp", 1))
    assert penstock("ledger", "verify") == 1
    out = capsys.readouterr().out
    assert "checksum" in out
    assert part.name in out
    assert "NOT sound: 1 problems" in out
    assert penstock("ledger", "verify", "--json") == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["kind"] == "checksum"


def test_compact_says_what_it_did(capsys):
    with LogWriter(BOOK, "w0") as writer:
        for one in many(7, days=1):
            writer.append(one)
    with writer.path.open("ab") as file:
        file.write(b"\xa5PEN half a fra")
    assert penstock("ledger", "compact") == 0
    out = capsys.readouterr().out
    assert "7 events of 1 logs into 2 parts" in out
    assert "Torn end of a log (a write that never finished) set aside: torn/w0-" in out
    assert answer(capsys, "ledger", "compact")["events"] == 0


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_export_takes_the_format_from_the_name_and_the_span_from_the_options(booked, form, capsys):
    assert penstock("ledger", "export", f"out.{form}", "--from", "2026-03-15", "--to", "2026-03-15") == 0
    wanted = sum(one.at.day == 15 for one in booked)
    assert f"{wanted} events written to out.{form}" in capsys.readouterr().out
    document = answer(capsys, "ledger", "export", "everything", "--format", form)
    assert (document["events"], document["format"]) == (40, form)


def test_export_to_a_name_that_says_nothing_is_wrong_input(booked, capsys):
    assert penstock("ledger", "export", "out.xls") == 2
    assert "Add --format" in capsys.readouterr().err
    assert penstock("ledger", "export", "out.csv", "--from", "2026-03-16", "--to", "2026-03-14") == 2


def test_retention_asks_before_it_drops_and_keeps_the_totals(booked, capsys):
    assert penstock("ledger", "retention", "--days", 30, "--dry-run") == 0
    assert "Would drop 40 events of 4 days" in capsys.readouterr().out
    assert penstock("ledger", "retention", "--days", 30) == 2
    assert "Nobody is there to answer: add --yes" in capsys.readouterr().err
    assert penstock("ledger", "retention", "--days", 30, "--yes") == 0
    assert "Dropped 40 events" in capsys.readouterr().out
    with Ledger.open(BOOK) as ledger:
        assert ledger.events() == []
        assert ledger.summary().cost.sum().to_pyarrow().as_py() == total(booked)
    assert penstock("ledger", "retention", "--days", 30, "--yes") == 0
    assert "Nothing is older than" in capsys.readouterr().out
    for days in (0, 999_999_999):
        assert penstock("ledger", "retention", "--days", days) == 2
        assert "--days must be" in capsys.readouterr().err


PRICE = """
[[prices.rows]]
provider = "azure"
model = "our-own-model"
from = 2024-01-01
input = "2.00"
output = "8.00"
"""


def test_reprice_prices_what_had_no_price_once_and_only_after_yes(capsys):
    missing = event(
        model="our-own-model", price_state="unpriced", cost=None, usage=Usage(input=1_000_000, output=500_000)
    )
    with Ledger.open(BOOK) as ledger:
        ledger.add([missing], source="csv")
    assert answer(capsys, "ledger", "reprice", "--dry-run")["models"] == []
    Path("penstock.toml").write_text(PRICE)
    assert penstock("ledger", "reprice", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "our-own-model" in out
    assert "1 events looked at, 1 differ by $6.00 together" in out
    assert penstock("ledger", "reprice") == 2
    assert "Nobody is there to answer" in capsys.readouterr().err
    document = answer(capsys, "ledger", "reprice", "--yes")
    assert document["corrections_written"] == 1
    assert Decimal(document["difference"]) == 6
    assert document["models"][0]["were_unpriced"] == 1
    assert answer(capsys, "ledger", "reprice", "--yes")["corrections_written"] == 0
    with Ledger.open(BOOK) as ledger:
        assert total(ledger.events()) == 6
        (correction,) = [one for one in ledger.events() if one.corrects]
        assert ledger.load_book(correction.price_book) is not None
    assert penstock("ledger", "verify") == 0
