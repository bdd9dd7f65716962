import csv
import io
from decimal import Decimal

import pytest
from tests.cli.reporting import document, imported, penstock, shown

from penstock.cli.options import console


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Two teams ($2.50 and $5 of input), a platform team ($1.50), and $0.15 without a team."""
    return imported(
        tmp_path_factory.mktemp("chargeback"),
        "at,provider,model,input_tokens,output_tokens,team\n"
        "2026-03-14,azure,gpt-4o,1000000,0,red\n"
        "2026-03-14,azure,gpt-4o,2000000,0,blue\n"
        "2026-03-15,azure,gpt-4o-mini,10000000,0,platform\n"
        "2026-03-16,azure,gpt-4o-mini,1000000,0,\n",
    )


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 120)


def test_the_table_is_what_people_see(capsys, ledger):
    assert shown(capsys, "chargeback", "--shared", "team=platform", "--data", ledger) == [
        "team            direct   shared    total   share",
        "blue           $5.0000  $1.0000  $6.0000   65.6%",
        "red            $2.5000  $0.5000  $3.0000   32.8%",
        "(unallocated)                    $0.1500    1.6%",
        "total                            $9.1500  100.0%",
        "",
        "shared cost     amount  split         unallocated",
        "team=platform  $1.5000  proportional      $0.0000",
        "untagged       $0.1500  keep              $0.1500  not split",
        "all time",
        "The ledger holds $9.1500.",
    ]


def test_what_has_no_price_is_not_charged_as_zero(capsys, tmp_path):
    data = imported(
        tmp_path,
        "at,provider,model,input_tokens,team\n2026-03-14,azure,gpt-4o,1000000,red\n2026-03-14,azure,odd,5,red\n",
    )
    assert shown(capsys, "chargeback", "--statement", "red", "--data", data)[1:] == [
        "item    events      input  output    amount",
        "gpt-4o       1  1,000,000       0   $2.5000",
        "odd          1          5       0  unpriced",
        "total        2                      $2.5000",
        "Warning: 1 event has no price: not in the total.",
    ]
    assert penstock("report", "chargeback", "--csv", "--data", data) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["red,direct,gpt-4o,,2.50", "red,direct,odd,,"]


def test_shared_costs_of_the_settings_and_of_options_are_added(capsys, ledger, tmp_path):
    settings = tmp_path / "penstock.toml"
    settings.write_text(
        '[chargeback]\nuntagged = "even"\n'
        '[[chargeback.shared]]\nname = "platform"\nmatch = { team = "platform" }\nsplit = "even"\n'
    )
    found = document(
        capsys, "chargeback", "--extra", "PTU=3900", "--split", "fixed", "--weight", "red=2", "--weight", "blue=1",
        "--config", settings, "--data", ledger,
    )  # fmt: skip
    # 2.50 + 0.75 + 0.075 + 2600; 5 + 0.75 + 0.075 + 1300
    assert {one["name"]: one["total"] for one in found["statements"]} == {"red": "2603.325", "blue": "1305.825"}
    assert (found["total"], found["ledger"], found["extra"], found["unallocated"]) == (
        "3909.15", "9.15", "3900.00", "0.00",
    )  # fmt: skip


def test_one_statement_is_shown_line_by_line(capsys, ledger):
    assert shown(
        capsys, "chargeback", "--shared", "team=platform", "--statement", "red", "--lines", "model", "--data", ledger
    ) == [
        "Statement for red, all time",
        "item                                    events      input  output   amount",
        "gpt-4o                                       1  1,000,000       0  $2.5000",
        "33.33% of team=platform (proportional)                             $0.5000",
        "total                                        1                     $3.0000",
    ]


def test_the_amounts_of_the_csv_add_up_to_the_ledger(capsys, ledger):
    capsys.readouterr()
    assert penstock("report", "chargeback", "--shared", "team=platform", "--cents", "--csv", "--data", ledger) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal("9.15")
    assert [(row["team"], row["kind"], row["item"]) for row in rows] == [
        ("blue", "direct", "gpt-4o"), ("blue", "shared", "team=platform"), ("red", "direct", "gpt-4o"),
        ("red", "shared", "team=platform"), ("", "unallocated", "untagged"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shared", "platform"], "--shared team=platform"), (["--extra", "PTU=much"], "'much' is not a number"),
        (["--weight", "red=1"], "give one of them"), (["--by", "day"], "Time cannot be charged"),
        (["--statement", "green"], "charged are blue, red, platform"), (["--csv", "--json"], "choose one"),
        (["--extra", "PTU=1", "--split", "fixed"], "name some"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_sentence(words, sentence, capsys, ledger):
    assert penstock("report", "chargeback", *words, "--data", ledger) == 2
    assert sentence in capsys.readouterr().err


def test_the_help_has_examples(capsys):
    penstock("report", "chargeback", "--help")
    assert "penstock report chargeback --from 2026-03 --to 2026-03" in capsys.readouterr().out
