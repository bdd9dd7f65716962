import csv
import io
import json
from decimal import Decimal

import pytest
from tests.cli.billing import CHARGES, MINI_IN, MINI_OUT, UNKNOWN, USAGE, charge, focus
from tests.cli.reporting import imported, penstock

from penstock.cli.options import console


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("reconcile"), USAGE)


@pytest.fixture
def bill(tmp_path):
    file = tmp_path / "focus.csv"
    file.write_text(focus(*CHARGES))
    return file


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 160)


def asked(capsys, *words: object, code: int = 1):
    capsys.readouterr()
    assert penstock("report", "reconcile", *words, "--json") == code
    return json.loads(capsys.readouterr().out)


def effects(row) -> dict[str, Decimal]:
    """Return the effects that are not zero."""
    return {name: Decimal(value) for name, value in row["effects"].items() if Decimal(value)}


def test_every_cause_is_found_and_all_of_them_add_up(capsys, ledger, bill):
    found = asked(capsys, "--invoice", bill, "--data", ledger)
    assert (found["total"]["billed"], found["total"]["ledger"], found["total"]["difference"]) == (
        "6.48", "3.16518505", "3.31481495",
    )  # fmt: skip
    assert effects(found["total"]) == {
        "rounding": Decimal("0.00481495"), "price": Decimal("-0.03"), "quantity": Decimal("0.03"),
        "unpriced": Decimal("0.40"), "bill_only": Decimal("3.06"), "ledger_only": Decimal("-0.15"),
    }  # fmt: skip
    assert found["total"]["unexplained"] == "3.24"
    assert found["invoice"] == "12.98"
    assert [(one["kind"], one["charged"]) for one in found["aside"]] == [
        ("tax", "0.50"), ("credit", "-1.00"), ("other services than AI", "7.00"),
    ]  # fmt: skip
    assert (found["from"], found["to"]) == ("2026-03-14T00:00:00Z", "2026-03-18T00:00:00Z")


def test_each_meter_on_each_day_has_its_own_cause(capsys, ledger, bill):
    found = asked(capsys, "--invoice", bill, "--data", ledger)
    days = {(row["meter"], row["day"][8:]): effects(row) for row in found["days"]}
    shift = Decimal("2.5")
    assert days == {
        (MINI_IN, "14"): {"rounding": Decimal("0.00481495")},
        (MINI_IN, "15"): {"price": Decimal("-0.03")},
        (MINI_IN, "16"): {"ledger_only": Decimal("-0.15")},
        (MINI_OUT, "14"): {},
        (MINI_OUT, "15"): {"quantity": Decimal("0.03")},
        (MINI_OUT, "17"): {"bill_only": Decimal("0.06")},
        ("gpt 4o 0806 Inp glbl Tokens", "14"): {"time_shift": -shift},
        ("gpt 4o 0806 Inp glbl Tokens", "15"): {"time_shift": shift},
        (UNKNOWN, "14"): {"bill_only": Decimal(3)},
        ("house-model Input", "14"): {"unpriced": Decimal("0.40")},
    }
    for row in found["days"]:
        assert sum(effects(row).values()) == Decimal(row["billed"]) - Decimal(row["ledger"]), row


def test_days_of_the_bill_s_own_zone_need_no_shift(capsys, ledger, bill):
    found = asked(capsys, "--invoice", bill, "--data", ledger, "--time-zone", "Asia/Tokyo")
    assert not any("time_shift" in effects(row) for row in found["days"])


def test_the_exit_code_is_that_of_the_unexplained_dollars(capsys, ledger, bill):
    assert asked(capsys, "--invoice", bill, "--data", ledger, "--tolerance", "3.24", code=0)["agrees"] is True
    assert asked(capsys, "--invoice", bill, "--data", ledger, "--tolerance", "50%", code=0)["tolerance"] == "3.24"
    words = ["--aside", "gpt 9", "--explained", "rounding,time_shift,price,unpriced,quantity,bill_only,ledger_only"]
    found = asked(capsys, "--invoice", bill, "--data", ledger, *words, code=0)
    assert found["total"]["unexplained"] == "0.00"
    assert found["aside"][0] == {"kind": UNKNOWN, "rows": 1, "charged": "3.00"}
    assert Decimal(found["total"]["billed"]) == Decimal("3.48")
    only = asked(capsys, "--invoice", bill, "--data", ledger, "--explained", "price")
    assert only["total"]["unexplained"] == "8.64481495"  # 3.24, what is unpriced, rounded, and shifted there and back


