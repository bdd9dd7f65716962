from decimal import Decimal

import pytest
from tests.cli.reporting import document, imported, penstock, shown

from penstock.cli.options import console

DAY = ("--model", "gpt-4.1", "--ptus", "50", "--from", "2026-03-14", "--to", "2026-03-14")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Two minutes on PTUs, of which the first needs a hundred, and one call that spilled over."""
    return imported(
        tmp_path_factory.mktemp("ptu"),
        "at,provider,model,input_tokens,cached_tokens,output_tokens,deployment_type\n"
        "2026-03-14T10:00:10Z,azure,gpt-4.1,300000,0,0,global_ptu\n"
        "2026-03-14T10:01:00Z,azure,gpt-4.1,100000,40000,10000,global_ptu\n"
        "2026-03-14T10:01:30Z,azure,gpt-4.1,100000,0,0,global\n",
    )


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 140)


def test_a_day_of_ptus_is_held_against_its_traffic(capsys, ledger):
    found = document(capsys, "ptu", *DAY, "--dollars-per-month", "260", "--data", ledger)
    # A PTU of gpt-4.1 serves 3,000 tokens a minute: 100 PTUs, of which 50 count, then (60,000 + 4 x 10,000) / 3,000.
    assert found["utilisation"] == "0.001157"  # 83.33 of 50 x 1,440
    assert found["cost"] == "427.397260"  # 50 x 260 x 1,440 / 43,800
    # Tokens at $2, $0.50 (cached) and $8 a million: 0.60 + 0.12 + 0.02 + 0.08.
    assert (found["value"], found["saved"]) == ("0.820000", "-426.577260")
    assert (found["peak"], found["full_minutes"], found["busy_minutes"]) == ("100.000000", 1, 2)
    assert (found["spilled_requests"], found["spilled_cost"]) == (1, "0.20")
    assert found["coverage"] == f"{Decimal(410_000) / 510_000:.6f}"


def test_the_table_is_what_people_see(capsys, ledger):
    lines = shown(capsys, "ptu", *DAY, "--dollars-per-month", "260", "--data", ledger)
    assert lines[:5] == [
        "PTUs paid                       50 for 1,440 minutes",
        "utilisation                                     0.1%",
        "PTUs needed, p95 and peak              0.0 and 100.0",
        "minutes that took all of them       1 of 2 busy ones",
        "cost of the PTUs                             $427.40",
    ]
    assert "a PTU at $260.00 for 730 hours; by the token: azure/gpt-4.1/global/standard" in lines[-1]


def test_a_model_without_traffic_on_ptus_is_told_what_makes_an_event_one(capsys, ledger):
    [first, *_] = shown(capsys, "ptu", "--model", "gpt-4o", *DAY[2:], "--data", ledger)
    assert first.startswith("No traffic of gpt-4o on PTUs")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "mystery"], "mystery cannot be provisioned"), (["--ptus", "0"], "Must be >= 1"),
        (["--dollars-per-month", "much"], "'much' is not a number"),
        (["--from", "2999-01-01", "--to", ""], "before now"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_sentence(words, sentence, capsys, ledger):
    given = dict(zip(DAY[::2], DAY[1::2], strict=True)) | dict(zip(words[::2], words[1::2], strict=True))
    assert penstock("report", "ptu", *[word for pair in given.items() for word in pair], "--data", ledger) == 2
    assert sentence in capsys.readouterr().err


def test_the_help_has_examples(capsys):
    penstock("report", "ptu", "--help")
    assert "penstock report ptu --model gpt-4.1 --ptus 100" in capsys.readouterr().out
