from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.ledger.importers.reading import DATA, read, rejected

from penstock.errors import InputError
from penstock.ledger.importers.drafts import Assumed, Draft, Note, Sample
from penstock.ledger.importers.plain_csv import COLUMNS, FORMAT, NAMES, header_of, sniff
from penstock.pricing.usage import Usage

HEADER = "at,provider,model,input_tokens,output_tokens,cached_tokens,request_id\n"
ROW = "2026-03-14T10:00:00Z,azure,gpt-4o,100,10,20,"


def drafts(source: str | bytes, **assumed: str) -> list[Draft]:
    return [item for item in read(FORMAT, source, **assumed) if isinstance(item, Draft)]


def test_columns_are_read_by_any_of_their_names():
    note, *items = read(FORMAT, (DATA / "usage.csv").read_bytes())
    assert note == Note("columns not read: Colour")
    first, second, third = (item.event for item in items if isinstance(item, Draft))
    assert [event.at for event in (first, second, third)] == [datetime(2026, 3, 14, 10, tzinfo=UTC)] * 3
    assert first.provider_cost == Decimal("0.000255")
    assert second.provider_cost is None
    assert (first.team, first.app, first.user, first.request_id) == ("support", "bot", "cust-1", "r-1")
    assert first.tags == {"product": "help"}
    assert second.usage == Usage(input=976, cache_read=1024, output=100)
    assert third.usage == Usage(input=100, output=900, reasoning=640)
    assert third.user == "Doe; Jane"


def test_every_column_and_alias_is_documented():
    page = (Path(__file__).parents[3] / "docs/importing.md").read_text("utf-8")
    for column, aliases in COLUMNS.items():
        for name in (column, *aliases):
            assert f"`{name}`" in page, f"{name} is not in docs/importing.md"


def test_no_alias_means_two_things():
    assert len(NAMES) == sum(1 + len(aliases) for aliases in COLUMNS.values())


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("2026-03-14,azure,gpt-4o,100,10,200,", "wrong_usage"),
        ("2026-03-14,azure,gpt-4o,-100,10,0,", "negative_number"),
        ("2026-03-14,azure,,100,10,0,", "missing_value"),
        ("2026-03-14,,gpt-4o,100,10,0,", "missing_value"),
        ("2026-03-14,azure,gpt-4o,,,,", "missing_value"),
        ("2027-03-14,azure,gpt-4o,100,10,0,", "future_date"),
        ("2026-03-14,azure,gpt-4o,100,10", "wrong_columns"),
        ('2026-03-14,azure,"gpt-4o,100,10,0,', "wrong_csv"),
    ],
)
def test_a_bad_row_is_named_and_its_neighbours_are_read(row, code):
    text = f"{HEADER}{ROW}\n{row}\n{ROW}\n"
    assert rejected(FORMAT, text) == [(3, code)]
    assert len(drafts(text)) == 2


def test_another_currency_is_refused():
    text = "at,provider,model,input_tokens,cost,currency\n2026-03-14,azure,gpt-4o,1,0.1,EUR\n"
    assert rejected(FORMAT, text) == [(2, "wrong_currency")]


def test_the_command_line_fills_in_what_rows_leave_open():
    text = "at,model,input_tokens,team\n2026-03-14,gpt-4o,5,\n2026-03-14,,5,red\n"
    assumed = {"provider": "azure", "model": "o1", "team": "blue", "deployment_type": "regional"}
    found = [draft.event for draft in drafts(text, **assumed)]
    assert [(event.provider, event.model, event.team, event.deployment_type) for event in found] == [
        ("azure", "gpt-4o", "blue", "regional"), ("azure", "o1", "red", "regional"),
    ]  # fmt: skip


def test_statuses_become_outcomes():
    text = "at,provider,model,input_tokens,status\n" + "".join(
        f"2026-03-14,azure,gpt-4o,5,{status}\n" for status in ("", 200, 429, 499)
    )
    assert [(d.event.outcome, d.event.status, d.event.error) for d in drafts(text)] == [
        ("ok", 200, ""), ("ok", 200, ""), ("error", 429, "http_429"), ("aborted", 499, "http_499"),
    ]  # fmt: skip


def test_milliseconds_may_have_a_fraction():
    header = "at,provider,model,input_tokens,latency_ms,ttft_ms\n"
    [found] = drafts(f"{header}2026-03-14,azure,gpt-4o,5,1021.5,0.25\n")
    assert (found.event.duration_us, found.event.first_token_us) == (1_021_500, 250)
    assert rejected(FORMAT, f"{header}2026-03-14,azure,gpt-4o,5,-1.5,\n") == [(2, "negative_number")]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("model,input_tokens", "no column at, provider (or say --provider NAME)"),
        ("at,provider,model", "no column input_tokens, output_tokens"),
        ("at,timestamp,provider,model,input_tokens", "two columns that mean at"),
        ("hello world", "no column at"),
    ],
)
def test_a_header_that_is_not_enough_is_refused_with_what_is_missing(header, why):
    guess = sniff(Sample(f"{header}\n"), Assumed())
    assert not guess.fits
    assert why in guess.why


def test_two_columns_of_one_meaning_are_refused():
    with pytest.raises(InputError, match="second is 'prompt_tokens'"):
        header_of("at,input_tokens,prompt_tokens")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_the_header_uses(delimiter):
    text = f"{HEADER}{ROW}\n".replace(",", delimiter)
    assert drafts(text)[0].event.usage == Usage(input=80, cache_read=20, output=10)


def test_columns_in_another_order_make_the_same_row():
    one = drafts("at,provider,model,input_tokens\n2026-03-14,azure,gpt-4o,5\n")
    other = drafts("input_tokens,model,at,provider\n5,gpt-4o,2026-03-14,azure\n")
    assert one[0].content == other[0].content
