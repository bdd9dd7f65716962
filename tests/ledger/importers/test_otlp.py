import json
from typing import Any

import pytest
from tests.ledger.importers.reading import DATA, read, rejected

from penstock.ledger.importers.drafts import Assumed, Draft, Note, Sample
from penstock.ledger.importers.otlp import FORMAT, sniff
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

TEXT = (DATA / "otlp_traces.json").read_text("utf-8")


def value(plain: Any) -> dict[str, Any]:
    return {"intValue": str(plain)} if isinstance(plain, int) else {"stringValue": plain}


def span(number: int = 1, **attributes: Any) -> dict[str, Any]:
    plain = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 5} | attributes
    return {
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": f"{number:016x}", "name": "chat gpt-4o",
        "startTimeUnixNano": "1773482400000000000", "endTimeUnixNano": "1773482401021000000", "status": {},
        "attributes": [{"key": key, "value": value(plain)} for key, plain in plain.items() if plain is not None],
    }  # fmt: skip


def document(*spans: dict[str, Any]) -> str:
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": list(spans)}]}]})


def events(source: str) -> list[UsageEvent]:
    return [item.event for item in read(FORMAT, source) if isinstance(item, Draft)]


def test_new_and_old_names_of_attributes_are_one_convention():
    new, old = events(TEXT)
    assert new.usage == Usage(input=476, cache_read=24, output=300)
    assert old.usage == Usage(input=500, output=300)
    for event in (new, old):
        assert (event.provider, event.app, event.duration_us) == ("azure", "support-bot", 1_021_000)
        assert event.tags == {"environment": "prod"}
    assert (new.model, new.requested_model, new.run, new.finish_reason) == (
        "gpt-4o-mini-2024-07-18", "gpt-4o-mini", "s1", "stop",
    )  # fmt: skip


def test_a_line_of_the_collector_is_a_document_of_its_own():
    lines = f"{document(span(1))}\n{document(span(2))}\n"
    assert len(events(lines)) == 2
    assert {draft.source_id[-1] for draft in read(FORMAT, lines) if isinstance(draft, Draft)} == {"1", "2"}


def test_openinference_s_names_are_understood():
    said = {
        "gen_ai.system": None, "gen_ai.request.model": None, "gen_ai.usage.input_tokens": None, "llm.system": "openai",
        "llm.model_name": "gpt-4o", "llm.token_count.prompt": 10, "llm.token_count.completion": 4,
        "llm.token_count.prompt_details.cache_read": 3, "openinference.span.kind": "LLM",
    }  # fmt: skip
    assert events(document(span(**said)))[0].usage == Usage(input=7, cache_read=3, output=4)


def test_spans_of_agents_and_tools_repeat_what_their_calls_used_and_are_passed_over():
    agent = span(1, **{"gen_ai.operation.name": "invoke_agent"})
    items = read(FORMAT, document(agent, span(2, **{"gen_ai.operation.name": "chat"}), {"name": "GET /"}))
    assert len([item for item in items if isinstance(item, Draft)]) == 1
    [note] = [item.text for item in items if isinstance(item, Note)]
    assert note == "spans that are no calls to a model: 1 invoke_agent, 1 others"


def test_a_failure_keeps_its_type():
    [event] = events(document(span(**{"error.type": "rate_limited", "http.response.status_code": 429})))
    assert (event.outcome, event.error, event.status) == ("error", "rate_limited", 429)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"gen_ai.usage.cache_read.input_tokens": 6}, "wrong_usage"), ({"gen_ai.request.model": None}, "missing_value"),
        ({"gen_ai.usage.input_tokens": "many"}, "not_a_number"),
    ],
)  # fmt: skip
def test_a_span_that_cannot_be_booked_is_named(attributes, code):
    assert rejected(FORMAT, document(span(), span(2, **attributes))) == [(1, code)]


def test_metrics_are_told_apart_because_they_count_the_calls_again():
    assert "metrics" in sniff(Sample('{"resourceMetrics": []}'), Assumed()).why
    assert sniff(Sample(TEXT), Assumed()).fits
