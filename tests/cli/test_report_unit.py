import pytest
from tests.cli.reporting import document, imported, penstock, shown

from penstock.cli.options import console


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """$2.50 a day on three days; tickets are known of two of them."""
    folder = tmp_path_factory.mktemp("unit")
    (folder / "kpi.csv").write_text("date,metric,value,app\n2026-03-14,tickets,100,bot\n2026-03-16,tickets,150,bot\n")
    days = "".join(f"2026-03-{day},azure,gpt-4o,1000000,0,bot\n" for day in (14, 15, 16))
    return imported(folder, f"at,provider,model,input_tokens,output_tokens,app\n{days}")


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 130)


def asked(ledger, *words):
    return ("unit", "--metrics", ledger.parent / "kpi.csv", "--metric", "tickets", "--data", ledger, *words)


def test_the_table_is_what_people_see(capsys, ledger):
    assert shown(capsys, *asked(ledger, "--value-each", "2.50", "--investment", "18600", "--by", "app")) == [
        "app    days  tickets     cost       each    value      net  margin     ROI  cost/value",
        "bot       2      250  $5.0000  $0.020000  $625.00  $620.00  99.20%  125.0x       0.80%",
        "total     2      250  $5.0000  $0.020000  $625.00  $620.00  99.20%  125.0x       0.80%",
        "2026-03-14 to 2026-03-16; each: spend and other costs for one of tickets",
        "The investment of $18,600.00 is paid back after 2.00 months of 30 days.",
        "Warning: 1 day of bot without tickets, left out with $2.5000 of spend: 2026-03-15",
    ]


def test_the_document_is_exact(capsys, ledger):
    found = document(capsys, *asked(ledger, "--per", "day"))
    assert [(row["first"], row["cost_per_outcome"]) for row in found["rows"]] == [
        ("2026-03-14", "0.025000000"), ("2026-03-16", "0.016666667"),
    ]  # fmt: skip
    assert (found["total"]["value"], found["payback_months"]) == (None, None)
    assert found["missing"] == [{"group": {}, "days": ["2026-03-15"], "spend": "2.50"}]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--by", "team"], "no column 'team'"), (["--value-each", "much"], "'much' is not a number"),
        (["--value-each", "1", "--value-metric", "revenue"], "choose one"), (["--value-metric", "x"], "no metric 'x'"),
        (["--metrics", "nowhere.csv"], "Cannot read nowhere.csv"), (["--metric", "orders"], "there is tickets"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_sentence(words, sentence, capsys, ledger):
    plain = {"--metrics": ledger.parent / "kpi.csv", "--metric": "tickets", "--data": ledger}
    given = plain | dict(zip(words[::2], words[1::2], strict=True))
    assert penstock("report", "unit", *[word for pair in given.items() for word in pair]) == 2
    assert sentence in capsys.readouterr().err


def test_the_help_has_examples(capsys):
    penstock("report", "unit", "--help")
    assert "penstock report unit --metrics kpi.csv --metric tickets --value-each 2.50" in capsys.readouterr().out
