from pathlib import Path

import pytest
from tests.cli.reporting import document, imported, penstock, shown

from penstock.cli.options import console


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Three days of one app whose prompts grow, and one failed call of another."""
    return imported(
        tmp_path_factory.mktemp("tokens"),
        "at,provider,model,input_tokens,cached_tokens,output_tokens,app,status\n"
        "2026-03-14,azure,gpt-4o,1000,500,200,bot,200\n"
        "2026-03-15,azure,gpt-4o,2000,500,400,bot,200\n"
        "2026-03-16,azure,gpt-4o,2000,500,400,bot,200\n"
        "2026-03-16,azure,gpt-4o-mini,1000000,0,0,web,500\n",
    )


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 140)


def test_the_document_holds_exact_figures_of_the_whole_and_of_each_group(capsys, ledger):
    found = document(capsys, "tokens", "--by", "app", "--data", ledger)
    assert [(row["app"], row["requests"], row["trend"], row["failed"]) for row in found["rows"]] == [
        ("web", 1, None, 1), ("bot", 3, "1.000000", 0),
    ]  # fmt: skip
    assert found["rows"][0]["wasted"] == found["rows"][0]["cost"] == "0.15"
    assert found["rows"][1]["cached_share"] == "0.300000"
    assert [day["tokens"] for day in found["rows"][1]["days"]] == [1200, 2400, 2400]


def test_the_table_is_what_people_see(capsys, ledger):
    assert shown(capsys, "tokens", "--by", "app", "--only", "app=bot", "--data", ledger) == [
        "app    requests  tokens/req    trend  out:in  cached  hidden  retried   cut  failed   wasted   $/1M  by day",
        "bot           3       2,000  +100.0%   0.200   30.0%    0.0%        0  0.0%    0.0%  $0.0000  $3.44  ▅██",
        "total         3       2,000  +100.0%   0.200   30.0%    0.0%        0  0.0%    0.0%  $0.0000  $3.44  ▅██",
        "all time; days are UTC",
    ]


def test_what_a_gateway_answered_from_its_own_cache_is_counted(capsys, tmp_path):
    penstock("import", Path(__file__).parents[1] / "data/litellm_spend_logs.jsonl", "--data", tmp_path)
    capsys.readouterr()
    found = document(capsys, "tokens", "--data", tmp_path)
    assert (found["total"]["reused"], found["total"]["reused_share"]) == (1, "0.200000")
    said = " ".join(shown(capsys, "tokens", "--data", tmp_path))
    assert "Note: 1 call was answered from a response cache (20.0%), without a provider." in said


def test_the_help_has_examples(capsys):
    penstock("report", "tokens", "--help")
    assert "penstock report tokens --from 30d" in capsys.readouterr().out
