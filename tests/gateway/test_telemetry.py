"""The gateway tells a collector of its calls; what it tells is held against the ledger."""

import time
from contextlib import ExitStack
from decimal import Decimal

import openai
import pytest
from tests.gateway.collector import Collector, plain
from tests.gateway.conftest import SANDBOX, Server

TELEMETRY = """
[telemetry]
otlp_endpoint = "{url}"
batch_seconds = 0.2
metrics_seconds = 0.2
"""
ROUTES = """
[[deployments]]
name = "sweden"
provider = "sandbox-azure"
model = "gpt-4o"
deployment_type = "data_zone"
[[routes]]
model = "best"
deployments = ["sweden"]
retries = 1
"""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HELLO = [{"role": "user", "content": "Say hello, please."}]


BUDGET = """
[[budgets]]
scope = "team=poor"
dollars = "0.000001"
per = "month"
"""


@pytest.fixture(scope="module")
def collector():
    one = Collector()
    yield one
    one.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, collector):
    """A server that tells the collector."""
    settings = SANDBOX + BUDGET + TELEMETRY.format(url=collector.url)
    one = Server(tmp_path_factory.mktemp("telling"), settings)
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def forget(collector):
    collector.spans.clear()


@pytest.fixture
def client():
    """Makes clients, and closes them."""
    with ExitStack() as opened:

        def made(server: Server, **headers: str) -> openai.OpenAI:
            url = f"{server.url}/v1"
            return opened.enter_context(
                openai.OpenAI(base_url=url, api_key="sk-none", max_retries=0, default_headers=headers)
            )

        yield made


def rows(server: Server, by: str) -> list[dict]:
    return server.get(f"/api/spend?by={by}")["rows"]


def test_a_call_becomes_a_span_with_its_attempts_below_in_the_callers_trace(server, collector, client):
    caller = client(
        server, traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1", **{"x-penstock-team": "search"}
    )
    said = caller.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    collector.until(lambda: len(collector.spans) >= 2)
    request, attempt = sorted(collector.spans, key=lambda span: span.kind)
    about, usage = plain(request.attributes), plain(attempt.attributes)
    reply = said.parse().usage
    assert request.trace_id.hex() == attempt.trace_id.hex() == TRACE
    assert (request.parent_span_id.hex(), attempt.parent_span_id) == (PARENT, request.span_id)
    assert (request.trace_state, request.name, attempt.name) == ("vendor=1", "POST /v1/chat/completions", "chat gpt-4o")
    assert (usage["gen_ai.usage.input_tokens"], usage["gen_ai.usage.output_tokens"]) == (
        reply.prompt_tokens, reply.completion_tokens,
    )  # fmt: skip
    assert not any(name.startswith("gen_ai.usage") for name in about)
    assert (usage["gen_ai.provider.name"], usage["gen_ai.operation.name"]) == ("openai", "chat")
    assert usage["penstock.team"] == about["penstock.team"] == "search"
    assert about["penstock.request_id"] == said.headers["x-penstock-request-id"]
    assert Decimal(repr(about["penstock.cost"])) == Decimal(said.headers["x-penstock-cost"])
    assert about["penstock.decision"] == said.headers["x-penstock-decision"]
    assert request.end_time_unix_nano >= attempt.end_time_unix_nano >= attempt.start_time_unix_nano
    assert "Say hello" not in str(collector.spans)


def test_what_the_caller_does_not_sample_is_not_told(server, collector, client):
    client(server, traceparent=f"00-{TRACE}-{PARENT}-00").chat.completions.create(model="gpt-4o", messages=HELLO)
    said = client(server, traceparent="garbage").chat.completions.with_raw_response.create(
        model="gpt-4o", messages=HELLO
    )
    collector.until(lambda: len(collector.spans) >= 2)
    # What is no traceparent counts as none: the trace is then the request's own.
    assert {span.trace_id.hex() for span in collector.spans} == {said.headers["x-penstock-request-id"]}


def test_a_refused_call_is_a_failed_span_without_attempts(server, collector, client):
    with pytest.raises(openai.APIStatusError):
        client(server, **{"x-penstock-team": "poor"}).chat.completions.create(model="gpt-4o", messages=HELLO)
    collector.until(lambda: len(collector.spans) >= 1)
    [span] = collector.spans
    assert (plain(span.attributes)["error.type"], span.status.code) == ("budget_exceeded", 2)


