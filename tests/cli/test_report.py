import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest

from penstock.analytics.question import GRAINS
from penstock.analytics.spend import DIMENSIONS
from penstock.cli.main import main
from penstock.cli.options import console

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A ledger of three days, two teams, three models, one of them without a price."""
    folder = tmp_path_factory.mktemp("report")
    file = folder / "usage.csv"
    file.write_text(
        "at,provider,model,input_tokens,cached_tokens,output_tokens,team,tag:product\n"
        "2026-03-14T10:00:00Z,azure,gpt-4o,1000000,200000,100000,red,bot\n"
        "2026-03-15T23:30:00Z,azure,gpt-4o-mini,1000000,0,1000000,blue,bot\n"
        "2026-03-16T10:00:00Z,azure,mystery,500,0,50,blue,\n"
    )
    assert penstock("import", file, "--data", folder / "ledger", "--json") == 0
    return folder / "ledger"


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 120)


def penstock(*words: object) -> int:
    """Run a command and return its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def document(capsys, *words: object):
    capsys.readouterr()
    assert penstock("report", *words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_document_has_the_form_that_others_rely_on(capsys, ledger):
    found = document(capsys, "--data", ledger)
    assert (found["total"], found["unpriced_events"]) == ("4.00", 1)
    assert [
        {name: row[name] for name in ("model", "events", "input_tokens", "output_tokens", "cost")}
        for row in found["rows"]
    ] == [
        {"model": "gpt-4o", "events": 1, "input_tokens": 1_000_000, "output_tokens": 100_000, "cost": "3.25"},
        {"model": "gpt-4o-mini", "events": 1, "input_tokens": 1_000_000, "output_tokens": 1_000_000, "cost": "0.75"},
        {"model": "mystery", "events": 1, "input_tokens": 500, "output_tokens": 50, "cost": "0.00"},
    ]
    assert sum(Decimal(row["cost"]) for row in found["rows"]) == Decimal(found["total"])


def test_dimensions_and_periods_can_be_combined(capsys, ledger):
    found = document(capsys, "--data", ledger, "--by", "team,day", "--from", "2026-03-14", "--to", "2026-03-15")
    assert [(row["team"], row["day"], row["cost"]) for row in found["rows"]] == [
        ("red", "2026-03-14", "3.25"), ("blue", "2026-03-15", "0.75"),
    ]  # fmt: skip
    assert (found["from"], found["to"]) == ("2026-03-14T00:00:00Z", "2026-03-16T00:00:00Z")


def test_days_are_local_where_a_zone_is_named(capsys, ledger):
    found = document(capsys, "--data", ledger, "--by", "day", "--time-zone", "Europe/Berlin")
    assert [row["day"] for row in found["rows"]] == ["2026-03-14", "2026-03-16"]


def test_one_value_can_be_kept(capsys, ledger):
    found = document(capsys, "--data", ledger, "--only", "team=blue", "--only", "tag:product=bot")
    assert [row["model"] for row in found["rows"]] == ["gpt-4o-mini"]


def test_the_table_is_what_people_see(capsys, ledger):
    capsys.readouterr()
    how = "penstock prices set mystery --provider azure --input … --output …"
    assert penstock("report", "--data", ledger) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "model        events      input  cached     output      cost   share",
        "gpt-4o            1  1,000,000   20.0%    100,000   $3.2500   81.2%",
        "gpt-4o-mini       1  1,000,000    0.0%  1,000,000   $0.7500   18.8%",
        "mystery           1        500    0.0%         50  unpriced    0.0%",
        "total             3  2,000,500   10.0%  1,100,050   $4.0000  100.0%",
        "2026-03-14 10:00 to 2026-03-16 10:00 UTC",
        "Warning: 1 event has no price; the total leaves out 550 tokens:",
        f"  1 of model mystery at azure: 500 tokens in, 50 out. Add a price with: {how}",
    ]


def test_days_are_drawn_as_bars(capsys, ledger):
    capsys.readouterr()
    penstock("report", "--data", ledger, "--by", "day")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].rstrip().endswith("█" * 32)
    assert lines[2].count("█") == 7
    assert "█" not in lines[3]


def test_csv_has_exact_amounts_and_warns_beside_it(capsys, ledger):
    capsys.readouterr()
    penstock("report", "--data", ledger, "--csv", "--by", "team,model")
    said = capsys.readouterr()
    rows = list(csv.DictReader(said.out.splitlines()))
    assert [(row["team"], row["model"], row["cost"]) for row in rows] == [
        ("red", "gpt-4o", "3.25"), ("blue", "gpt-4o-mini", "0.75"), ("blue", "mystery", "0.00"),
    ]  # fmt: skip
    assert "1 event has no price" in said.err


def test_a_period_without_events_says_how_to_get_some(capsys, ledger):
    capsys.readouterr()
    assert penstock("report", "--data", ledger, "--from", "2020", "--to", "2020-02") == 2
    assert penstock("report", "--data", ledger, "--from", "2020-01", "--to", "2020-02") == 0
    assert "No events from 2020-01-01 00:00 to 2020-03-01 00:00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--by", "colour"], "'colour'"), (["--from", "2026-03-15", "--to", "2026-03-14"], "no time between"),
        (["--from", "soon"], "'soon'"), (["--only", "team"], "--only team=support"),
        (["--csv", "--json"], "choose one"), (["--to", "9999-12-31"], "beyond the calendar"),
        (["--time-zone", "Mars"], "'Mars'"), (["--data", "nowhere"], "There is no ledger in nowhere"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_sentence_and_exit_code_two(words, sentence, capsys, ledger):
    assert penstock("report", *([] if "--data" in words else ["--data", ledger]), *words) == 2
    assert sentence in capsys.readouterr().err


def test_the_whole_can_be_asked_for_without_dimensions(capsys, ledger):
    [row] = document(capsys, "--data", ledger, "--by", "")["rows"]
    assert (row["events"], row["cost"]) == (3, "4.00")
    assert penstock("report", "--data", ledger, "--by", "") == 0
    assert "$4.0000" in capsys.readouterr().out


def test_a_dimension_named_twice_is_one(capsys, ledger):
    assert penstock("report", "--data", ledger, "--by", "model,model") == 0
    assert capsys.readouterr().out.startswith("model        events")


def test_names_that_look_like_markup_are_shown_as_they_are(capsys, tmp_path):
    file = tmp_path / "usage.csv"
    file.write_text("at,provider,model,input_tokens\n2026-03-14,azure,[red]x[/blue],1\n")
    penstock("import", file, "--data", tmp_path / "ledger")
    assert penstock("report", "--data", tmp_path / "ledger") == 0
    assert capsys.readouterr().out.count("[red]x[/blue]") == 5  # two in the import, one in the table, two below it


def test_every_dimension_is_documented():
    page = (Path(__file__).parents[2] / "docs/reports.md").read_text("utf-8")
    assert [name for name in (*DIMENSIONS, *GRAINS) if f"`{name}`" not in page] == []


def test_the_help_has_examples(capsys):
    penstock("report", "--help")
    assert "penstock report --by team,model --from month" in capsys.readouterr().out
