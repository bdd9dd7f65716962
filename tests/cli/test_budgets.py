"""`penstock budgets`: made, listed, looked at, frozen and removed, without a server."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.policies.budgets.redis_server import RedisServer

from penstock.app import counters_for, state_for
from penstock.cli.main import main
from penstock.policies.budgets.counters import Charge, atto
from penstock.policies.budgets.embedded import now_us
from penstock.policies.budgets.rules import Rule
from penstock.settings import load


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penstock.toml").write_text('[[budgets]]\nscope = "team=support"\ndollars = 10\nper = "day"\n')

    def run_one(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["budgets", *words])
        if ended.value.code:
            raise ended.value
        return capsys.readouterr().out

    return run_one


def test_a_budget_is_made_changed_listed_and_removed(run):
    assert "user=* may spend $5.00 per day" in run("set", "5", "--scope", "user=*", "--per", "day")
    run("set", "$6", "--scope", "user=*", "--per", "day", "--soft")
    found = json.loads(run("list", "--json"))["budgets"]
    assert [(one["scope"], one["dollars"], one["hard"], one["source"]) for one in found] == [
        ("user=*", "6", False, "command"),
        ("team=support", "10", True, "penstock.toml"),
    ]
    run("remove", "--scope", "user=*", "--per", "day")
    assert len(json.loads(run("list", "--json"))["budgets"]) == 1


def test_one_made_by_command_hides_the_files(run):
    run("set", "20", "--scope", "team=support", "--per", "day")
    found = json.loads(run("list", "--json"))["budgets"]
    assert [(one["dollars"], one["source"]) for one in found] == [("20", "command"), ("10", "hidden")]


def test_a_scope_is_frozen_and_let_go(run):
    assert "Frozen: team=support" in run("freeze", "team=support")
    assert json.loads(run("list", "--json"))["frozen"] == ["team=support"]
    run("unfreeze", "team=support")
    assert json.loads(run("list", "--json"))["frozen"] == []


@pytest.mark.parametrize("words", [("freeze", "model=auto"), ("set", "5", "--scope", "team=a, model=auto")])
def test_a_route_is_no_model_that_could_be_held_to_anything(run, tmp_path, capsys, words):
    (tmp_path / "penstock.toml").write_text(
        '[[providers]]\nname = "p"\nkind = "sandbox"\n[[deployments]]\nname = "d"\nprovider = "p"\nmodel = "gpt-4o"\n'
        + "".join(f'[[routes]]\nmodel = "{name}"\ndeployments = ["d"]\n' for name in ("auto", "gpt-4o"))
    )
    with pytest.raises(SystemExit) as left:
        run(*words)
    assert left.value.code == 2
    assert "names a route, and what is counted is the model that answers: gpt-4o" in capsys.readouterr().err
    assert json.loads(run("list", "--json"))["frozen"] == []
    assert "Frozen" in run("freeze", "model=gpt-4o"), "a route may be called like its model"


def test_status_without_a_gateway_says_what_the_ledger_says(run):
    found = json.loads(run("status", "--json"))
    assert found["budgets"][0]["limit"] == "10"
    assert found["budgets"][0]["spent"] == "0"
    assert "No gateway runs" in found["note"]
    assert "No gateway runs" in run("rebuild")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "abc"), "no amount"),
        (("set", "5", "--scope", "tema=x"), "tema"),
        (("set", "5", "--per", "fortnight"), "no period"),
        (("remove", "--scope", "team=support", "--per", "day"), "penstock.toml"),
        (("remove", "--scope", "team=none"), "no budget"),
        (("unfreeze", "team=x"), "not frozen"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(run, capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_rebuild_makes_the_counters_in_redis_what_the_ledger_says(tmp_path, capsys):
    (tmp_path / "redis").mkdir()
    redis = RedisServer(tmp_path / "redis")
    file, data = tmp_path / "penstock.toml", tmp_path / "ledger"
    file.write_text(
        f'[governance]\nredis = "{redis.url}"\n[[budgets]]\nscope = "team=*"\ndollars = 10\nper = "total"\n', "utf-8"
    )
    (tmp_path / "usage.csv").write_text(
        "at,provider,model,input_tokens,cached_tokens,output_tokens,team\n"
        "2026-03-14T10:00:00Z,azure,gpt-4o,1000000,200000,100000,red\n"
        "2026-03-15T23:30:00Z,azure,gpt-4o-mini,1000000,0,1000000,blue\n"
    )

    def penstock(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*words, "--config", str(file), "--data", str(data)])
        return int(ended.value.code or 0), capsys.readouterr().out

    def standing() -> tuple[int, dict]:
        code, said = penstock("budgets", "status", "--json")
        return code, {one["scope"]: (one["spent"], one["drift"]) for one in json.loads(said)["budgets"]}

    async def spoil() -> None:
        settings = load(file, data=data)
        state = state_for(settings)
        counters = counters_for(settings, state)
        rule = Rule(settings.budgets[0])
        name = rule.counter(rule.window(datetime.now(UTC)), "red")
        counters.settle("stray", [Charge(name, atto(Decimal(2)), now_us(), 0)], None)
        await counters.close()
        state.close()

    try:
        assert penstock("import", str(tmp_path / "usage.csv"))[0] == 0
        code, said = penstock("budgets", "rebuild")
        assert (code, said) == (0, "2 counters made anew from the ledger.\n")
        right = {"team=red": ("3.25", "0"), "team=blue": ("0.75", "0")}
        assert standing() == (0, right)
        asyncio.run(spoil())
        assert standing() == (1, {"team=red": ("5.25", "2"), "team=blue": ("0.75", "0")})
        code, said = penstock("budgets", "rebuild", "--json")
        assert (code, json.loads(said)) == (0, {"counters": 2})
        assert standing() == (0, right)
        redis.kill()
        with pytest.raises(SystemExit) as ended:
            main(["budgets", "rebuild", "--config", str(file), "--data", str(data)])
        assert ended.value.code
        assert "Redis cannot be asked" in capsys.readouterr().err
    finally:
        redis.stop()
