import csv
import gzip
import io
import json
import shutil
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.importers.reading import DATA, NOW

from penstock.analytics.spend import Spend, spend
from penstock.errors import InputError
from penstock.ledger.importers.drafts import Assumed
from penstock.ledger.importers.formats import choose
from penstock.ledger.importers.run import Imported, import_file
from penstock.ledger.store import Ledger
from penstock.pricing.book import PriceRow
from penstock.pricing.books import default_catalog
from penstock.pricing.catalog import Catalog

CATALOG = default_catalog()
TRACE = DATA / "azure_llm_2023_conv_50.csv"
GPT_4O = Assumed(provider="azure", model="gpt-4o", deployment_type="global")


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger") as opened:
        yield opened


def book(
    file: Path, ledger: Ledger | None, assumed: Assumed = GPT_4O, catalog: Catalog = CATALOG, name: str = ""
) -> Imported:
    return import_file(file, choose(file, assumed, name), assumed=assumed, catalog=catalog, now=NOW, ledger=ledger)


def report(ledger: Ledger, *by: str) -> Spend:
    return spend(ledger.table(), by=by)


def test_a_trace_costs_what_its_tokens_cost(ledger):
    outcome = book(TRACE, ledger)
    with TRACE.open() as file:
        rows = list(csv.DictReader(file))
    expected = sum(
        int(row["ContextTokens"]) * Decimal("0.0000025") + int(row["GeneratedTokens"]) * Decimal("0.00001")
        for row in rows
    )
    assert (outcome.read, outcome.new, outcome.duplicates, outcome.cost) == (50, 50, 0, expected)
    found = report(ledger, "model")
    assert found.total == expected
    assert [(row.group["model"], row.events) for row in found.rows] == [("gpt-4o", 50)]


def test_the_whole_azure_trace_costs_exactly_what_its_csv_says(ledger):
    trace = Path(__file__).parents[3] / "../shared/data/traces/azure_llm_2023_conv.csv.gz"
    if not trace.exists():
        pytest.skip("the whole trace is not beside this repository")
    outcome = book(trace, ledger)
    with gzip.open(trace, "rt") as file:
        rows = list(csv.DictReader(file))
    dollars = sum(
        int(row["ContextTokens"]) * Decimal("2.50") + int(row["GeneratedTokens"]) * Decimal("10.00") for row in rows
    )
    assert (outcome.new, len(rows)) == (19_366, 19_366)
    assert report(ledger, "model").total == dollars / 1_000_000 == Decimal("96.791325")
    again = book(trace, ledger)
    assert (again.new, again.duplicates) == (0, 19_366)
    assert report(ledger, "model").total == dollars / 1_000_000


def test_an_import_twice_changes_nothing_also_renamed_and_packed_anew(ledger, tmp_path):
    book(TRACE, ledger)
    before = report(ledger, "hour", "model")
    packed = tmp_path / "another name.csv.gz"
    packed.write_bytes(gzip.compress(TRACE.read_bytes().replace(b"\n", b"\r\n")))
    for file in (TRACE, packed):
        outcome = book(file, ledger)
        assert (outcome.new, outcome.duplicates) == (0, 50)
    assert report(ledger, "hour", "model") == before


def test_equal_rows_are_as_many_events_as_they_are_rows(ledger, tmp_path):
    file = tmp_path / "trace.csv"
    header, row = "TIMESTAMP,ContextTokens,GeneratedTokens\n", "2023-11-16 18:15:46.6805900,374,44\n"
    file.write_text(header + row * 3)
    assert book(file, ledger).new == 3
    file.write_text(header + row * 4)
    assert (outcome := book(file, ledger)).new == 1, outcome


def test_the_same_trace_as_another_model_is_other_events(ledger):
    book(TRACE, ledger)
    assert book(TRACE, ledger, Assumed(provider="azure", model="gpt-4o-mini", deployment_type="global")).new == 50


def test_events_older_than_every_price_are_priced_by_the_first_and_counted(ledger):
    outcome = book(TRACE, ledger)
    [(row, count)] = outcome.early.items()
    assert count == 50
    assert row.startswith("azure/gpt-4o/global/standard@")
    assert report(ledger).early[0].events == 50


def test_a_model_without_a_price_is_counted_and_not_zero(ledger):
    outcome = book(TRACE, ledger, Assumed(provider="azure", model="gpt-mystery", deployment_type="global"))
    assert outcome.unpriced == {"gpt-mystery": 50}
    assert outcome.cost == 0
    assert report(ledger).unpriced_events == 50
    assert all(event.cost is None for event in ledger.events())


def test_ids_are_32_hex_digits_and_stand_in_for_a_missing_request_id(ledger):
    book(TRACE, ledger)
    events = ledger.events()
    assert all(len(event.id) == 32 and int(event.id, 16) >= 0 and event.request_id == event.id for event in events)
    assert {event.source for event in events} == {"traces"}


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path):
    outcome = book(TRACE, None)
    assert (outcome.read, outcome.new) == (50, 0)
    assert outcome.cost > 0
    assert not list(tmp_path.iterdir())


