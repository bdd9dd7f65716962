import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.ledger.importers.reading import DATA, read, rejected

from penstock.errors import InputError
from penstock.ledger.importers.drafts import Assumed, Draft, Note, Sample
from penstock.ledger.importers.openai_usage import FORMAT, sniff
from penstock.pricing.usage import Usage

COMPLETIONS = "organization.usage.completions.result"


def page(*results: dict[str, Any], end: int = 1773532800, **more: Any) -> str:
    bucket = {"object": "bucket", "start_time": 1773446400, "end_time": end, "results": list(results)}
    return json.dumps({"object": "page", "data": [bucket], **more})


def result(**fields: Any) -> dict[str, Any]:
    return {
        "object": COMPLETIONS,
        "model": "gpt-4o",
        "input_tokens": 10,
        "output_tokens": 5,
        "num_model_requests": 2,
    } | fields


def drafts(source: str | bytes, **assumed: str) -> list[Draft]:
    return [item for item in read(FORMAT, source, **assumed) if isinstance(item, Draft)]


def test_cached_tokens_are_inside_input_and_are_charged_once():
    [draft] = drafts((DATA / "openai_usage_completions.json").read_bytes())
    event = draft.event
    assert event.usage == Usage(input=3_976_000, cache_read=1_024_000, output=3_000_000)
    assert event.usage.input_tokens == 5_000_000
    assert (event.provider, event.model, event.requests, event.mode) == (
        "openai",
        "gpt-4o-mini-2024-07-18",
        10_000,
        "standard",
    )
    assert (event.app, event.key, event.endpoint) == ("proj_demo", "key_demo", "chat")
    assert event.at == datetime(2026, 3, 14, tzinfo=UTC)


def test_embeddings_are_read_and_a_page_that_has_more_is_told():
    note, draft = read(FORMAT, (DATA / "openai_usage_embeddings.json").read_bytes())
    assert isinstance(note, Note)
    assert "has_more" in note.text
    assert isinstance(draft, Draft)
    assert draft.event.usage == Usage(input=1_200_000)
    assert draft.event.endpoint == "embeddings"


def test_every_modality_has_its_own_bucket():
    counts = {
        "input_tokens": 1000, "input_uncached_tokens": 600, "input_cached_tokens": 300, "input_text_tokens": 350,
        "input_audio_tokens": 200, "input_image_tokens": 50, "input_cached_text_tokens": 200,
        "input_cached_audio_tokens": 60, "input_cached_image_tokens": 40, "input_cache_write_tokens": 100,
        "input_cache_write_12h_tokens": 30, "output_tokens": 90, "output_text_tokens": 60, "output_audio_tokens": 20,
        "output_image_tokens": 10,
    }  # fmt: skip
    [draft] = drafts(page(result(**counts)))
    assert draft.event.usage == Usage(
        input=350, input_audio=200, input_image=50, cache_read=200, cache_read_audio=60, cache_read_image=40,
        cache_write=70, cache_write_1h=30, output=60, output_audio=20, output_image=10,
    )  # fmt: skip
    assert draft.event.usage.input_tokens == 1000
    assert draft.event.usage.output_tokens == 90


def test_older_exports_hold_audio_outside_of_input_tokens():
    [draft] = drafts(
        page(result(input_tokens=100, input_cached_tokens=40, input_audio_tokens=500, output_audio_tokens=7))
    )
    assert draft.event.usage == Usage(input=60, cache_read=40, input_audio=500, output=5, output_audio=7)


@pytest.mark.parametrize(
    ("fields", "mode"),
    [({"batch": True}, "batch"), ({"service_tier": "flex"}, "flex"), ({"service_tier": "default"}, "standard"),
     ({"service_tier": None, "batch": None}, "standard"), ({"service_tier": "priority", "batch": False}, "priority")],
)  # fmt: skip
def test_the_served_tier_decides_the_mode(fields, mode):
    [draft] = drafts(page(result(**fields)))
    assert draft.event.mode == mode


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"input_cached_tokens": 11}, "wrong_usage"), ({"model": None}, "missing_value"),
        ({"input_tokens": -1}, "negative_number"), ({"object": "organization.usage.images.result"}, "unknown_kind"),
        ({"input_uncached_tokens": 10, "input_text_tokens": 9}, "wrong_usage"),
    ],
)  # fmt: skip
def test_a_result_that_cannot_be_booked_is_named(fields, code):
    assert rejected(FORMAT, page(result(), result(**fields))) == [(2, code)]


def test_a_bucket_that_still_grows_is_left_for_later():
    assert rejected(FORMAT, page(result(), end=1_900_000_000)) == [(1, "unfinished_bucket")]


def test_the_id_is_the_bucket_and_its_dimensions_and_not_the_counts():
    [one], [two], [other] = (
        drafts(page(result(**fields))) for fields in ({}, {"output_tokens": 6}, {"project_id": "other"})
    )
    assert one.source_id == two.source_id != other.source_id
    assert one.content != two.content


def test_lists_of_pages_and_json_lines_are_read_alike():
    first, second = page(result()), page(result(project_id="p"))
    for text in (f"[{first},{second}]", f"{first}\n{second}\n"):
        assert len(drafts(text)) == 2


@pytest.mark.parametrize("text", ["", "pages", "\x00"])
def test_a_document_that_is_not_json_is_refused_in_a_sentence(text):
    with pytest.raises(InputError, match="not JSON"):
        read(FORMAT, text)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '[{"data":' * 100_000, '{"data": [{"results": [{"a', '{"data"'])
def test_a_document_of_which_nothing_is_whole_is_one_row_that_is_cut_off(text):
    assert rejected(FORMAT, text) == [(1, "truncated_file")]


def test_other_pages_are_told_apart():
    assert "costs API" in sniff(Sample('{"object": "organization.costs.result"}'), Assumed()).why
    assert not sniff(Sample('{"object": "organization.usage.images.result"}'), Assumed()).fits
