import json

import pytest

from penstock.cli.main import main
from penstock.cli.options import console

CHATBOT = ["--requests-per-day", "10000", "--input-tokens", "500", "--output-tokens", "300"]
TODAY = ["--at", "2026-11-23"]


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 140)


def plan(*words: str) -> None:
    """Run `penstock plan`."""
    try:
        main(["plan", *words])
    except SystemExit as end:
        if end.code:
            raise


def figures(capsys, *words: str):
    plan(*words, "--json")
    return json.loads(capsys.readouterr().out)


def complaint(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        plan(*words)
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("book", [[], ["--book", "guide-2026-03"]], ids=["azure", "guide"])
@pytest.mark.parametrize(("model", "dollars"), [("gpt-4o-mini", "76.50"), ("gpt-4o", "1275.00")])
def test_plan_month_prints_money_as_a_decimal_string(capsys, book, model, dollars):
    document = figures(capsys, "month", "--model", model, *CHATBOT, *book)
    assert document["monthly_cost"] == dollars
    assert document["calculator"] == "month"
    assert document["inputs"]["requests_per_day"] == 10_000


def test_a_plan_file_gives_the_inputs_and_an_option_wins_over_it(capsys, tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(
        'calculator = "month"\nbook = "guide-2026-03"\nmodel = "gpt-4o"\nrequests_per_day = 10000\n'
        "input_tokens = 500\noutput_tokens = 300\nbatch_share = 0.0\n"
    )
    assert figures(capsys, "month", "--from", str(file))["monthly_cost"] == "1275.00"
    assert figures(capsys, "month", "--from", str(file), "--model", "gpt-4o-mini")["monthly_cost"] == "76.50"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--model", "gpt-4o-minni", *CHATBOT],
            "penstock: --model: no model 'gpt-4o-minni' at azure; did you mean gpt",
        ),
        (["--model", "gpt-4o", *CHATBOT, "--cached-share", "200%"], "penstock: --cached-share: 200 % is not a share"),
        (["--model", "gpt-4o", *CHATBOT, "--growth", "much"], "penstock: --growth: 'much' is not a number"),
        (
            ["--model", "gpt-4o", *CHATBOT, "--reasoning-tokens", "-5"],
            "penstock: --reasoning-tokens: -5 is less than 0",
        ),
        (["--model", "gpt-4o"], "penstock: --requests-per-day is missing: give the option, or the line"),
        (["--model", "gpt-4o", *CHATBOT, "--book", "moon"], "penstock: Price book moon, scenario: there is"),
    ],
)
def test_a_wrong_input_is_one_sentence_that_names_it(capsys, words, sentence):
    said = complaint(capsys, "month", *words)
    assert said.startswith(sentence)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "plan.toml: the file is empty"),
        ("model = [", "plan.toml: not a TOML file"),
        ("modell = 'gpt-4o'", "plan.toml, modell: no such input; did you mean model?"),
        ("requests_per_day = 'many'", "plan.toml, requests_per_day: expected `int`, got `str`"),
        ("cached_share = 2.0", "plan.toml, cached_share: 200 % is not a share"),
        ('calculator = "ptu"', "plan.toml: a plan for ptu; use: penstock plan ptu"),
    ],
)
def test_a_wrong_plan_file_is_one_sentence_that_names_file_and_line(capsys, tmp_path, text, sentence):
    file = tmp_path / "plan.toml"
    file.write_text(text)
    options = ["--model", "gpt-4o", "--input-tokens", "500", "--output-tokens", "300"]
    options += [] if "requests" in text else ["--requests-per-day", "1"]
    options = options[2:] if "modell" in text else options
    said = complaint(capsys, "month", "--from", str(file), *options)
    assert sentence in said
    assert said.count("\n") == 1


def test_a_plan_file_that_is_not_there_is_named(capsys):
    assert "nowhere.toml: cannot be read" in complaint(capsys, "month", "--from", "nowhere.toml")
