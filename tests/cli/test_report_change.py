import pytest
from tests.cli.reporting import document, imported, penstock, shown

from penstock.cli.options import console
from penstock.ledger.store import Ledger

MARCH = ("--from", "2026-03", "--to", "2026-03")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """February: a million tokens each way of gpt-4o ($12.50). March: half of them cached, and mini beside it."""
    return imported(
        tmp_path_factory.mktemp("change"),
        "at,provider,model,input_tokens,cached_tokens,output_tokens,team\n"
        "2026-02-14,azure,gpt-4o,1000000,0,1000000,red\n"
        "2026-03-14,azure,gpt-4o,1000000,500000,1000000,red\n"
        "2026-03-15,azure,gpt-4o-mini,1000000,0,1000000,blue\n"
        "2026-03-16,azure,mystery,500,0,50,blue\n",
    )


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 140)


def test_a_month_is_held_against_the_month_before_it(capsys, ledger):
    found = document(capsys, "change", *MARCH, "--data", ledger)
    assert found["before"] == {"from": "2026-02-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"}
    total = {name: found["total"][name] for name in ("before", "after", "change", "volume", "mix", "token_kinds")}
    # Twice the requests would have been 25; one of them moved from 12.50 to 0.75; half the input became cached: -0.625.
    assert total == {
        "before": "12.50", "after": "12.625", "change": "0.125", "volume": "12.50", "mix": "-11.75",
        "token_kinds": "-0.625",
    }  # fmt: skip
    assert (found["total"]["price"], found["total"]["tokens_per_request"]) == ("0.00", "0.00")
    assert [(line["model"], line["status"]) for line in found["lines"]] == [("gpt-4o-mini", "new"), ("gpt-4o", "kept")]
    assert (found["unpriced_before"], found["unpriced_after"]) == (0, 1)
    assert found["ledger_begins"] == "2026-02-14T00:00:00Z"
    whole = document(capsys, "change", "--from", "2026-03", "--against", "2026-02-14..2026-02-28", "--data", ledger)
    assert whole["ledger_begins"] is None


def test_the_table_is_what_people_see(capsys, ledger):
    lines = shown(capsys, "change", *MARCH, "--data", ledger)
    assert lines == [
        "model          before     volume        mix  length     kinds  price     after    change",
        "gpt-4o-mini   $0.0000          -   +$0.7500       -         -      -   $0.7500  +$0.7500  new",
        "gpt-4o       $12.5000  +$12.5000  -$12.5000       -  -$0.6250      -  $11.8750  -$0.6250",
        "total        $12.5000  +$12.5000  -$11.7500       -  -$0.6250      -  $12.6250  +$0.1250",
        "before: 2026-02-01 00:00 to 2026-03-01 00:00 UTC; after: 2026-03-01 00:00 to 2026-04-01 00:00 UTC",
        "Note: the periods have 28 and 31 days; the difference is volume.",
        "Warning: the ledger begins on 2026-02-14, so that the period before is not whole: not like with like.",
        "Warning: without a price, and left out: 0 events before, 1 event after. See: penstock report --by model",
    ]


def test_any_two_periods_and_dimensions_can_be_compared(capsys, ledger):
    found = document(
        capsys, "change", "--from", "2026-03-14", "--to", "2026-03-14", "--against", "2026-02-10..2026-02-20",
        "--by", "team,model", "--data", ledger,
    )  # fmt: skip
    [line] = found["lines"]
    assert (line["team"], line["model"], line["change"]) == ("red", "gpt-4o", "-0.625")


def test_a_time_without_events_says_where_they_come_from(capsys, ledger):
    [line] = shown(capsys, "change", "--from", "2020-01", "--to", "2020-01", "--data", ledger)
    assert line.startswith("No events from 2019-12-01 00:00 to 2020-02-01 00:00 UTC.")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--by", "colour"], "'colour'"), (["--against", "soon"], "'soon'"),
        (["--against", "now"], "there is no time in it"), (["--from", "2026-04", "--to", "2026-03"], "no time between"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_sentence(words, sentence, capsys, ledger):
    assert penstock("report", "change", *words, "--data", ledger) == 2
    assert sentence in capsys.readouterr().err


def test_the_help_has_examples(capsys):
    penstock("report", "change", "--help")
    assert "penstock report change --from 2026-03 --to 2026-03" in capsys.readouterr().out


def test_rates_are_those_of_the_book_that_priced_the_call_whichever_it_was(capsys, tmp_path):
    ledger = imported(
        tmp_path,
        "at,provider,model,input_tokens,cached_tokens,output_tokens\n"
        "2026-02-14,openai,gpt-4o,1000000,500000,0\n"
        "2026-03-14,openai,gpt-4o,1000000,0,0\n",
    )
    with Ledger.open(ledger) as opened, opened.state.transaction() as write:
        write.execute("DELETE FROM books")  # what is not archived is found in the books of the package
    found = document(capsys, "change", *MARCH, "--data", ledger)
    # Half a million tokens at $1.25 for cached ones are $2.50 now: no price has changed.
    assert (found["total"]["token_kinds"], found["total"]["price"], found["unknown_rates"]) == ("0.625", "0.00", 0)


def test_a_narrow_screen_keeps_the_names_and_says_what_is_left_out(capsys, ledger, monkeypatch):
    monkeypatch.setattr(console, "_width", 60)
    lines = shown(capsys, "change", *MARCH, "--data", ledger)
    assert all(len(line) <= 60 for line in lines[:4])
    assert [line.split()[0] for line in lines[:4]] == ["model", "gpt-4o-mini", "gpt-4o", "total"]
    assert lines[0].split()[-1] == "change"
    assert lines[4].startswith("Left out, for a wider screen or --json: before, after")
    assert lines[5] == (
        "In all $12.5000 became $12.6250: volume +$12.5000, mix -$11.7500, length -, kinds -$0.6250, price -"
    )
