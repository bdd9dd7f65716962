import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.cli.options import console

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setattr(console, "_width", 140)
    monkeypatch.chdir(tmp_path)


def penstock(*words: object) -> int:
    """Run a command and return its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def document(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("version", ["focus-1.2", "focus-1.4"])
def test_what_is_exported_as_focus_adds_up_to_the_report_and_can_be_imported(name, version, capsys):
    penstock("import", DATA / "litellm_spend_logs.jsonl", DATA / "openai_costs.json", DATA / "anthropic_usage.json")
    penstock("import", DATA / "openai_usage_completions.json")  # the same traffic as in the costs: it counts once
    capsys.readouterr()
    penstock("report", "--json")
    total = Decimal(document(capsys)["total"])
    assert penstock("export", name, "--format", version, "--json") == 0
    written = document(capsys)
    assert Decimal(written["cost"]) == total
    penstock("import", name, "--data", "other", "--json")
    [back] = document(capsys)["files"]
    assert (back["format"], back["events"], back["rejected"]) == ("focus", written["rows"], 0)
    assert Decimal(back["provider_cost"]) == Decimal(back["cost"]) == total


COMMITMENTS = """
[[commitments]]
name = "reserved"
model = "gpt-4.1"
ptus = 50
dollars_per_month = 365
from = 2026-03-13
to = 2026-04-01

[[commitments]]
name = "by the hour"
model = "gpt-4o"
ptus = 15
term = "hourly"
from = 2026-03-14
to = 2026-03-14
"""


@pytest.mark.parametrize("version", ["focus-1.2", "focus-1.4"])
def test_commitments_are_rows_of_what_was_used_unused_and_bought(version, capsys):
    Path("penstock.toml").write_text(COMMITMENTS)
    Path("ptu.csv").write_text(
        "at,provider,model,deployment_type,input_tokens,output_tokens\n"
        "2026-03-14T01:00:10Z,azure,gpt-4.1,global_ptu,120000,7500\n"  # 120,000 + 4 x 7,500: a minute of 50
        "2026-03-14T02:00:00Z,azure,gpt-4.1,global,50000,5000\n"  # $0.14
    )
    penstock("import", "ptu.csv")
    capsys.readouterr()
    assert penstock("export", "out.csv", "--format", version, "--from", "2026-03", "--to", "2026-03", "--json") == 0
    written = document(capsys)
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # 19 days of 1,200 hours at 365 / 730 dollars, and one of 360 at 1.
    assert (Decimal(written["cost"]), Decimal(written["commitments"])) == (Decimal("0.14"), 11_400 + 360)
    for column in ("BilledCost", "EffectiveCost"):
        assert sum(Decimal(row[column]) for row in rows) == Decimal("11760.14")
    [used] = [row for row in rows if row["CommitmentDiscountStatus"] == "Used"]
    # 50 PTU-minutes, of a day whose idle dollars have six decimals.
    assert (used["ChargePeriodStart"], Decimal(used["ConsumedQuantity"]), Decimal(used["EffectiveCost"])) == (
        "2026-03-14T00:00:00Z", Decimal("0.833334"), Decimal("0.416667"),
    )  # fmt: skip
    unused = [row for row in rows if row["CommitmentDiscountStatus"] == "Unused"]
    assert (len(unused), sum(Decimal(row["PricingQuantity"]) for row in unused)) == (19, Decimal("22799.166666"))
    assert {row["ConsumedQuantity"] for row in unused} == {""}
    [bought] = [row for row in rows if row["ChargeCategory"] == "Purchase"]
    assert (bought["ChargePeriodStart"], bought["ChargePeriodEnd"], Decimal(bought["BilledCost"])) == (
        "2026-03-13T00:00:00Z", "2026-04-01T00:00:00Z", 11_400,
    )  # fmt: skip
    [hourly] = [row for row in rows if row["ChargeDescription"].startswith("by the hour")]
    assert (Decimal(hourly["BilledCost"]), hourly["CommitmentDiscountId"]) == (360, "")


def test_events_without_a_price_are_told_and_end_with_one(capsys):
    penstock("import", DATA / "vllm_metrics.prom")
    assert penstock("export", "out.csv", "--format", "focus-1.2") == 1
    assert "2 events have no price and are not in the file (42,000 tokens)" in capsys.readouterr().err
    assert penstock("export", "out.csv", "--format", "focus-1.2", "--allow-unpriced") == 0


def test_events_are_written_as_the_name_ends(capsys):
    penstock("import", DATA / "usage.csv")
    for name in ("events.parquet", "events.csv", "events.jsonl"):
        assert penstock("export", name) == 0
        assert Path(name).stat().st_size
    assert "3 events written to events.jsonl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["out.xlsx"], "--format focus-1.2"), (["out.csv", "--from", "2026-04", "--to", "2026-03"], "no time between"),
        (["missing/out.csv", "--format", "focus-1.2"], "Cannot write"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(words, sentence, capsys):
    penstock("import", DATA / "usage.csv")
    assert penstock("export", *words) == 2
    assert sentence in capsys.readouterr().err


def test_the_help_names_the_forms(capsys):
    penstock("export", "--help")
    assert "focus-1.4" in capsys.readouterr().out