def test_metrics_hold_what_the_ledger_holds(server, collector, client):
    caller = client(server, **{"x-penstock-team": "metrics"})
    for _piece in caller.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True):
        pass
    with pytest.raises(openai.RateLimitError):
        caller.chat.completions.create(
            model="gpt-4o-mini", messages=HELLO, extra_headers={"x-sandbox": "error=429;retry_after=20"}
        )
    # A caller has its answer before the ledger's readers see the event.
    collector.until(lambda: sum(row["events"] for row in rows(server, "team") if row["team"] == "metrics") == 2)
    [gpt] = [row for row in rows(server, "model") if row["model"] == "gpt-4o"]
    collector.until(lambda: counted(collector, "gen_ai.client.operation.duration") == gpt["events"] + 1)
    tokens = {
        plain(point.attributes)["gen_ai.token.type"]: (point.count, point.sum, sum(point.bucket_counts))
        for point in collector.metrics["gen_ai.client.token.usage"].histogram.data_points
    }
    calls = gpt["events"]
    assert tokens == {"input": (calls, gpt["input_tokens"], calls), "output": (calls, gpt["output_tokens"], calls)}
    costs = {
        plain(point.attributes).get("penstock.team"): Decimal(repr(point.as_double))
        for point in collector.metrics["penstock.cost"].sum.data_points
    }
    in_ledger = {row["team"] or None: Decimal(row["cost"]) for row in rows(server, "team")}
    assert costs == {team: cost for team, cost in in_ledger.items() if cost}
    errors = {
        plain(point.attributes).get("error.type")
        for point in collector.metrics["gen_ai.client.operation.duration"].histogram.data_points
    }
    assert errors == {None, "rate_limit_exceeded"}
    assert collector.metrics["penstock.telemetry.dropped"].sum.data_points[0].as_double == 0


def counted(collector: Collector, name: str) -> int:
    metric = collector.metrics.get(name)
    return sum(point.count for point in metric.histogram.data_points) if metric else 0


def test_another_penstock_gets_the_same_figures_to_the_last_digit(start, client):
    there = start()
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "x-penstock-feature=told%20over%20there"}
    here = start(SANDBOX + ROUTES + TELEMETRY.format(url=there.url), environment=headers)
    caller = client(here, **{"x-penstock-team": "search", "x-penstock-app": "finder"})
    for model in ("gpt-4o", "gpt-4o-mini", "sweden", "gpt-5-mini"):
        caller.chat.completions.create(model=model, messages=HELLO)
    for _piece in caller.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True):
        pass
    caller.embeddings.create(model="text-embedding-3-small", input="Penstock")
    caller.responses.create(model="gpt-4o", input="Say hello, please.")
    long = [{"type": "text", "text": "A long text. " * 1500, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    payer = {"x-penstock-team": "search", "x-penstock-app": "finder"}
    claude = {"model": "claude-sonnet-4-5", "max_tokens": 20, "system": long, "messages": HELLO}
    for _time in range(2):  # written to the cache for an hour, then read from it
        assert here.post("/v1/messages", claude, {"anthropic-version": "2023-06-01", **payer})[0] == 200
    fails_once = {"x-sandbox": "error=503;times=1;id=a", **payer}
    assert here.post("/v1/chat/completions", {"model": "best", "messages": HELLO}, fails_once)[0] == 200
    deadline = time.monotonic() + 60
    while (told := figures(there)) != figures(here):
        assert time.monotonic() < deadline, (told, figures(here))
        time.sleep(0.2)
    assert len(told) == 6
    assert rows(there, "source")[0]["source"] == "otlp"
    assert {row["feature"] for row in rows(there, "feature")} == {"told over there"}
    assert {row["deployment_type"] for row in rows(there, "deployment_type")} == {"global", "data_zone"}


def figures(server: Server) -> list[tuple]:
    """What was used and what it cost; attempts that used nothing are in the ledger alone."""
    names = ("provider", "model", "team", "app", "input_tokens", "cached_tokens", "output_tokens", "cost")
    return [tuple(row[name] for name in names) for row in rows(server, "provider,model,team,app")]
