"""`penstock savings`: as a newcomer sees it."""

import json
from decimal import Decimal

import pytest
from tests.analytics.made import event
from tests.analytics.test_classifier_shadow import asked
from tests.analytics.test_savings import judged, traffic

from penstock.cli.main import main
from penstock.ledger.levers import roll_back
from penstock.ledger.outcomes import Outcomes, Scored
from penstock.ledger.state import STATE_FILE, State
from penstock.ledger.store import Ledger
from penstock.metering.event import utc_now


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with Ledger.open(folder) as ledger:
        ledger.add(traffic(), source="gateway")
    store = Outcomes(folder)
    store.judge(*judged(600))
    store.close()
    return folder


def run(capsys, *words, code=0):
    with pytest.raises(SystemExit) as left:
        main(list(words))
    said = capsys.readouterr()
    assert left.value.code in (code, None if code == 0 else code), said
    return said


def test_the_document_adds_up(data, capsys):
    found = json.loads(run(capsys, "savings", "--data", str(data), "--json", "--check").out)
    (one,) = found["savings"]
    assert (found["margin"], found["confidence"], one["state"]) == (0.02, 0.95, "proven")
    parts = ("control", "treated", "lever_cost", "proof_cost", "left_out")
    assert sum(Decimal(one[name]) for name in parts) == Decimal(one["ledger"])
    used = sum(Decimal(one[name]) for name in ("treated", "lever_cost", "proof_cost"))
    assert Decimal(one["baseline"]) - used == Decimal(one["net"])


def test_the_table_says_what_is_proven_and_how_it_comes_about(data, capsys, monkeypatch):
    monkeypatch.setattr("penstock.cli.options.console.width", 200)
    said = run(capsys, "savings", "--data", str(data), "--details").out
    assert "proven" in said
    assert "in the ledger" in said
    assert "control arm" in said


def test_a_plan_says_what_a_proof_takes(capsys):
    said = json.loads(run(capsys, "savings", "plan", "--differ", "0.1", "--pair-cost", "0.005", "--json").out)
    assert said["feasible"]
    assert Decimal(said["cost"]) == said["pairs"] * Decimal("0.005")
    assert "No number of pairs" in run(capsys, "savings", "plan", "--loss", "0.03", code=1).out
    words = run(capsys, "savings", "plan", "--calls-per-day", "2000", "--margin", "0.05").out
    assert "days" in words


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--differ", "0"),
        ("plan", "--margin", "2"),
        ("plan", "--shadow", "0"),
        ("rightsize", "--holdout", "1"),
        ("rightsize", "--to", "x"),
        ("plan", "--pair-cost", "nan"),
        ("plan", "--confidence", "95"),
        ("rollback", "routng", "support||code"),
        ("rollback", "routing", "support/code"),
        ("resume", "routing", "nothing"),
        ("rightsize", "--apply", "nothing"),
    ],
)
def test_wrong_input_is_one_sentence(data, capsys, words):
    said = run(capsys, "savings", *words, "--data", str(data), code=2)
    assert said.err.startswith("penstock: ")
    assert said.err.count("\n") == 1


def test_what_was_taken_back_acts_again(data, capsys):
    state = State(data / STATE_FILE)
    roll_back(state, "routing", "x", reason="too bad", at=utc_now())
    state.close()
    said = json.loads(run(capsys, "savings", "resume", "routing", "x", "--data", str(data), "--json").out)
    assert (said["state"], said["times"]) == ("on", 2)
    said = json.loads(run(capsys, "savings", "rollback", "routing", "t||x", "--data", str(data), "--json").out)
    assert said["changed"]


SETTINGS = """
[[providers]]
name = "oa"

[[deployments]]
name = "big"
provider = "oa"
model = "gpt-4o"

[[deployments]]
name = "mini"
provider = "oa"
model = "gpt-4o-mini"

[[routes]]
model = "gpt-4o"
deployments = ["big"]
"""


def test_one_command_lets_a_smaller_model_try(data, capsys, tmp_path):
    from penstock.settings import load

    file = tmp_path / "penstock.toml"
    file.write_text(SETTINGS)
    from tests.optimization.test_rightsizing import traffic as calls

    folder = tmp_path / "data"
    with Ledger.open(folder) as ledger:
        ledger.add(calls(50, "gpt-4o", at=utc_now()), source="gateway")
    where = ("--data", str(folder), "--config", str(file))
    (one,) = json.loads(run(capsys, "savings", "rightsize", *where, "--json").out)["routes"]
    assert (one["route"], one["to_deployment"], one["verdict"]) == ("gpt-4o", "mini", "untried")
    assert "mini" in run(capsys, "savings", "rightsize", *where).out
    said = run(capsys, "savings", "rightsize", "--apply", "gpt-4o", *where).out
    assert "set [proof] shadow and judge" in said
    assert "kill -HUP" in said
    (route,) = load(file).routes
    assert route.deployments == ("mini", "big")
    assert route.routing is not None
    assert (route.routing.default, route.routing.holdout) == ("big", Decimal("0.1"))


def test_what_the_classifier_in_the_shadow_has_shown(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("penstock.cli.options.console.width", 200)
    with Ledger.open(tmp_path) as ledger:
        ledger.add([asked("mini"), asked("nano", would="nano")], source="gateway")
    said = run(capsys, "savings", "classifier", "--data", str(tmp_path)).out.splitlines()
    assert said[:3] == [
        "t||code: asked 2 times for $0.002, named a tier 2 times",
        "  it agrees with the router in 50% (9% to 91%); the same model would have been chosen 1 time",
        "  it would have saved $0.008: $0.03 in place of $0.04, and $0.002 for asking",
    ]
    (one,) = json.loads(run(capsys, "savings", "classifier", "--data", str(tmp_path), "--json").out)["classifier"]
    assert (one["asked"], one["net"]) == (2, "0.008")


def test_without_a_classifier_the_report_says_how_to_get_one(data, capsys):
    assert "[routes.routing.classifier]" in run(capsys, "savings", "classifier", "--data", str(data)).out


def test_outcomes_are_listed_by_route_model_and_source(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("penstock.cli.options.console.width", 200)
    assert "No outcome" in run(capsys, "savings", "outcomes", "--data", str(data_with(tmp_path))).out
    store = Outcomes(tmp_path)
    store.score([
        Scored(request_id="r1", score=0, source="auto:truncated", name="nano", at=utc_now()),
        Scored(request_id="r2", score=1, source="user", at=utc_now()),
        Scored(request_id="mistyped", score=1, source="user", at=utc_now()),
    ])  # fmt: skip
    store.close()
    lines = run(capsys, "savings", "outcomes", "--data", str(tmp_path)).out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["route", "model", "source", "outcomes", "answers", "share", "mean", "score"],
        ["auto", "nano", "auto:truncated", "1", "2", "50.0%", "0.00"],
        ["auto", "nano", "user", "1", "2", "50.0%", "1.00"],
    ]
    assert lines[3].startswith("Not counted: 1 outcome")
    found = json.loads(run(capsys, "savings", "outcomes", "--from", "1d", "--data", str(tmp_path), "--json").out)
    assert found["outcomes"][0] == {
        "route": "auto", "model": "nano", "source": "auto:truncated", "outcomes": 1, "answers": 2, "share": 0.5,
        "mean_score": 0.0,
    }  # fmt: skip
    assert found["elsewhere"] == 1


def data_with(folder):
    with Ledger.open(folder) as ledger:
        made = [event(request_id=one, requested_model="auto", model="nano", at=utc_now()) for one in ("r1", "r2")]
        ledger.add(made, source="gateway")
    return folder
