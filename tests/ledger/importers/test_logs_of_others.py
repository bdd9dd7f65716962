"""Logs of one request a row: what each tool counts as input, and where it keeps who called."""

import json
from typing import Any

import pytest
from tests.ledger.importers.reading import DATA, read, rejected

from penstock.ledger.importers import apim_llm, azure_diagnostics, bedrock, helicone, langfuse
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Note, Sample
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

FILES = {
    "langfuse_observations.jsonl": langfuse.FORMAT, "helicone_requests.jsonl": helicone.FORMAT,
    "bedrock_invocations.jsonl": bedrock.FORMAT, "apim_llm_log.jsonl": apim_llm.FORMAT,
}  # fmt: skip
DIAGNOSTICS = DATA / "azure_diagnostics.jsonl"


def events(format_: Format, source: Any, **assumed: str) -> list[UsageEvent]:
    if not isinstance(source, str | bytes):
        source = json.dumps(source)
    return [item.event for item in read(format_, source, **assumed) if isinstance(item, Draft)]


def sample(name: str) -> dict[str, Any]:
    return dict(json.loads((DATA / name).read_text("utf-8").splitlines()[0]))


@pytest.mark.parametrize(("name", "format_"), FILES.items())
def test_lines_an_array_and_a_page_of_an_api_are_read_alike(name, format_):
    text = (DATA / name).read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    inside = {"langfuse": "data", "helicone": "data", "bedrock": "records", "apim_llm": "value"}[format_.name]
    expected = events(format_, text)
    assert expected
    assert events(format_, json.dumps(rows, indent=1)) == events(format_, {inside: rows}) == expected


@pytest.mark.parametrize(("name", "format_"), FILES.items())
def test_its_own_sample_is_recognised_and_a_broken_line_is_named(name, format_):
    text = (DATA / name).read_text("utf-8")
    assert format_.sniff(Sample(text), Assumed()).fits
    line = text.splitlines()[0]
    assert (2, "not_json") in rejected(format_, f"{line}\n{{broken\n{line}\n")


def test_langfuse_s_parts_are_disjoint_and_spans_used_no_model():
    items = read(langfuse.FORMAT, (DATA / "langfuse_observations.jsonl").read_bytes())
    [event] = [item.event for item in items if isinstance(item, Draft)]
    assert event.usage == Usage(input=476, cache_read=24, output=300)
    assert (event.provider, event.user, event.run, event.first_token_us) == ("openai", "cust-42", "s1", 350_000)
    notes = [item.text for item in items if isinstance(item, Note)]
    assert "observations that used no model: 1 SPAN" in notes
    assert any("--provider" in note for note in notes)


def test_langfuse_s_output_is_without_reasoning_and_ours_with_it():
    row = sample("langfuse_observations.jsonl") | {
        "usageDetails": {"input": 10, "output": 20, "output_reasoning_tokens": 30, "total": 60}
    }
    assert events(langfuse.FORMAT, row)[0].usage == Usage(input=10, output=50, reasoning=30)
    row["usageDetails"]["total"] = 61
    assert rejected(langfuse.FORMAT, json.dumps(row)) == [(1, "wrong_usage")]


def test_langfuse_s_csv_may_hold_prompts_of_several_lines():
    text = (
        "id,trace_id,type,start_time,provided_model_name,input,usage_details\n"
        'a,t,GENERATION,2026-03-14T10:00:00Z,gpt-4o,"one\ntwo, ""three""","{""input"": 5, ""output"": 6}"\n'
    )
    assert langfuse.FORMAT.sniff(Sample(text), Assumed()).fits
    assert [event.usage for event in events(langfuse.FORMAT, text)] == [Usage(input=5, output=6)]


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ((100, 40, 10, 50, 150), Usage(input=50, cache_read=40, cache_write=10, output=50)),
        ((100, 40, 10, 50, 200), Usage(input=100, cache_read=40, cache_write=10, output=50)),
    ],
)
def test_helicone_s_total_says_whether_cached_tokens_are_inside(counts, usage):
    names = (
        "prompt_tokens",
        "prompt_cache_read_tokens",
        "prompt_cache_write_tokens",
        "completion_tokens",
        "total_tokens",
    )
    row = sample("helicone_requests.jsonl") | dict(zip(names, counts, strict=True))
    assert events(helicone.FORMAT, row)[0].usage == usage
    assert rejected(helicone.FORMAT, json.dumps(row | {"total_tokens": 7})) == [(1, "wrong_usage")]


