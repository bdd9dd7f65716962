import json
from datetime import date, timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest

from penstock.cli.main import main
from penstock.cli.options import console


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Ten weeks that end in the middle of March: two teams, weekends at a fifth."""
    folder = tmp_path_factory.mktemp("forecast")
    file = folder / "usage.csv"
    lines = ["at,provider,model,input_tokens,output_tokens,team"]
    for n in range(75):
        day = date(2026, 1, 1) + timedelta(days=n)
        tokens = 4_000_000 if day.weekday() < 5 else 800_000
        lines += [
            f"{day}T10:00:00Z,azure,gpt-4o,{tokens},0,red",
            f"{day}T11:00:00Z,azure,gpt-4o,{tokens // 4},0,blue",
        ]
    file.write_text("\n".join(lines) + "\n")
    assert penstock("import", file, "--data", folder / "ledger", "--json") == 0
    return folder / "ledger"


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 100)


def penstock(*words: object) -> int:
    """Run a command and return its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_document_holds_exact_money_and_its_own_error(capsys, ledger):
    capsys.readouterr()
    assert penstock("forecast", "--data", ledger, "--by", "team", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    # 22 working days at $12.50, nine days of weekends at $2.50.
    assert float(found["expected"]) == pytest.approx(22 * 12.5 + 9 * 2.5, rel=0.01)
    assert found["spent"] == "150.00"
    assert (found["from"], found["as_of"], found["to"]) == (
        "2026-03-01T00:00:00Z", "2026-03-17T00:00:00Z", "2026-04-01T00:00:00Z",
    )  # fmt: skip
    assert found["stale"]
    assert sum(Decimal(row["expected"]) for row in found["rows"]) == Decimal(found["expected"])
    assert found["backtest"]["error"] <= found["backtest"]["plain_error"]
    assert found["budget"] is None


def test_people_see_the_sum_the_drawing_and_how_good_it_was(capsys, ledger):
    assert penstock("forecast", "--data", ledger, "--by", "team", "--budget", "200") == 0
    said = capsys.readouterr().out
    assert said.startswith("March 2026: $29")
    assert "Over the budget of $200.00" in said
    assert "On your own past, 7 windows of 15 days" in said
    assert "█" in said
    assert "The newest event is old" in said


def test_a_check_says_no_where_more_than_the_budget_is_expected(capsys, ledger):
    assert penstock("forecast", "--data", ledger, "--budget", "200", "--check") == 1
    assert penstock("forecast", "--data", ledger, "--budget", "400", "--check") == 0
    assert penstock("forecast", "--data", ledger, "--check") == 2
    assert "--budget 5000" in capsys.readouterr().err


def test_a_forecast_can_be_drawn_into_a_file(capsys, ledger, tmp_path):
    assert penstock("forecast", "--data", ledger, "--days", "30", "--svg", tmp_path / "f.svg") == 0
    assert "expected" in "".join(ET.fromstring((tmp_path / "f.svg").read_text("utf-8")).itertext())
    assert penstock("forecast", "--data", ledger, "--svg", tmp_path / "no" / "f.svg") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_past_can_be_forecast_from_an_earlier_day(capsys, ledger):
    capsys.readouterr()
    assert penstock("forecast", "--data", ledger, "--as-of", "2026-02-16", "--only", "team=blue", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["as_of"] == "2026-02-16T00:00:00Z"
    assert float(found["expected"]) == pytest.approx(20 * 2.5 + 8 * 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "red"], "--only takes"), (["--budget", "-1"], "from 0 on"), (["--by", "day"], "by day already"),
        (["--method", "magic"], "autotheta"), (["--as-of", "2025-01-01"], "holds no events"), (["--top", "0"], "--top"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_sentence(capsys, ledger, words, said):
    capsys.readouterr()
    assert penstock("forecast", "--data", ledger, *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
