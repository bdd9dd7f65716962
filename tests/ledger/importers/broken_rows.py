"""Files of every format with rows that a test can break: each row has its own time, id and count."""

import csv
import io
import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from tests.ledger.importers.reading import DATA

from penstock.ledger.importers.drafts import Assumed

Way = tuple[str | int, ...]
MARK = "MARK"
"""Stands in the second row, to be made a byte that is not UTF-8."""
SAYS = Assumed(provider="azure", model="gpt-4o", deployment_type="global")


class Sample(NamedTuple):
    """How a format's rows are made, and where the rejects file says that one stands."""

    pack: Callable[[list[Any]], bytes]
    row: Callable[[int, datetime, int], Any]
    """Of its place, its time and its count of tokens."""
    line: Callable[[int], int] = lambda place: place + 1
    counts: bool = True
    """Whether its rows have counts of tokens."""
    is_document: bool = False
    """One JSON document, in which a row has no line."""
    whole_only: bool = False
    """Half of a document is not booked: what is missing would change what is there."""
    by_scrape: bool = False


def put(row: Any, way: Way, value: Any) -> None:
    for step in way[:-1]:
        row = row[step]
    row[way[-1]] = value


def note(place: int) -> str:
    return MARK if place == 1 else "fine"


def rows_like(row: Any, time: Way, stamp: Callable[[datetime], Any], count: Way, name: Way, *more: Any) -> Any:
    """Make rows out of one; `more` are ways and values that they all have."""

    def build(place: int, at: datetime, tokens: int) -> Any:
        made = deepcopy(row)
        for way, value in zip(more[::2], more[1::2], strict=True):
            put(made, way, deepcopy(value))
        put(made, time, stamp(at))
        if count:
            put(made, count, tokens)
        put(made, name, f"own-{note(place)}-{place}")
        return made

    return build


def line(name: str, place: int = 0) -> Any:
    return json.loads((DATA / name).read_text("utf-8").splitlines()[place])


def document(name: str) -> Any:
    return json.loads((DATA / name).read_text("utf-8"))


