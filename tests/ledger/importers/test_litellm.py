import json
from decimal import Decimal
from typing import Any

import pytest
from tests.ledger.importers.reading import DATA, read, rejected

from penstock.ledger.importers.drafts import Assumed, Draft, Sample
from penstock.ledger.importers.litellm import FORMAT, sniff
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage


def row(**fields: Any) -> str:
    plain = {
        "request_id": "x", "call_type": "acompletion", "spend": 0.1, "prompt_tokens": 10, "completion_tokens": 5,
        "startTime": "2026-03-14T10:00:00Z", "model": "azure/gpt-4o", "custom_llm_provider": "azure",
    }  # fmt: skip
    return json.dumps(plain | fields) + "\n"


def only(**fields: Any) -> UsageEvent:
    [draft] = read(FORMAT, row(**fields))
    assert isinstance(draft, Draft), draft
    return draft.event


def demo() -> list[UsageEvent]:
    items = read(FORMAT, (DATA / "litellm_spend_logs.jsonl").read_bytes())
    assert all(isinstance(item, Draft) for item in items)
    return [item.event for item in items if isinstance(item, Draft)]


def test_a_call_is_read_with_its_spend_as_the_provider_s_cost():
    event = demo()[0]
    assert event.usage == Usage(input=500, output=300)
    assert event.provider_cost == Decimal("0.000255")
    assert (event.provider, event.model, event.team, event.app, event.user, event.run) == (
        "azure", "gpt-4o-mini", "support", "support-bot", "cust-42", "s1",
    )  # fmt: skip
    assert (event.duration_us, event.first_token_us, event.endpoint) == (1_021_000, 350_000, "chat")
    assert event.tags == {"team": "support"}


def test_a_failure_used_nothing_and_says_why():
    event = demo()[1]
    assert (event.outcome, event.status, event.error, event.usage_source) == ("error", 429, "rate_limited", "none")
    assert not event.usage.units()


def test_cached_tokens_stand_only_in_the_usage_object_which_may_be_text():
    event = demo()[2]
    assert event.usage == Usage(input=976, cache_read=1024, output=300, reasoning=120)
    assert (event.deployment_type, event.region) == ("data_zone", "eu")
    assert event.tags == {"product": "bot", "beta": "true"}


def test_a_hit_in_its_own_cache_reached_no_provider():
    event = demo()[3]
    assert (event.usage, event.usage_source) == (Usage(), "none")
    assert "LiteLLM's cache" in event.decision


def test_anthropic_s_cache_tokens_are_inside_prompt_tokens_here_and_keys_stay_out():
    event = demo()[4]
    assert event.usage == Usage(input=1500, cache_read=1000, cache_write=500, output=100)
    assert (event.provider, event.model, event.endpoint) == ("anthropic", "claude-sonnet-4-5-20250929", "messages")
    assert event.key == ""


@pytest.mark.parametrize(
    ("model", "named", "served"),
    [
        ("azure/gpt-4o", "azure", ("azure", "gpt-4o", "global", "")),
        ("azure/us/gpt-4o", "azure", ("azure", "gpt-4o", "data_zone", "us")),
        ("azure/global/gpt-4o", "azure", ("azure", "gpt-4o", "global", "")),
        ("gpt-4o", "openai", ("openai", "gpt-4o", "global", "")),
        ("openai/gpt-4o", "", ("openai", "gpt-4o", "global", "")),
        ("gemini/gemini-2.5-pro", "gemini", ("google", "gemini-2.5-pro", "global", "")),
        ("meta-llama/Llama-3-70b", "together_ai", ("together", "meta-llama/Llama-3-70b", "global", "")),
    ],
)
def test_provider_model_and_zone_are_taken_from_litellm_s_names(model, named, served):
    event = only(model=model, custom_llm_provider=named)
    assert (event.provider, event.model, event.deployment_type, event.region) == served


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "", "model_group": ""}, "missing_value"), ({"startTime": None}, "missing_value"),
        ({"prompt_tokens": -1}, "negative_number"), ({"spend": "cheap"}, "not_a_number"),
        ({"metadata": {"usage_object": {"prompt_tokens_details": {"cached_tokens": 11}}}}, "wrong_usage"),
        ({"startTime": "2099-01-01T00:00:00Z"}, "future_date"), ({"metadata": "{broken"}, "not_json"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_and_its_neighbours_are_read(fields, code):
    assert rejected(FORMAT, row() + row(**fields) + row(request_id="y")) == [(2, code)]


@pytest.mark.parametrize("text", ["{", "[1]", "5", '"text"', "[" * 100_000, "{}", '{"model": {"a": 1}}', "\x00"])
def test_no_json_whatever_its_shape_is_a_traceback(text):
    assert [line for line, _code in rejected(FORMAT, f"{text}\n")] == [1]


def test_strange_types_in_optional_fields_are_borne():
    event = only(metadata=5, request_tags="not json", session_id=7, team_id=["a"], cache_hit=None)
    assert (event.run, event.tags) == ("7", {})


def test_spend_is_kept_as_it_is_written():
    assert only(spend=1.275e-05).provider_cost == Decimal("0.00001275")


def test_an_array_is_read_as_its_objects_are():
    text = f"[{row().strip()},\n{row(request_id='y').strip()}]"
    assert [item.source_id for item in read(FORMAT, text) if isinstance(item, Draft)] == ["x", "y"]
    assert sniff(Sample(text), Assumed()).fits
    assert sniff(Sample(row()), Assumed()).fits
