import csv
import dataclasses
import gzip
import io
import json
import os
import shlex
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from penstock.cli.main import main
from penstock.cli.options import console
from penstock.cli.plan import COMMANDS
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

CHATBOT = ["--requests-per-day", "10000", "--input-tokens", "500", "--output-tokens", "300"]
TODAY = ["--at", "2026-11-23"]


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 120)


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
        (
            ["--model", "gpt-4o", "--requests-per-day", "1.5"],
            "penstock: --requests-per-day: '1.5' is not a whole number",
        ),
        (["--model", "gpt-4o", "--requests-per-day", "many"], "penstock: --requests-per-day: 'many' is not a number"),
        (["--model", "gpt-4o", "--requests-per-day", "1e99999"], "penstock: --requests-per-day: 1e99999 is too large"),
        (["--model", "gpt-4o", "--growth", "1e999999999"], "penstock: --growth: 1e999999999 is too large"),
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
        ("calculator = 5", "plan.toml, calculator: 5 is not a name"),
        ("provider = {a = 1}", "plan.toml, provider: {'a': 1} is not a name"),
        ("book = ['x']", "plan.toml, book: ['x'] is not a name"),
        ("at = 5", "plan.toml, at: 5 is not a day such as 2026-11-23"),
        ("at = 10:00:00", "plan.toml, at: 10:00:00 is not a day such as 2026-11-23"),
        ("at = 'May'", "at: 'May' is not a day such as 2026-11-23"),
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


GOLDEN = Path(__file__).parent / "golden_plan"
OTHER_WORDS = {
    "tokens": "--model gpt-4o --text hello --image 1024x1024",
    "foundry": "--model gpt-4o-mini --capacity 30 --budget 5000",
}
"""Where the example in the help reads or writes files."""


@pytest.mark.parametrize("calculator", COMMANDS, ids=lambda calculator: calculator.name)
def test_what_a_person_sees_is_what_was_recorded(capsys, monkeypatch, tmp_path, calculator):
    """PENSTOCK_GOLDEN=write records anew; the diff shows what a user will see."""
    monkeypatch.chdir(tmp_path)
    words = OTHER_WORDS.get(calculator.name) or calculator.example.partition(f"plan {calculator.name} ")[2]
    plan(calculator.name, *shlex.split(words), *TODAY)
    seen = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()) + "\n"
    file = GOLDEN / f"{calculator.name}.txt"
    if os.environ.get("PENSTOCK_GOLDEN") == "write":
        file.write_text(seen, encoding="utf-8")
    assert seen == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("calculator", COMMANDS, ids=lambda calculator: calculator.name)
def test_the_help_has_the_example_and_every_input(capsys, calculator):
    plan(calculator.name, "--help")
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"penstock plan {calculator.name}" in said
    for field in dataclasses.fields(calculator.inputs):
        assert f"--{field.name.replace('_', '-')} " in said


@pytest.mark.parametrize("calculator", COMMANDS, ids=lambda calculator: calculator.name)
def test_json_holds_money_as_strings_and_no_binary_fractions(capsys, monkeypatch, tmp_path, calculator):
    monkeypatch.chdir(tmp_path)
    words = OTHER_WORDS.get(calculator.name) or calculator.example.partition(f"plan {calculator.name} ")[2]
    plan(calculator.name, *shlex.split(words), *TODAY, "--json")
    document = json.loads(capsys.readouterr().out, parse_float=lambda text: pytest.fail(f"{text} is a float"))
    assert document["calculator"] == calculator.name
    assert document["answer"]
    assert {"prices", "assumptions", "corrections", "sensitivity", "notes"} <= document.keys()


