import io
from datetime import UTC, datetime, timedelta

from tests.ledger.importers.reading import DATA, NOW, read, rejected

from penstock.ledger.importers.drafts import Assumed, Draft, Rejected, Sample
from penstock.ledger.importers.traces import FORMAT, sniff
from penstock.pricing.usage import Usage

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
AZURE = {"provider": "azure", "model": "gpt-4o", "deployment_type": "data_zone"}


def test_a_trace_is_known_by_its_header():
    assert sniff(Sample(HEADER), Assumed()).fits
    assert sniff(Sample('"timestamp", "contexttokens","GENERATEDTOKENS"\r\n'), Assumed()).fits
    assert not sniff(Sample("TIMESTAMP,ContextTokens\n"), Assumed()).fits


def test_each_row_is_one_event_of_the_model_that_was_named():
    drafts = read(FORMAT, (DATA / "azure_llm_2023_conv_50.csv").read_bytes(), **AZURE)
    assert len(drafts) == 50
    assert isinstance(drafts[0], Draft)
    event = drafts[0].event
    assert event.at == datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC)
    assert event.usage == Usage(input=374, output=44)
    assert (event.provider, event.model, event.deployment_type) == ("azure", "gpt-4o", "data_zone")


def test_bad_rows_are_named_with_their_line_and_the_rest_is_read():
    noon = "2023-11-16 18:15:46"
    text = (
        f"{HEADER}{noon},374,44\n{noon},-1,44\n{noon},,44\n{noon},3\n"
        f"yesterday,3,4\n2099-01-01 00:00:00,3,4\n{noon},x,44\n{noon},1,2\n"
    )
    assert rejected(FORMAT, text, **AZURE) == [
        (3, "negative_number"), (4, "missing_value"), (5, "wrong_columns"), (6, "not_a_time"), (7, "future_date"),
        (8, "not_a_number"),
    ]  # fmt: skip
    assert sum(isinstance(item, Draft) for item in read(FORMAT, text, **AZURE)) == 2


def test_a_second_header_of_a_glued_file_is_no_row():
    text = HEADER + "2023-11-16 18:15:46,1,2\n" + HEADER + "2023-11-16 18:15:47,1,2\n"
    assert len(read(FORMAT, text, **AZURE)) == 2


def test_a_trace_can_be_moved_in_time_with_its_distances_kept():
    text = HEADER + "2023-11-16 18:00:00,1,2\n2023-11-16 18:00:30,1,2\n"
    moved = [
        item
        for item in read(FORMAT, text, **AZURE, shift_to=datetime(2026, 3, 1, tzinfo=UTC))
        if isinstance(item, Draft)
    ]
    assert [draft.event.at for draft in moved] == [
        datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 0, 0, 30, tzinfo=UTC),
    ]  # fmt: skip
    assert moved[0].content != read(FORMAT, text, **AZURE)[0].content


def test_a_trace_whose_times_count_from_its_start_is_put_where_the_user_says():
    text = (
        '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n'
        '{"timestamp": 3000, "input_length": -1, "output_length": 5, "hash_ids": [0]}\n'
        '{"input_length": 1, "output_length": 5}\n'
        '{"timestamp": 90500.5, "input_length": 12, "output_length": 5, "hash_ids": []}\n{"timestamp"\n'
        '{"timestamp": 999999999999, "input_length": 12, "output_length": 5}\n'
    )
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert not sniff(Sample(text), Assumed()).fits
    assert "--shift-to" in sniff(Sample(text), Assumed()).why
    assert sniff(Sample(text), Assumed(shift_to=start)).fits
    drafts = [item.event for item in read(FORMAT, text, **AZURE, shift_to=start) if isinstance(item, Draft)]
    assert [(event.at, event.usage) for event in drafts] == [
        (start, Usage(input=6758, output=500)),
        (start + timedelta(seconds=90, microseconds=500_500), Usage(input=12, output=5)),
    ]
    assert rejected(FORMAT, text, **AZURE, shift_to=start) == [
        (2, "negative_number"), (3, "missing_value"), (5, "not_json"), (6, "future_date"),
    ]  # fmt: skip
    assert rejected(FORMAT, text, **AZURE)[0] == (1, "missing_value")


def test_the_same_rows_with_other_line_ends_are_the_same():
    rows = HEADER + "2023-11-16 18:15:46,374,44\n"
    assert read(FORMAT, rows, **AZURE) == read(FORMAT, rows.replace("\n", "\r\n"), **AZURE)
    assert not any(isinstance(item, Rejected) for item in read(FORMAT, rows, **AZURE))


def test_what_is_moved_into_the_future_is_named_as_in_every_format():
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2026-03-14 10:00:00,1,2\n2026-03-17 10:00:00,1,2\n"
    items = list(FORMAT.read(io.BytesIO(text.encode()), Assumed(provider="azure", model="m", shift_to=NOW), NOW))
    assert [item.event.at if isinstance(item, Draft) else (item.line, item.code) for item in items] == [
        NOW, (3, "future_date"),
    ]  # fmt: skip