def test_an_imported_bill_says_the_same_and_is_no_part_of_the_ledger_s_side(capsys, tmp_path, bill):
    folder = imported(tmp_path, USAGE)
    assert penstock("import", bill, "--data", folder) == 0
    for words in (["--bill", "focus"], ["--invoice", bill]):
        found = asked(capsys, *words, "--data", folder)
        assert found["total"]["ledger"] == "3.16518505"
        assert effects(found["total"])["bill_only"] == Decimal("3.06")
    assert asked(capsys, "--bill", "focus", "--data", folder)["total"]["billed"] == "6.48"


def test_the_table_is_what_people_see(capsys, ledger, bill):
    capsys.readouterr()
    assert penstock("report", "reconcile", "--invoice", bill, "--data", ledger) == 1
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].split() == [
        "meter", "billed", "ledger", "difference", "rounding", "price", "quantity", "unpriced", "bill", "only",
        "ledger", "only",
    ]  # fmt: skip
    assert lines[1].split()[-4:] == ["$3.0000", "$0.0000", "+$3.0000", "-"] or "+$3.0000" in lines[1]
    assert "With them the bill comes to $12.9800." in lines
    assert lines[-1] == "Unexplained: $3.2400, above the tolerance of $0.0100."
    penstock("report", "reconcile", "--invoice", bill, "--data", ledger, "--by", "day")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:5]] == [
        f"2026-03-{day}" for day in (14, 15, 16, 17)
    ]


def test_csv_holds_each_meter_and_day(capsys, ledger, bill):
    capsys.readouterr()
    assert penstock("report", "reconcile", "--invoice", bill, "--data", ledger, "--csv") == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 10
    assert sum(Decimal(row["difference"]) for row in rows) == Decimal("3.31481495")


@pytest.mark.parametrize(("charged", "sentence"), [
    (charge(14, MINI_IN, "1", "1", "1", BillingCurrency="EUR"), "BillingCurrency is EUR"),
    (charge(14, "Tax", "", "", "1", ChargeCategory="Tax"), "left aside 1 of tax"),
])  # fmt: skip
def test_a_bill_that_cannot_be_compared_is_refused(capsys, ledger, tmp_path, charged, sentence):
    file = tmp_path / "focus.csv"
    file.write_text(focus(charged))
    assert penstock("report", "reconcile", "--invoice", file, "--data", ledger) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("words", "sentence"), [
    (["--from", "2026-04"], "has no line between"),
    (["--explained", "luck"], "There is no effect 'luck'"),
    (["--tolerance", "some"], "neither dollars"),
    (["--bill", "focus"], "Say which bill"),
])  # fmt: skip
def test_options_that_say_nothing_are_refused(capsys, ledger, bill, words, sentence):
    assert penstock("report", "reconcile", "--invoice", bill, "--data", ledger, *words) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_that_is_no_bill_is_refused(capsys, ledger, tmp_path):
    file = tmp_path / "usage.csv"
    file.write_text(USAGE)
    assert penstock("report", "reconcile", "--invoice", file, "--data", ledger) == 2
    assert "no bill" in capsys.readouterr().err


def test_rows_that_cannot_be_read_keep_a_bill_from_agreeing(capsys, ledger, tmp_path):
    file = tmp_path / "focus.csv"
    file.write_text(focus(charge(14, MINI_OUT, "0.1", "0.60", "0.06"), charge(14, MINI_OUT, "x", "1", "1")))
    found = asked(capsys, "--invoice", file, "--data", ledger, "--tolerance", "100")
    assert (found["rejected"], found["agrees"]) == (1, False)
    assert "not a number" in found["examples"][0]