def test_a_hit_in_helicone_s_cache_used_nothing():
    row = sample("helicone_requests.jsonl") | {"cache_reference_id": "7ee514f3-0000-4000-8000-000000000000"}
    [event] = events(helicone.FORMAT, row)
    assert (event.usage, event.usage_source, event.provider) == (Usage(), "none", "azure")
    assert "cache" in event.decision


def test_bedrock_s_input_is_without_the_cache_and_its_caller_is_an_arn():
    [event] = events(bedrock.FORMAT, (DATA / "bedrock_invocations.jsonl").read_bytes())
    assert event.usage == Usage(input=500, cache_read=400, output=300)
    assert (event.provider, event.region, event.team) == ("aws", "us-east-1", "support")
    assert event.user.endswith("support-bot")
    profile = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    [named] = events(bedrock.FORMAT, sample("bedrock_invocations.jsonl") | {"modelId": profile})
    assert named.model == event.model
    [failed] = events(bedrock.FORMAT, sample("bedrock_invocations.jsonl") | {"errorCode": "ThrottlingException"})
    assert (failed.outcome, failed.status, failed.error) == ("error", 429, "rate_limited")


def test_a_call_through_api_management_is_the_row_that_has_its_tokens():
    items = read(apim_llm.FORMAT, (DATA / "apim_llm_log.jsonl").read_bytes())
    [event] = [item.event for item in items if isinstance(item, Draft)]
    assert (event.usage, event.model, event.deployment) == (
        Usage(input=500, output=300), "gpt-4o-mini-2024-07-18", "gpt-4o-mini-prod",
    )  # fmt: skip
    assert next(item.text for item in items if isinstance(item, Note)).startswith("2 rows are further pieces")


def test_the_pieces_of_a_streamed_call_are_one_call_in_any_order():
    first = sample("apim_llm_log.jsonl") | {"IsStreamCompletion": True, "ApimSubscriptionId": "team-support"}
    pieces = [first | {"SequenceNumber": n, "PromptTokens": 0, "CompletionTokens": 0, "TotalTokens": 0} for n in (2, 1)]
    [event] = events(apim_llm.FORMAT, [*pieces, first])
    assert (event.stream, event.key, event.usage.output) == (True, "team-support", 300)
    nothing = first | {"PromptTokens": 0, "CompletionTokens": 0, "TotalTokens": 0}
    assert rejected(apim_llm.FORMAT, json.dumps(nothing)) == [(1, "no_tokens")]


def test_request_response_logs_say_plainly_that_they_hold_no_tokens():
    items = read(azure_diagnostics.FORMAT, DIAGNOSTICS.read_bytes())
    assert rejected(azure_diagnostics.FORMAT, DIAGNOSTICS.read_bytes()) == [(n, "no_tokens") for n in (1, 2, 3)]
    assert all(item.event.usage == Usage(input=500, output=300) for item in items if isinstance(item, Draft))
    assert len([item for item in items if isinstance(item, Draft)]) == 2
    assert rejected(azure_diagnostics.FORMAT, (DATA / "azure_diagnostics.csv").read_bytes()) == [(2, "no_tokens")]


def test_diagnostics_of_a_storage_account_are_records_in_a_document():
    rows = [json.loads(line) for line in DIAGNOSTICS.read_text("utf-8").splitlines()]
    assert events(azure_diagnostics.FORMAT, {"records": rows}) == events(
        azure_diagnostics.FORMAT, DIAGNOSTICS.read_bytes()
    )
    for fields, code in ({"category": "Audit"}, "unknown_kind"), ({"properties": "{"}, "not_json"):
        assert rejected(azure_diagnostics.FORMAT, json.dumps(rows[3] | fields)) == [(1, code)]