TRACE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:00:00.0000000,60000,3000
2023-11-16 18:00:30.0000000,60000,3000
2023-11-16 18:02:10.0000000,500000,20000
"""


def test_plan_ptu_reads_a_trace_and_draws_what_spills(capsys, tmp_path):
    trace, chart = tmp_path / "trace.csv", tmp_path / "chart.svg"
    trace.write_text(TRACE)
    plan("ptu", "--model", "gpt-4o", "--trace", str(trace), "--chart", str(chart), *TODAY)
    seen = capsys.readouterr().out
    assert "minute 3\n" in seen  # the quiet minute counts
    assert "█ served by PTUs" in seen
    assert seen.startswith("Stay with pay-as-you-go")  # the answer stands above the drawing
    assert ET.fromstring(chart.read_text()).tag.endswith("svg")


def test_a_gzipped_trace_is_the_same(capsys, tmp_path):
    plain, zipped = tmp_path / "trace.csv", tmp_path / "trace.csv.gz"
    plain.write_text(TRACE)
    zipped.write_bytes(gzip.compress(TRACE.encode()))
    first, second = (
        figures(capsys, "ptu", "--model", "gpt-4o", "--trace", str(file), *TODAY) for file in (plain, zipped)
    )
    assert first | {"inputs": None} == second | {"inputs": None}


def test_an_hour_of_real_traffic_wants_215_ptus_of_gpt_4o(capsys):
    trace = Path(__file__).parents[3] / "shared/data/traces/azure_llm_2023_conv.csv.gz"
    if not trace.exists():
        pytest.skip("the trace is not on this machine")
    document = figures(capsys, "ptu", "--model", "gpt-4o", "--trace", str(trace), *TODAY)
    assert (document["best_ptus"], document["best_term"]) == (215, "reserved for a year")
    assert document["best_bill"] == "61914.31"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "trace.csv: the file is empty"),
        ("a,b\n", "trace.csv: no column timestamp or time or at; its columns are a, b"),
        ("time,input_tokens,output_tokens\n", "trace.csv: there is no request in it"),
        ("time,input_tokens,output_tokens\n2026-01-01T00:00:00,many,1\n", "trace.csv, line 2: not a request"),
        ("time,input_tokens,output_tokens\n2026-01-01T00:00:00,-1,1\n", "trace.csv, line 2: a token count is negative"),
        ("\ufefftime,input_tokens,output_tokens\n\n2026-01-01T00:00:00,-1,1\n", "trace.csv, line 3: a token count"),
        (f"time,input_tokens,output_tokens\n2026-01-01T00:00:00,{'9' * 5000},1\n", "999..."),
        ("time,input_tokens,output_tokens\n2020-01-01T00:00:00,1,1\n2026-01-01T00:00:00,1,1\n", "2,192 days apart"),
        (f"time,input_tokens,output_tokens\n{'x' * 200_000},1,1\n", "trace.csv: cannot be read (field larger"),
        ("time,input_tokens,output_tokens\nyesterday,1,1\n", "trace.csv: a time is not of the form"),
        ("time,input_tokens,output_tokens\n2026-01-01T00:00:00,0,0\n", "--trace: there is no minute with tokens"),
    ],
)
def test_a_trace_that_cannot_be_used_is_one_sentence(capsys, tmp_path, text, sentence):
    csv.field_size_limit(2**17)  # Python's own, which an import in this process raises
    trace = tmp_path / "trace.csv"
    trace.write_text(text)
    said = complaint(capsys, "ptu", "--model", "gpt-4o", "--trace", str(trace))
    assert sentence in said
    assert said.count("\n") == 1


def test_the_inputs_that_are_printed_make_the_same_plan_again(capsys, tmp_path):
    trace, text = tmp_path / "trace.csv", tmp_path / "a=b.md"
    trace.write_text(TRACE)
    text.write_text("The quick brown fox jumps over the lazy dog.")
    for words in (
        ["ptu", "--model", "gpt-4o", "--trace", str(trace), "--since", "2026-11-01"],
        ["tokens", "--text", "100%", "--file", str(text), "--image", "1024x1024", "--detail", "low"],
    ):
        first = figures(capsys, *words, *TODAY)
        file = tmp_path / f"{words[0]}.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in first["inputs"].items() if value is not None]
        file.write_text(f'calculator = "{words[0]}"\n' + "\n".join(lines))
        assert figures(capsys, words[0], "--from", str(file), *TODAY) == first
        plan("diff", str(file), str(file))
        assert "The plans are equal." in capsys.readouterr().out


def test_a_volume_that_shrinks_is_written_with_a_minus(capsys):
    document = figures(capsys, "month", "--model", "gpt-4o", *CHATBOT, "--growth", "-5%")
    assert document["ahead"][1]["requests_per_day"] == "9500"


def test_plan_ptu_reads_the_minutes_of_the_ledger(capsys, tmp_path):
    at = datetime(2026, 11, 1, 12, 0, 5, tzinfo=UTC)
    usages = ((at, 60_000, 3000), (at, 60_000, 3000), (at + timedelta(minutes=2), 500_000, 20_000))
    same = {"provider": "azure", "model": "gpt-4o", "price_state": "unpriced"}
    events = [
        UsageEvent(id=f"e{n}", request_id=f"r{n}", at=when, recorded_at=when, usage=Usage(input=i, output=o), **same)
        for n, (when, i, o) in enumerate(usages)
    ]
    with Ledger.open(tmp_path / "data") as ledger:
        ledger.add(events, source="test")
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE)
    from_trace = figures(capsys, "ptu", "--model", "gpt-4o", "--trace", str(trace), *TODAY)
    from_ledger = figures(capsys, "ptu", "--model", "gpt-4o", "--ledger", "--data", str(tmp_path / "data"), *TODAY)
    assert from_ledger | {"inputs": None} == from_trace | {"inputs": None}
    none = ["ptu", "--model", "gpt-4o", "--ledger", "--data", str(tmp_path / "data"), "--since", "2027-01-01"]
    assert "the ledger has no events of gpt-4o in this time" in complaint(capsys, *none)


def test_the_cached_share_is_measured_in_the_ledger(capsys, tmp_path):
    at = datetime(2026, 11, 1, 12, 0, 5, tzinfo=UTC)
    usage = Usage(input=750_000, cache_read=250_000, output=100_000)
    event = UsageEvent(
        id="e", request_id="r", at=at, recorded_at=at, usage=usage, provider="azure", model="gpt-4o",
        price_state="unpriced",
    )  # fmt: skip
    other = msgspec.structs.replace(event, id="f", model="gpt-4.1", usage=Usage(input=10**9))
    with Ledger.open(tmp_path) as ledger:
        ledger.add([event, other], source="test")
    document = figures(capsys, "ptu", "--model", "gpt-4o", "--ledger", "--data", str(tmp_path), *TODAY)
    assert document["inputs"]["cached_share"] == "0"
    assert document["notes"][0].startswith("In the ledger 25 % of the input was cached")
    assert document["peak_tokens_per_minute"] == "1150000"  # 750,000 fresh and 4 x 100,000 received


def test_plan_diff_shows_what_was_changed_and_what_that_does(capsys, tmp_path):
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(
        'calculator = "batch"\nmodel = "gpt-4o"\nrequests_per_day = 10000\ninput_tokens = 500\noutput_tokens = 300\n'
    )
    second.write_text(first.read_text() + "batch_share = 0.4\n")
    document = figures(capsys, "diff", str(first), str(second))
    assert document["inputs"] == [{"place": "batch_share", "first": "1", "second": "0.4", "change": "-0.6"}]
    assert {"place": "saving", "first": "637.50", "second": "255.00", "change": "-382.50"} in document["figures"]
    plan("diff", str(first), str(second))
    seen = capsys.readouterr().out
    assert "-$382.50 (-60 %)" in seen
    assert "100 %" in seen  # the batch share, with its unit
    plan("diff", str(first), str(first))
    assert "The plans are equal." in capsys.readouterr().out


def test_plans_of_two_calculators_are_not_compared(capsys, tmp_path):
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text('calculator = "copilot"\n')
    second.write_text('calculator = "gpu"\n')
    assert "b.toml: a plan for gpu, and" in complaint(capsys, "diff", str(first), str(second))
    second.write_text("licences = 5\n")
    assert "b.toml, calculator: '' is none" in complaint(capsys, "diff", str(first), str(second))


def test_a_chain_of_agents_stands_in_a_plan_file_as_tables(capsys, tmp_path):
    file = tmp_path / "chain.toml"
    file.write_text(
        'calculator = "agents"\nruns = 100\n'
        '[[agents]]\nname = "triage"\nmodel = "gpt-4.1-nano"\nplanning_tokens = 500\n'
        '[[agents]]\nname = "answer"\nmodel = "gpt-4o-mini"\noutput_tokens = 2000\ntool_calls = 2.5\n'
    )
    from_file = figures(capsys, "agents", "--from", str(file))
    from_words = figures(
        capsys, "agents", "--runs", "100", "--agents", "name=triage,model=gpt-4.1-nano,planning_tokens=500",
        "--agents", "name=answer,model=gpt-4o-mini,output_tokens=2000,tool_calls=2.5",
    )  # fmt: skip
    assert from_file == from_words
    assert from_file["per_interaction"] == "0.00125"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["agents", "--agents", "triage"], "--agents [0]: expected `object`, got `str`"),
        (
            ["agents", "--agents", "name=a,model=gpt-4o,planning_tokens=x"],
            "--agents [0].planning_tokens: expected `int`",
        ),
        (
            ["agents", "--agents", "name=a,model=gpt-4o,planning_token=1"],
            "--agents: no such input planning_token; did you mean",
        ),
        (["agents", "--agents", "name=a,model=gpt-4o,cached_share=2"], "--agents, cached_share: 200 % is not"),
        (["agents", "--agents", "name=a,model=gpt-4o,failure_share=1"], "--agents: every call of a fails"),
        (["month", "--model", "gpt-4o", *CHATBOT, "--months", "601"], "--months: 601 is more than 600"),
        (["month", "--model", "gpt-4o", *CHATBOT, "--growth", "1e16"], "--growth: 1E+16 is too large"),
        (
            ["month", "--model", "gpt-4o", *CHATBOT, "--growth", "1e15"],
            "--growth: 100,000,000,000,000,000 % for 12 months is too large to mean anything",
        ),
        (["gpu", "--vm", "NC24"], "--vm: no size 'NC24'; did you mean"),
        (["tokens", "--file", "nowhere.txt"], "nowhere.txt: cannot be read"),
        (["tokens", "--image", "large"], "--image: 'large' is not a size such as 1024x1024"),
        (["foundry", "--email", "me", "--guardrails", "g"], "--email: 'me' is not an address"),
        (["month", "--modell", "gpt-4o"], "penstock: Unknown option: --modell. Did you mean --model?"),
        (["mnth"], 'penstock: Unknown command "mnth". Did you mean "month"?'),
        (["month", "gpt-4o"], "penstock: 'gpt-4o' belongs to no option; each is given as --name value"),
        (["month", "--model"], "parameter --model requires an argument"),
        (["gpu", "--method", "loar"], "penstock: --method: 'loar' is not one of full, lora, qlora; did you mean lora?"),
        (["deployment", "--can-wait=maybe"], "penstock: Invalid value for --can-wait"),
        (["ptu", "--model", "gpt-4o", "--since", "May"], "penstock: --since: 'May' is not a day such as 2026-11-23"),
        (["month", "--at", "May"], "penstock: --at: 'May' is not a day such as 2026-11-23"),
        (["diff", "a.toml"], "parameter SECOND requires an argument"),
        (["ptu", "--model", "gpt-4o", "--trace", "a", "--ledger"], "--ledger: the demand comes from a trace or from"),
        (["foundry", "--budget", "0", "--guardrails", "g"], "--budget: 0 is less than a dollar"),
        (["foundry", "--model", "Phi-4", "--guardrails", "g"], "--model-version: no version of Phi-4 is known"),
        (["copilot", "--active-users", "5000"], "--active-users: 5000 active users have 1000 licences"),
    ],
)
def test_whatever_is_wrong_is_one_sentence(capsys, monkeypatch, tmp_path, words, sentence):
    monkeypatch.chdir(tmp_path)
    said = complaint(capsys, *words)
    assert sentence in said
    assert said.count("\n") == 1


def test_plan_tokens_counts_text_files_and_pictures(capsys, tmp_path):
    text, picture = tmp_path / "a.md", tmp_path / "b.png"
    text.write_text("The quick brown fox jumps over the lazy dog.")
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 1024, 1024))
    document = figures(capsys, "tokens", "--model", "gpt-4o", "--file", str(text), "--file", str(picture))
    assert [(piece["kind"], piece["tokens"], piece["method"]) for piece in document["pieces"]] == [
        ("text", 10, "exact"), ("image", 765, "exact"),
    ]  # fmt: skip


def test_a_picture_costs_twice_as_much_on_mini(capsys):
    big, small = (
        figures(capsys, "tokens", "--model", model, "--image", "1024x1024")["cost_per_request"]
        for model in ("gpt-4o", "gpt-4o-mini")
    )
    assert (big, small) == ("0.0019125", "0.00382515")


def test_plan_tokens_counts_a_picture_anew_for_each_model(capsys):
    document = figures(capsys, "tokens", "--model", "gpt-4o", "--image", "1024x1024", *TODAY)
    counted = {line["model"]: line["input_tokens"] for line in document["models"]}
    assert (counted["gpt-4o"], counted["gpt-4o-mini"]) == (765, 25_501)
    assert counted["gpt-4o"] == document["input_tokens"]


def test_the_interview_asks_until_it_has_usable_answers(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("poetry\ncode\nbest\n\nmany\n20,000\nday\n"))
    document = figures(capsys, "model", "--interview", *TODAY)
    assert document["model"] == "gpt-5.2"
    assert document["path"][2] == "input: text, up to 20,000 tokens"


def test_an_interview_that_ends_early_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("code\n"))
    assert "--interview: the answers ended before the questions" in complaint(capsys, "model", "--interview")


def test_plan_foundry_writes_the_guardrails(capsys, tmp_path):
    folder = tmp_path / "rails"
    plan("foundry", "--guardrails", str(folder), *TODAY)
    assert sorted(path.name for path in folder.iterdir()) == ["guardrails.bicep", "guardrails.sh", "guardrails.tf"]
    assert "Guardrails written" in capsys.readouterr().out


def test_contract_prices_of_the_settings_apply_to_plans(capsys, tmp_path):
    settings = tmp_path / "penstock.toml"
    settings.write_text(
        '[[prices.rows]]\nprovider = "azure"\nmodel = "gpt-4o"\ninput = 2.0\noutput = 8.0\nfrom = 2026-01-01\n'
    )
    document = figures(capsys, "month", "--model", "gpt-4o", *CHATBOT, "--config", str(settings), *TODAY)
    assert document["monthly_cost"] == "1020.00"


def test_another_provider_is_asked_by_name(capsys):
    document = figures(capsys, "month", "--model", "gpt-4o", *CHATBOT, "--provider", "openai", *TODAY)
    assert document["monthly_cost"] == "1275.00"