def test_openai_s_costs_name_no_mode_and_batches_go_to_the_line_of_their_model(capsys, tmp_path):
    folder = imported(
        tmp_path,
        "at,provider,model,mode,input_tokens,cached_tokens,output_tokens\n"
        "2026-03-14T09:00Z,openai,gpt-4o-mini-2024-07-18,standard,1000000,0,0\n"
        "2026-03-14T10:00Z,openai,gpt-4o-mini-2024-07-18,batch,1000000,0,0\n",
    )
    file = tmp_path / "costs.json"
    line = {"object": "organization.costs.result", "amount": {"value": 0.225, "currency": "usd"},
            "line_item": "gpt-4o-mini-2024-07-18, input", "quantity": 2000000.0, "quantity_unit": "tokens"}  # fmt: skip
    bucket = {"object": "bucket", "start_time": 1773446400, "end_time": 1773532800, "results": [line]}
    file.write_text(json.dumps({"object": "page", "data": [bucket]}))
    found = asked(capsys, "--invoice", file, "--data", folder, code=0)
    [row] = found["meters"]
    assert (row["meter"], row["difference"]) == ("gpt-4o-mini-2024-07-18, input", "0.075")
    # The batch has no price here: at the ledger's rate 0.15, of which the bill gives half back.
    assert effects(row) == {"unpriced": Decimal("0.15"), "price": Decimal("-0.075")}
    line["line_item"] = None
    del line["quantity"], line["quantity_unit"]
    line["amount"]["value"] = 0.5
    file.write_text(json.dumps({"object": "page", "data": [bucket]}))
    found = asked(capsys, "--invoice", file, "--data", folder)
    assert effects(found["total"]) == {"unquantified": Decimal("0.35")}  # one line for all models of the day


def test_anthropic_names_no_quantities_and_dollars_are_compared(capsys, tmp_path):
    folder = imported(
        tmp_path,
        "at,provider,model,input_tokens,output_tokens\n"
        "2026-03-14T09:00Z,anthropic,claude-sonnet-4-5,100000,0\n"  # 0.30
        "2026-03-15T09:00Z,anthropic,claude-sonnet-4-5,100000,10000\n",  # 0.30 and 0.15
    )

    def bucket(day: int, *lines: tuple[str, str]) -> dict[str, object]:
        results = [
            {"currency": "USD", "amount": cents, "description": f"Claude Sonnet 4.5 {kind}", "cost_type": "tokens",
             "model": "claude-sonnet-4-5", "service_tier": "standard", "token_type": kind}
            for kind, cents in lines
        ]  # fmt: skip
        return {"starting_at": f"2026-03-{day}T00:00:00Z", "ending_at": f"2026-03-{day + 1}T00:00:00Z",
                "results": results}  # fmt: skip

    file = tmp_path / "costs.json"
    data = [bucket(14, ("uncached_input_tokens", "35.00")),
            bucket(15, ("uncached_input_tokens", "25.40"), ("output_tokens", "15.00"))]  # fmt: skip
    file.write_text(json.dumps({"data": data}))
    found = asked(capsys, "--invoice", file, "--data", folder, "--tolerance", "0")
    days = {(row["meter"][18:], row["day"][8:]): effects(row) for row in found["days"]}
    shift = Decimal("0.046")  # of fifty thousandths, four are of no neighbour
    assert days == {
        ("uncached_input_tokens", "14"): {"time_shift": shift, "unquantified": Decimal("0.004")},
        ("uncached_input_tokens", "15"): {"time_shift": -shift},
        ("output_tokens", "15"): {},
    }


def test_the_ledger_s_own_export_agrees_to_the_last_digit(capsys, ledger, tmp_path):
    file = tmp_path / "own.csv"
    assert penstock("export", file, "--format", "focus-1.2", "--billing-account", "me", "--data", ledger) == 1
    # One event has no price, and is not in the file: that is the 1.
    found = asked(capsys, "--invoice", file, "--data", ledger, "--tolerance", "0", code=0)
    assert found["total"]["billed"] == found["total"]["ledger"] == "5.66518505"
    assert not any(effects(row) for row in found["days"])
    same = [row["provider"] for row in found["meters"] if row["meter"] == "gpt-4o Input Tokens"]
    assert same == ["azure", "openai"]  # two sell it, and each has a line of its own


def test_the_help_has_examples(capsys):
    penstock("report", "reconcile", "--help")
    assert "penstock report reconcile --invoice focus-2026-03.csv" in capsys.readouterr().out
