import json
import shlex
from datetime import date, timedelta

import pytest

from penstock.cli.main import main
from penstock.cli.options import console


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Ten weeks of two teams; on the 5th of March a key of one of them runs away for a day."""
    folder = tmp_path_factory.mktemp("anomalies")
    file = folder / "usage.csv"
    lines = ["at,provider,model,input_tokens,output_tokens,team,key"]
    for n in range(75):
        day = date(2026, 1, 1) + timedelta(days=n)
        tokens = 4_000_000 if day.weekday() < 5 else 800_000
        lines += [
            f"{day}T10:00:00Z,azure,gpt-4o,{tokens},0,red,k-red",
            f"{day}T11:00:00Z,azure,gpt-4o,{tokens},0,blue,k-blue",
        ]
    lines.append("2026-03-05T15:00:00Z,azure,gpt-4o,40000000,0,blue,k-blue")
    file.write_text("\n".join(lines) + "\n")
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


def test_an_anomaly_says_what_when_who_and_where_to_look(capsys, ledger):
    capsys.readouterr()
    assert penstock("anomalies", "--data", ledger) == 0
    said = capsys.readouterr().out
    assert "spike, all spend: 2026-03-05 00:00 to 2026-03-06 00:00" in said
    assert "$120.00 instead of $20.00 (+$100.00;" in said
    assert "key k-blue: $110.00 instead of $10.00, 100% of the change" in said
    assert "mostly length" in said
    assert "1 anomaly in 28 days" in said


def test_the_command_it_names_shows_the_dollars_it_names(capsys, ledger):
    capsys.readouterr()
    assert penstock("anomalies", "--data", ledger, "--json") == 0
    [found] = json.loads(capsys.readouterr().out)["anomalies"]
    assert (found["observed"], found["since"]) == ("120.00", "2026-03-05T00:00:00Z")
    words = shlex.split(found["command"])
    assert penstock(*words[1:], "--data", ledger, "--json") == 0
    assert json.loads(capsys.readouterr().out)["total"] == found["observed"]


def test_a_check_says_no_where_there_is_one(ledger):
    assert penstock("anomalies", "--data", ledger, "--check") == 1
    assert penstock("anomalies", "--data", ledger, "--check", "--floor", "500") == 0
    assert penstock("anomalies", "--data", ledger, "--check", "--as-of", "2026-03-05") == 0
    assert penstock("anomalies", "--data", ledger, "--check", "--only", "team=red") == 0


def test_the_guide_s_rule_can_be_chosen(capsys, ledger):
    capsys.readouterr()
    assert penstock("anomalies", "--data", ledger, "--detector", "3x", "--by", "", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["detector"] == "3x"
    assert [one["observed"] for one in found["anomalies"] if one["grain"] == "day"] == ["120.00"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "red"], "--only takes"), (["--floor", "-1"], "from 0 on"), (["--by", "day"], "judged already"),
        (["--detector", "magic"], "robust or 3x"), (["--as-of", "2025-01-01"], "holds no events"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_sentence(capsys, ledger, words, said):
    capsys.readouterr()
    assert penstock("anomalies", "--data", ledger, *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
