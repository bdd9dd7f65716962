from datetime import UTC, datetime

import pytest
from tests.ledger.importers.reading import DATA, read, rejected

from penstock.ledger.importers.drafts import Draft, Note
from penstock.ledger.importers.vllm import FORMAT
from penstock.pricing.usage import Usage

TEXT = (DATA / "vllm_metrics.prom").read_text("utf-8")


def drafts(text: str) -> list[Draft]:
    return [item for item in read(FORMAT, text) if isinstance(item, Draft)]


def test_usage_is_what_counters_grew_by_and_a_restart_begins_again():
    first, second = (draft.event for draft in drafts(TEXT))
    assert first.usage == Usage(input=6_000, cache_read=4_000, output=20_000)
    assert (first.requests, first.at, first.provider) == (60, datetime(2026, 3, 14, 10, tzinfo=UTC), "vllm")
    assert second.usage == Usage(input=5_000, output=7_000)
    assert (second.requests, second.model, second.deployment) == (30, "Qwen/Qwen3-8B", "0")


def test_a_file_that_has_grown_books_only_what_is_new():
    shorter = TEXT[: TEXT.index("# at 2026-03-14T12")]
    assert [draft.source_id for draft in drafts(shorter)] == [draft.source_id for draft in drafts(TEXT)][:1]


def test_times_may_stand_behind_the_samples():
    def scrape(tokens: int, at: int) -> str:
        return f'vllm:prompt_tokens_total{{model_name="m"}} {tokens} {at}\n'

    [draft] = drafts(scrape(10, 1_773_482_400_000) + scrape(25, 1_773_486_000_000))
    assert draft.event.usage == Usage(input=15)


def test_one_scrape_is_no_usage_and_says_so():
    [note] = read(FORMAT, TEXT[: TEXT.index("# at 2026-03-14T11")])
    assert isinstance(note, Note)
    assert "second one" in note.text


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("# at 2026-03-14T10:00:00Z\n", "", "missing_value"),
        ("# at 2026-03-14T11", "# at 2026-03-14T09", "not_a_time"),
        ("353000.0", "many", "not_a_number"), ("124000.0", "224000.0", "wrong_usage"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(old, new, code):
    assert rejected(FORMAT, TEXT.replace(old, new, 1))[0][1] == code


def test_a_bad_scrape_is_left_out_and_the_next_one_says_what_it_would_have_said():
    """Half of its counters would be booked as the whole of an hour."""
    bad = TEXT.replace("846000.0", "-1", 1)
    [draft] = drafts(bad)
    assert draft.event.usage == Usage(input=5_000, output=7_000)  # after the restart: what came before it is lost
    more = TEXT.replace("5000.0", "363000.0").replace(" 7000.0", " 866000.0").replace("} 0.0", "} 124000.0")
    [whole] = drafts(more.replace("353000.0", "many", 1))
    assert whole.event.usage == Usage(input=16_000, cache_read=4_000, output=40_000)
    assert whole.event.at == datetime(2026, 3, 14, 10, tzinfo=UTC)
