import json

import pytest
from tests.cli.reporting import document, imported, penstock

KPI = "date,metric,value,app\n2026-03-14,tickets,8,bot\n2026-03-15,tickets,2,bot\n"


@pytest.fixture
def ledger(tmp_path):
    return imported(
        tmp_path,
        "at,provider,model,input_tokens,output_tokens,app\n"
        "2026-03-14,azure,gpt-4o,1000000,0,bot\n2026-03-15,azure,gpt-4o,1000000,0,bot\n",
    )


@pytest.fixture
def kpi(tmp_path):
    file = tmp_path / "kpi.csv"
    file.write_text(KPI)
    return file


def test_metrics_are_kept_and_used_without_the_file(capsys, ledger, kpi):
    capsys.readouterr()
    assert penstock("metrics", "import", kpi, "--data", ledger) == 0
    assert "2 new, 0 replaced, 0 already there" in capsys.readouterr().out
    assert penstock("metrics", "import", kpi, "--data", ledger) == 0
    assert "0 new, 0 replaced, 2 already there" in capsys.readouterr().out
    kpi.unlink()
    found = document(capsys, "unit", "--by", "app", "--data", ledger)
    assert (found["total"]["outcomes"], found["total"]["cost_per_outcome"]) == ("10", "0.500000000")


def test_a_file_that_is_named_counts_alone(capsys, ledger, kpi):
    penstock("metrics", "import", kpi, "--data", ledger)
    kpi.write_text(KPI.replace(",8,", ",80,"))
    assert document(capsys, "unit", "--metrics", kpi, "--data", ledger)["total"]["outcomes"] == "82"
    assert document(capsys, "unit", "--data", ledger)["total"]["outcomes"] == "10"


def test_metrics_are_listed_and_removed(capsys, ledger, kpi):
    penstock("metrics", "import", kpi, "--data", ledger)
    capsys.readouterr()
    assert penstock("metrics", "list", "--data", ledger) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["tickets", "2", "2026-03-14", "2026-03-15", "2", "10", "app"]
    assert penstock("metrics", "list", "--metric", "tickets", "--from", "2026-03-15", "--data", ledger) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["2026-03-15", "tickets", "bot", "2"]
    assert penstock("metrics", "list", "--json", "--data", ledger) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0] == {
        "date": "2026-03-14", "metric": "tickets", "value": "8", "app": "bot",
    }  # fmt: skip
    assert penstock("metrics", "remove", "tickets", "--data", ledger) == 0
    assert penstock("metrics", "remove", "tickets", "--data", ledger) == 2
    assert penstock("report", "unit", "--data", ledger) == 2
    assert "There are no metrics: give --metrics FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "sentence"), [
    (KPI.replace("2026-03-15", "15.3.2026"), "line 3: date: '15.3.2026' is not a day"),
    (KPI.replace(",2,", ",two,"), "line 3: value: 'two' is not a number"),
    (KPI.replace(",app", ",colour"), "no dimension 'colour'"),
])  # fmt: skip
def test_a_wrong_row_is_named_and_nothing_is_kept(capsys, ledger, kpi, text, sentence):
    kpi.write_text(text)
    assert penstock("metrics", "import", kpi, "--data", ledger) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert str(kpi) in error
    penstock("metrics", "list", "--data", ledger)
    assert "No metrics are kept" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["import", "list", "remove"])
def test_the_help_has_examples(capsys, command):
    penstock("metrics", command, "--help")
    assert f"penstock metrics {command}" in capsys.readouterr().out
