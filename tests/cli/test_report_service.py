"""`penstock report errors`, `latency` and `runs`: how the service was, beside what it cost."""

import pytest
from tests.cli.reporting import document, imported, penstock, shown

from penstock.cli.options import console


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """One request that failed and was answered, one that was lost, one run of three steps."""
    return imported(
        tmp_path_factory.mktemp("service"),
        "at,provider,model,input_tokens,output_tokens,app,status,duration_ms,first_token_ms,request_id,attempt,run\n"
        "2026-03-14T10:00:00Z,azure,gpt-4o,1000000,0,bot,500,2000,,r1,1,\n"
        "2026-03-14T10:00:02Z,azure,gpt-4o,1000000,100000,bot,200,1000,200,r1,2,\n"
        "2026-03-14T11:00:00Z,azure,gpt-4o,0,0,bot,429,100,,r2,1,\n"
        "2026-03-14T12:00:00Z,azure,gpt-4o-mini,1000000,0,agent,200,400,,r3,1,trip\n"
        "2026-03-14T12:01:00Z,azure,gpt-4o-mini,1000000,0,agent,200,500,,r4,1,trip\n"
        "2026-03-14T12:03:00Z,azure,gpt-4o-mini,1000000,0,agent,200,600,,r5,1,trip\n",
    )


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 130)


def test_an_unknown_cost_is_not_shown_as_none(capsys, tmp_path):
    data = imported(
        tmp_path,
        "at,provider,model,input_tokens,app,status,run\n"
        "2026-03-14T10:00:00Z,azure,odd,1000,bot,500,trip\n2026-03-14T11:00:00Z,azure,gpt-4o,1000,desk,200,\n",
    )
    kpi = tmp_path / "kpi.csv"
    kpi.write_text("date,metric,value,app\n2026-03-14,tickets,4,bot\n")
    for words, line in (
        (["errors"], "odd 1 1 100.00% 0 unpriced - 0.0 s 0 of 1"),
        (["runs"], "bot 1 1 1.0 1.0 1 0 unpriced unpriced unpriced"),
        (["runs"], "trip bot 1 1 0 1,000 0 unpriced 0.0"),
        (["unit", "--metrics", kpi, "--by", "app"], "bot 1 4 unpriced unpriced - - - - -"),
    ):
        assert line in [" ".join(one.split()) for one in shown(capsys, *words, "--data", data)]


def test_failures_have_a_rate_a_cost_and_causes(capsys, ledger):
    found = document(capsys, "errors", "--data", ledger)
    gpt, mini = found["rows"]
    assert (gpt["model"], gpt["failed"], gpt["failed_share"], gpt["wasted"]) == ("gpt-4o", 2, "0.666667", "2.50")
    assert (gpt["failed_requests"], gpt["answered_later"], gpt["wasted_seconds"]) == (2, 1, "2.1")
    assert sorted((cause["status"], cause["events"], cause["cost"]) for cause in gpt["causes"]) == [
        (429, 1, "0.00"), (500, 1, "2.50"),
    ]  # fmt: skip
    assert (mini["failed"], mini["causes"]) == (0, [])
    assert found["total"]["failed_share"] == "0.333333"


def test_the_table_of_failures_is_what_people_see(capsys, ledger):
    lines = shown(capsys, "errors", "--data", ledger)
    assert lines[:4] == [
        "model        attempts  failed    rate  client left   wasted  of cost  waited  answered later",
        "gpt-4o              3       2  66.67%            0  $2.5000   41.67%   2.1 s          1 of 2",
        "gpt-4o-mini         3       0   0.00%            0  $0.0000    0.00%   0.0 s               -",
        "total               6       2  33.33%            0  $2.5000   38.76%   2.1 s          1 of 2",
    ]
    assert lines[5].split() == ["cause", "status", "attempts", "cost"]


def test_the_table_of_latency_is_what_people_see(capsys, ledger):
    assert shown(capsys, "latency", "--data", ledger) == [
        "model        calls       p50       p90       p95       p99  first p50  first p95  tokens/s  $/1,000 calls",
        "gpt-4o           1  1,000 ms  1,000 ms  1,000 ms  1,000 ms     200 ms     200 ms   100,000    $3,500.0000",
        "gpt-4o-mini      3    500 ms    580 ms    590 ms    598 ms          -          -         0      $150.0000",
        "all time",
    ]
    [whole] = document(capsys, "latency", "--by", "", "--data", ledger)["rows"]
    assert (whole["calls"], whole["p50_us"]) == (4, 550_000)


def test_the_tables_of_runs_are_what_people_see(capsys, ledger):
    assert shown(capsys, "runs", "--data", ledger) == [
        "app    runs  steps  p50  p95  most  tool calls     cost    $/run  dearest",
        "agent     1      3  3.0  3.0     3           0  $0.4500  $0.4500  $0.4500",
        "",
        "longest runs  app    steps  failed  tool calls      input  output     cost  minutes",
        "trip          agent      3       0           0  3,000,000       0  $0.4500      3.0",
        "Note: 3 attempts are of no run.",
        "all time",
    ]
    assert document(capsys, "runs", "--longest", "0", "--data", ledger)["longest"] == []


@pytest.mark.parametrize("report", ["errors", "latency", "runs"])
def test_a_time_without_events_is_said_and_wrong_dimensions_are_refused(report, capsys, ledger):
    [line] = shown(capsys, report, "--from", "2020-01", "--to", "2020-01", "--data", ledger)
    assert line.startswith("No ")
    assert penstock("report", report, "--by", "colour", "--data", ledger) == 2
    assert "'colour'" in capsys.readouterr().err


@pytest.mark.parametrize("report", ["errors", "latency", "runs"])
def test_the_help_has_examples(report, capsys):
    penstock("report", report, "--help")
    assert f"penstock report {report} --from 7d" in capsys.readouterr().out