def as_lines(rows: list[Any]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def in_list(whole: Any, *way: str | int) -> Callable[[list[Any]], bytes]:
    def pack(rows: list[Any]) -> bytes:
        made = deepcopy(whole)
        put(made, way, rows)
        return json.dumps(made, indent=1).encode()

    return pack


def as_csv(delimiter: str = ",") -> Callable[[list[Any]], bytes]:
    def pack(rows: list[Any]) -> bytes:
        out = io.StringIO()
        writer = csv.DictWriter(out, rows[0], delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue().encode()

    return pack


def table(name: str, delimiter: str = ",") -> Any:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return next(csv.DictReader(file, delimiter=delimiter))


def as_parquet(rows: list[Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def iso(at: datetime) -> str:
    return at.isoformat()


def seconds(at: datetime) -> int:
    return int(at.timestamp())


def nanos(at: datetime) -> str:
    return f"{seconds(at)}000000000"


def metrics_row(_place: int, at: datetime, tokens: int) -> Any:
    return {"timeStamp": at.isoformat(), "total": tokens}


def metrics_file(rows: list[Any]) -> bytes:
    """Every metric has the same instants."""
    made = document("azure_metrics.json")
    for number in (0, 1, 3):
        made["value"][number]["timeseries"][0]["data"] = [
            row if number == 0 else row | {"total": 7} for row in rows
        ]  # fmt: skip
    return json.dumps(made, indent=1).encode()


def scrape(_place: int, at: datetime, tokens: int) -> str:
    """Counters only rise."""
    labels = '{engine="0",model_name="m"}'
    return (
        f"# at {at.isoformat()}\nvllm:generation_tokens_total{labels} {at.hour * 10}\n"
        f"vllm:prompt_tokens_total{labels} {tokens if tokens < 0 else at.hour * 1000}\n"
    )


def point(place: int, at: datetime, tokens: int) -> Any:
    about = {"gen_ai.provider.name": "azure", "gen_ai.request.model": "gpt-4o", "gen_ai.token.type": "input",
             "note": note(place)}  # fmt: skip
    return {
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in about.items()],
        "startTimeUnixNano": nanos(at), "timeUnixNano": nanos(datetime(2026, 3, 20, place, tzinfo=UTC)),
        "count": "1", "sum": tokens,
    }  # fmt: skip


HISTOGRAM = {"name": "gen_ai.client.token.usage", "histogram": {"aggregationTemporality": 1, "dataPoints": []}}
POINTS = {"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"metrics": [HISTOGRAM]}]}]}
HEADED: Any = lambda place: place + 2  # noqa: E731
SPANS = document("otlp_traces.json")
USAGE, COSTS = document("openai_usage_completions.json"), document("openai_costs.json")
BUCKET, CHARGES = document("anthropic_usage.json"), document("anthropic_costs.json")
FIRST_COST = COSTS["data"][0] | {"results": COSTS["data"][0]["results"][:1]}

SAMPLES = {
    "litellm": Sample(as_lines, rows_like(
        line("litellm_spend_logs.jsonl"), ("startTime",), iso, ("prompt_tokens",), ("request_id",))),
    "langfuse": Sample(as_lines, rows_like(
        line("langfuse_observations.jsonl"), ("startTime",), iso, ("usageDetails", "input"), ("id",),
        ("usageDetails", "total"), 0)),
    "helicone": Sample(as_lines, rows_like(
        line("helicone_requests.jsonl"), ("request_created_at",), iso, ("prompt_tokens",), ("request_id",),
        ("total_tokens",), 0)),
    "bedrock": Sample(as_lines, rows_like(
        line("bedrock_invocations.jsonl"), ("timestamp",), iso, ("input", "inputTokenCount"), ("requestId",))),
    "apim_llm": Sample(as_lines, rows_like(
        line("apim_llm_log.jsonl"), ("TimeGenerated",), iso, ("PromptTokens",), ("CorrelationId",),
        ("TotalTokens",), 0)),
    "azure_diagnostics": Sample(as_lines, rows_like(
        line("azure_diagnostics.jsonl", 3), ("time",), iso, ("properties", "promptTokens"), ("correlationId",),
        ("properties",), {"modelName": "gpt-4o-mini", "modelDeploymentName": "d", "completionTokens": 3})),
    "openai_usage": Sample(in_list(USAGE, "data"), rows_like(
        USAGE["data"][0], ("start_time",), seconds, ("results", 0, "input_tokens"), ("results", 0, "project_id"),
        ("results", 0, "input_text_tokens"), None, ("results", 0, "input_cached_tokens"), 0), is_document=True),
    "openai_costs": Sample(in_list(COSTS, "data"), rows_like(
        FIRST_COST, ("start_time",), seconds, ("results", 0, "quantity"), ("results", 0, "project_id")),
        is_document=True),
    "anthropic_usage": Sample(in_list(BUCKET, "data"), rows_like(
        BUCKET["data"][0], ("starting_at",), iso, ("results", 0, "uncached_input_tokens"),
        ("results", 0, "api_key_id")), is_document=True),
    "anthropic_costs": Sample(in_list(CHARGES, "data"), rows_like(
        CHARGES["data"][0], ("starting_at",), iso, (), ("results", 0, "description")),
        counts=False, is_document=True),
    "azure_metrics": Sample(metrics_file, metrics_row, is_document=True, whole_only=True),
    "otlp": Sample(in_list(SPANS, "resourceSpans", 0, "scopeSpans", 0, "spans"), rows_like(
        SPANS["resourceSpans"][0]["scopeSpans"][0]["spans"][1], ("startTimeUnixNano",), nanos,
        ("attributes", 2, "value", "intValue"), ("spanId",)), lambda _place: 1, is_document=True),
    "otlp_metrics": Sample(in_list(
        POINTS, "resourceMetrics", 0, "scopeMetrics", 0, "metrics", 0, "histogram", "dataPoints"), point,
        lambda _place: 1, is_document=True, whole_only=True),
    "vllm": Sample(lambda rows: "".join(rows).encode(), scrape, by_scrape=True),
    "traces": Sample(as_csv(), lambda _place, at, tokens: {
        "TIMESTAMP": iso(at), "ContextTokens": tokens, "GeneratedTokens": 3}, HEADED),
    "csv": Sample(as_csv(";"), rows_like(
        table("usage.csv", ";"), ("Timestamp",), iso, ("Prompt Tokens",), ("request_id",)), HEADED),
    "parquet": Sample(as_parquet, lambda place, at, tokens: {
        "at": at, "provider": "azure", "model": "gpt-4o", "input_tokens": tokens, "team": note(place)}),
    "focus": Sample(as_csv(), rows_like(
        table("focus_1_2.csv"), ("ChargePeriodStart",), iso, ("PricingQuantity",), ("ChargeDescription",)), HEADED),
    "m365_copilot": Sample(as_csv(), rows_like(
        table("m365_copilot.csv"), ("Last Activity Date",), iso, (), ("Display Name",)), HEADED, counts=False),
}  # fmt: skip