def test_the_csv_is_booked_with_prices_versions_and_what_the_source_says(ledger):
    outcome = book(DATA / "usage.csv", ledger, Assumed())
    assert outcome.notes == ["columns not read: Colour"]
    assert (outcome.provider_cost, outcome.compared) == (Decimal("0.000255"), Decimal("0.000255"))
    mini, gpt_4o, o3 = sorted(ledger.events(), key=lambda event: event.request_id)
    assert mini.cost == Decimal("0.000255")
    assert gpt_4o.cost == 976 * Decimal("0.0000025") + 1024 * Decimal("0.00000125") + 100 * Decimal("0.00001")
    assert (o3.model, o3.version, o3.price_state) == ("o3-mini", "2025-01-31", "priced")


def test_openai_buckets_are_booked_once_by_the_bucket(ledger, tmp_path):
    source = DATA / "openai_usage_completions.json"
    outcome = book(source, ledger, Assumed())
    expected = 3_976_000 * Decimal("0.00000015") + 1_024_000 * Decimal("0.000000075") + 3_000_000 * Decimal("0.0000006")
    assert outcome.cost == expected == Decimal("2.4732")
    found = report(ledger, "model", "app")
    assert (found.events, found.requests, found.total) == (1, 10_000, expected)
    squeezed = tmp_path / "squeezed.json"
    squeezed.write_text(json.dumps(json.loads(source.read_text())))
    assert book(squeezed, ledger, Assumed()).new == 0


def test_litellm_s_spend_is_compared_and_its_own_cache_hits_cost_nothing(ledger):
    outcome = book(DATA / "litellm_spend_logs.jsonl", ledger, Assumed())
    assert (outcome.read, outcome.provider_cost) == (5, Decimal("0.013065"))
    events = {event.request_id: event for event in ledger.events()}
    assert events["chatcmpl-demo1"].cost == events["chatcmpl-demo1"].provider_cost == Decimal("0.000255")
    assert (events["chatcmpl-demo4"].cost, events["chatcmpl-demo4"].price_state) == (0, "priced")
    assert events["chatcmpl-demo2"].cost == 0
    assert events["msg-demo5"].price_state == "priced"


def test_an_aggregate_is_priced_by_the_size_of_its_average_call(ledger, tmp_path):
    def row(over: int, rate: str) -> PriceRow:
        return PriceRow(
            provider="openai", model="m", context_over=over, valid_from=datetime(2026, 1, 1, tzinfo=UTC),
            rates={"input": Decimal(rate), "output": Decimal(0)},
        )  # fmt: skip

    file = tmp_path / "usage.csv"
    file.write_text(
        "at,provider,model,input_tokens,requests\n2026-03-14,openai,m,1000,10\n2026-03-14,openai,m,1000,1\n"
    )
    outcome = book(file, ledger, Assumed(), Catalog([[row(0, "1"), row(500, "2")]]))
    assert outcome.cost == 1000 * 1 + 1000 * 2


