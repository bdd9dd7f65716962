"""The KQL queries, run on DuckDB over the rows of Azure's tables.

duckdb-kql translates KQL's own grammar to SQL. It knows no make-series, so `token-anomalies` is parsed only; what
Microsoft's own language service says of all of them is asked by `make kql`.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import duckdb_kql
import pytest
from duckdb_kql.errors import KqlUnsupportedError

from penstock.ledger.exporters.written import kql_queries

DATA = Path(__file__).parents[2] / "data"
NOW = datetime(2026, 3, 16, 12, tzinfo=UTC)
DOCS = (Path(__file__).parents[3] / "docs/exporting.md").read_text("utf-8")
PARSED_ONLY = "token-anomalies.kql"


@pytest.fixture
def azure():
    """Azure's tables, with the rows of the importers' samples and some more."""
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    engine.execute(
        "CREATE TABLE ApiManagementGatewayLlmLog (TimeGenerated TIMESTAMP, CorrelationId VARCHAR, SequenceNumber INT, "
        "DeploymentName VARCHAR, ModelName VARCHAR, PromptTokens INT, CompletionTokens INT, TotalTokens INT)"
    )
    rows = [json.loads(line) for line in (DATA / "apim_llm_log.jsonl").read_text().splitlines()]
    kept = ("TimeGenerated", "CorrelationId", "SequenceNumber", "DeploymentName", "ModelName", "PromptTokens",
            "CompletionTokens", "TotalTokens")  # fmt: skip
    for row in rows:
        engine.execute(
            f"INSERT INTO ApiManagementGatewayLlmLog VALUES ({', '.join('?' * len(kept))})", [row.get(n) for n in kept]
        )
    engine.execute(
        "CREATE TABLE ApiManagementGatewayLogs (TimeGenerated TIMESTAMP, CorrelationId VARCHAR, "
        "ApimSubscriptionId VARCHAR, ApiId VARCHAR)"
    )
    engine.execute(
        "INSERT INTO ApiManagementGatewayLogs SELECT DISTINCT TimeGenerated, CorrelationId, 'team-support', 'api' "
        "FROM ApiManagementGatewayLlmLog"
    )
    engine.execute(
        "CREATE TABLE AzureMetrics (TimeGenerated TIMESTAMP, ResourceProvider VARCHAR, Resource VARCHAR, "
        "MetricName VARCHAR, Total DOUBLE)"
    )
    engine.execute(
        "INSERT INTO AzureMetrics SELECT TIMESTAMP '2026-03-15 10:05', 'MICROSOFT.COGNITIVESERVICES', 'AOAI-1', * FROM "
        "(VALUES ('ProcessedPromptTokens', 700), ('GeneratedTokens', 200), ('AzureOpenAIRequests', 3), ('Latency', 9))"
    )
    engine.execute(
        "CREATE TABLE AzureDiagnostics (TimeGenerated TIMESTAMP, ResourceProvider VARCHAR, Category VARCHAR, "
        "ResultSignature VARCHAR, DurationMs DOUBLE, properties_s VARCHAR)"
    )
    said = json.dumps({"modelDeploymentName": "chat", "modelName": "gpt-4o", "streamType": "Non-Streaming"})
    for status, duration in (("200", 100.0), ("200", 300.0), ("429", 5.0), ("500", 20.0)):
        engine.execute(
            "INSERT INTO AzureDiagnostics VALUES ('2026-03-15 10:30', 'MICROSOFT.COGNITIVESERVICES', "
            "'RequestResponse', ?, ?, ?)", [status, duration, said],
        )  # fmt: skip
    yield engine
    engine.close()


def run(engine: duckdb.DuckDBPyConnection, name: str) -> list[dict]:
    tables = [row[0] for row in engine.execute("SELECT table_name FROM information_schema.tables").fetchall()]
    schema = {table: [row[0] for row in engine.execute(f"DESCRIBE {table}").fetchall()] for table in tables}
    sql = duckdb_kql.to_sql(kql_queries()[name], schema=schema, query_now=NOW)
    found = engine.sql(sql, params=sql.parameters)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def test_tokens_by_model_are_those_of_the_log(azure) -> None:
    rows = run(azure, "tokens-by-model.kql")
    said = azure.execute(
        "SELECT sum(PromptTokens), sum(CompletionTokens), count(*) FROM ApiManagementGatewayLlmLog "
        "WHERE SequenceNumber = 0"
    ).fetchone()
    assert rows
    assert tuple(sum(row[n] for row in rows) for n in ("PromptTokens", "CompletionTokens", "Requests")) == said


def test_tokens_by_caller_count_no_call_twice(azure) -> None:
    azure.execute("INSERT INTO ApiManagementGatewayLogs SELECT * FROM ApiManagementGatewayLogs")  # a log at twice
    rows = run(azure, "tokens-by-caller.kql")
    said = azure.execute("SELECT sum(TotalTokens) FROM ApiManagementGatewayLlmLog WHERE SequenceNumber = 0").fetchone()
    assert {row["ApimSubscriptionId"] for row in rows} == {"team-support"}
    assert (sum(row["TotalTokens"] for row in rows),) == said


def test_tokens_by_resource(azure) -> None:
    [row] = run(azure, "tokens-by-resource.kql")
    assert (row["Resource"], row["PromptTokens"], row["CompletionTokens"], row["Requests"]) == ("AOAI-1", 700, 200, 3)


def test_requests_by_deployment(azure) -> None:
    [row] = run(azure, "requests-by-deployment.kql")
    assert (row["Deployment"], row["Model"], row["Requests"], row["Throttled"], row["Failed"]) == (
        "chat",
        "gpt-4o",
        4,
        1,
        1,
    )
    assert 100 <= row["P95Milliseconds"] <= 300


def test_a_spike_is_held_against_the_week_before_it(azure) -> None:
    azure.execute("DELETE FROM ApiManagementGatewayLlmLog")
    for hours, tokens in [*((n, 100) for n in range(30, 150)), (3, 301), (2, 300), (1, 50)]:
        at = (NOW - timedelta(hours=hours)).replace(tzinfo=None)
        azure.execute(
            "INSERT INTO ApiManagementGatewayLlmLog VALUES (?, 'x', 0, 'chat', 'gpt-4o', 0, 0, ?)", [at, tokens]
        )
    [row] = run(azure, "token-spikes.kql")
    assert (row["HourlyTokens"], row["UsualTokens"]) == (301, 100)
    assert row["Hour"].hour == 9


def test_the_query_that_cannot_be_run_here_is_kql_all_the_same(azure) -> None:
    with pytest.raises(KqlUnsupportedError, match="MakeSeriesOperator"):  # it was parsed
        duckdb_kql.to_sql(kql_queries()[PARSED_ONLY])


def test_each_query_says_which_table_it_needs_and_is_documented() -> None:
    for name, text in kql_queries().items():
        tables = {table for table in ("ApiManagementGatewayLlmLog", "ApiManagementGatewayLogs", "AzureMetrics",
                                      "AzureDiagnostics") if table in text}  # fmt: skip
        said = next(line for line in text.splitlines() if line.startswith(("// Table: ", "// Tables: ")))
        assert tables
        assert any(table in said for table in tables)
        assert f"`{name}`" in DOCS, name