def test_bad_rows_are_written_beside_the_ledger_once(ledger, tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,2\n2023-11-16 18:15:47,-1,2\n,,\n")
    outcome = book(file, ledger)
    assert (outcome.new, outcome.rejected) == (1, {"negative_number": 1, "missing_value": 1})
    assert outcome.rejects is not None
    rows = [json.loads(line) for line in outcome.rejects.read_text().splitlines()]
    assert rows[0] == {
        "line": 3, "code": "negative_number", "reason": "ContextTokens is -1: a count cannot be negative",
        "row": "2023-11-16 18:15:47,-1,2",
    }  # fmt: skip
    book(file, ledger)
    assert [found.name for found in (ledger.folder / "rejects").iterdir()] == [outcome.rejects.name]


def test_one_id_with_two_contents_is_not_lost_in_silence(ledger, tmp_path):
    file = tmp_path / "usage.csv"
    header = "at,provider,model,input_tokens,request_id,attempt\n"
    file.write_text(
        f"{header}2026-03-14,azure,gpt-4o,1,a,\n2026-03-14,azure,gpt-4o,2,a,\n2026-03-14,azure,gpt-4o,2,a,2\n"
    )
    outcome = book(file, ledger, Assumed())
    assert (outcome.new, outcome.rejected) == (2, {"repeated_id": 1})
    assert (outcome.examples[0].line, "attempts numbers of their own" in outcome.examples[0].reason) == (3, True)


def test_a_cut_off_gzip_is_booked_as_far_as_it_goes_and_not_complete(ledger, tmp_path):
    file = tmp_path / "trace.csv.gz"
    packed = gzip.compress(TRACE.read_bytes())
    file.write_bytes(packed[: len(packed) * 3 // 4])
    outcome = book(file, ledger)
    assert 0 < outcome.new < 50
    assert outcome.rejected == {"truncated_file": 1}
    assert not outcome.complete
    file.write_bytes(packed)
    outcome = book(file, ledger)
    assert outcome.complete
    assert report(ledger).events == 50


def test_a_json_document_that_is_cut_off_is_booked_as_far_as_it_is_whole(ledger, tmp_path):
    file = tmp_path / "usage.json"
    whole = (DATA / "openai_usage_completions.json").read_text()
    file.write_text(whole[:-20])
    outcome = book(file, ledger, Assumed())
    assert (outcome.new, outcome.rejected, outcome.complete) == (1, {"truncated_file": 1}, False)
    assert "breaks off in line 30" in outcome.examples[0].reason
    file.write_text(whole[: whole.index("num_model_requests")])
    assert book(file, ledger, Assumed()).read == 0
    file.write_text(whole)
    assert book(file, ledger, Assumed()).duplicates == 1


def test_a_format_that_the_user_names_must_fit():
    with pytest.raises(InputError, match="use one of traces, litellm"):
        choose(TRACE, GPT_4O, "excel")
    with pytest.raises(InputError, match="not readable as litellm"):
        choose(TRACE, GPT_4O, "litellm")
    with pytest.raises(InputError, match="--shift-to"):
        choose(DATA / "usage.csv", Assumed(shift_to=NOW))


@pytest.mark.parametrize(
    ("assumed", "asked"),
    [({}, "--provider, --model"), ({"provider": "azure"}, "--model, --deployment-type"),
     ({"provider": "azure", "model": "gpt-4o"}, "--deployment-type")],
)  # fmt: skip
def test_a_trace_asks_for_what_its_rows_do_not_say(assumed, asked):
    with pytest.raises(InputError, match=f"say {asked}, as in"):
        choose(TRACE, Assumed(**assumed))


def test_a_file_of_no_known_format_says_what_is_near_and_what_there_is(tmp_path):
    (tmp_path / "x").write_text("hello\nworld\n")
    with pytest.raises(InputError, match=r"(?s)nearest:\n.*--format: traces, litellm, .*csv") as caught:
        choose(tmp_path / "x", Assumed())
    assert str(tmp_path / "x") in str(caught.value)


def test_of_the_known_formats_the_nearest_are_named_first(tmp_path):
    (tmp_path / "x").write_text('{"request_id": 1, "call_type": "acompletion", "spend": 1}')
    with pytest.raises(InputError, match=r"nearest:\n  litellm: .*have \"startTime\""):
        choose(tmp_path / "x", Assumed())


@pytest.mark.parametrize(
    ("file", "name", "events"),
    [("imports/openai/usage_completions.json", "openai_usage", 1), ("imports/litellm/spend_logs.jsonl", "litellm", 2)],
)
def test_samples_of_others_are_recognised_and_read(file, name, events):
    path = Path(__file__).parents[3] / "../shared/data" / file
    if not path.exists():
        pytest.skip("the samples are not beside this repository")
    assert choose(path, Assumed())[0].name == name
    outcome = book(path, None, Assumed())
    assert (outcome.read, sum(outcome.rejected.values()), sum(outcome.unpriced.values())) == (events, 0, 0)


some_row = st.fixed_dictionaries(
    {
        "at": st.integers(1_770_000_000, 1_775_000_000).map(lambda s: datetime.fromtimestamp(s, UTC).isoformat()),
        "provider": st.sampled_from(["azure", "openai"]),
        "model": st.sampled_from(["gpt-4o", "gpt-4o-mini", "nobody-knows"]),
        "input_tokens": st.integers(0, 10**7),
        "output_tokens": st.integers(0, 10**7),
        "team": st.sampled_from(["", "a", "b"]),
    }
)


def as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["at", "provider", "model", "input_tokens", "output_tokens", "team"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@settings(max_examples=6, deadline=None)
@given(
    rows=st.lists(some_row, min_size=1, max_size=12),
    data=st.data(),
)
def test_any_order_and_any_split_into_files_gives_the_same_report(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("law")
    shuffled = data.draw(st.permutations(rows))
    # Rows without ids are told apart by counting equal ones in a file: equal rows stay together.
    kinds = [json.dumps(row) for row in rows]
    place = {kind: data.draw(st.integers(0, 2)) for kind in Counter(kinds)}
    pieces = [[row for row in shuffled if place[json.dumps(row)] == n] for n in range(3)]
    reports = []
    for number, files in enumerate(([rows], [piece for piece in pieces if piece])):
        with Ledger.open(folder / str(number)) as ledger:
            for n, content in enumerate([*files, rows]):  # and once more, all of it
                file = folder / f"{number}-{n}.csv"
                file.write_text(as_csv(content))
                book(file, ledger, Assumed())
            reports.append(report(ledger, "team", "model", "day"))
    assert reports[0] == reports[1]
    shutil.rmtree(folder)
