"""OpenTelemetry's own SDK exports to a running gateway; what is booked is held against figures computed by hand."""

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from tests.gateway.conftest import SANDBOX, Server

from penstock.ledger.state import State
from penstock.metering.event import utc_now
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import VirtualKey

MOST = 2_000_000
GPT_4O = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.cache_read.input_tokens": 400, "gen_ai.usage.output_tokens": 200,
}  # fmt: skip
BY_HAND = Decimal(600) * Decimal("2.50") / 10**6 + 400 * Decimal("1.25") / 10**6 + 200 * Decimal(10) / 10**6
"""$2.50 for a million tokens sent, $1.25 of cached ones, $10 received."""
PROTOBUF = {"content-type": "application/x-protobuf"}


class Keyed(Server):
    """A server with one key for calls, of the team search."""

    def __init__(self, folder: Path, settings: str) -> None:
        (folder / "data").mkdir()
        state = State(folder / "data" / "state.sqlite")
        row = VirtualKey(id="", name="assistant", team="search", tags={"stage": "prod"}, created=utc_now())
        _key, secret = KeyStore(state).create(row)
        state.close()
        self.key = {"authorization": f"Bearer {secret}"}
        super().__init__(folder, settings)

    def told(self, body: bytes | dict, path: str = "/v1/traces", **headers: str) -> tuple[int, dict, bytes]:
        return self.post(path, body, self.key | {name.replace("_", "-"): value for name, value in headers.items()})

    def spent(self, by: str, **where: str) -> list[dict]:
        more = "".join(f"&{name}={value}" for name, value in where.items())
        return self.get(f"/api/spend?by={by}{more}")["rows"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Keyed(tmp_path_factory.mktemp("receiver"), f"{SANDBOX}\n[telemetry]\nmax_body = {MOST}\n")
    yield one
    one.stop()


def spans(*attributes: dict, app: str = "assistant"):
    """Finished spans, as an instrumented program makes them."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": app}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for some in attributes:
        with provider.get_tracer("test").start_as_current_span("chat", kind=SpanKind.CLIENT, attributes=some):
            pass
    provider.shutdown()
    return memory.get_finished_spans()


def of_app(server: Keyed, app: str, by: str = "app,team,key,source") -> list[dict]:
    return [row for row in server.spent(f"{by}") if row.get("app", app) == app]


def test_spans_of_the_sdk_are_booked_once_however_often_they_are_sent(server):
    sent = spans(GPT_4O, GPT_4O | {"penstock.team": "others"}, {"http.route": "/"})
    for compression in (Compression.Gzip, Compression.NoCompression, Compression.Deflate):
        url = f"{server.url}/v1/traces"
        exporter = OTLPSpanExporter(url, compression=compression, headers=server.key, timeout=60)
        assert exporter.export(sent).name == "SUCCESS"
        exporter.shutdown()
    [row] = of_app(server, "assistant")
    # The key says who pays: nobody can charge another team.
    assert (row["team"], row["source"], row["events"], row["key"] != "") == ("search", "otlp", 2, True)
    assert Decimal(row["cost"]) == 2 * BY_HAND
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (2000, 800, 400)


def test_bad_spans_are_named_and_the_rest_is_booked(server):
    uncounted = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    negative = GPT_4O | {"gen_ai.usage.output_tokens": -5}
    contradicting = GPT_4O | {"gen_ai.usage.cache_read.input_tokens": 1001}
    sent = encode_spans(spans(GPT_4O, negative, contradicting, GPT_4O, uncounted, app="bad"))
    sent.resource_spans[0].scope_spans[0].spans[3].start_time_unix_nano = 4_000_000_000 * 10**9
    status, headers, body = server.told(gzip.compress(sent.SerializeToString()), content_encoding="gzip", **TYPE)
    said = ExportTraceServiceResponse.FromString(body).partial_success
    assert (status, headers["content-type"], said.rejected_spans) == (200, "application/x-protobuf", 3)
    for part in (
        "spans rejected: 3, events booked: 1; ", "gen_ai.usage.output_tokens is -5", "2096-10-02", "1001",
        "say nothing of tokens, and are not booked: 1; ",
    ):  # fmt: skip
        assert part in said.error_message
    [row] = of_app(server, "bad")
    assert Decimal(row["cost"]) == BY_HAND


TYPE = {"content_type": "application/x-protobuf"}


@pytest.mark.parametrize(
    ("body", "headers", "answer", "sentence"),
    [
        (gzip.compress(b"x" * 900)[:-9], {"content_encoding": "gzip"} | TYPE, (400, 3), "cut off"),
        (b"no gzip", {"content_encoding": "gzip"} | TYPE, (400, 3), "cannot be unpacked"),
        (gzip.compress(b"") + b"more", {"content_encoding": "gzip"} | TYPE, (400, 3), "behind the end"),
        (b"\xff\xff garbage", TYPE, (400, 3), "not a protobuf export request of traces"),
        (b"x" * (MOST + 1), TYPE, (413, 3), "larger than 2,000,000"),
        (gzip.compress(b"\0" * 30_000_000), {"content_encoding": "gzip"} | TYPE, (413, 3), "larger than 2,000,000"),
        (b"", {"content_encoding": "br"} | TYPE, (415, 3), "use gzip, deflate or none"),
        (b"{}", {"content_type": "text/plain"}, (415, 3), "use application/x-protobuf or application/json"),
        (b"{", {}, (400, 3), "not JSON"),
        (b'{"resourceSpans": 5}', {}, (400, 3), "a list resourceSpans is expected"),
        (b"[" * 100_000, {}, (400, 3), "not JSON"),
        (b"{}", {"authorization": ""}, (401, 16), "needs a Penstock key"),
        (b"{}", {"authorization": "Bearer psk_wrong"}, (401, 16), "not known here"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() and len(value) < 40 else "",
)  # fmt: skip
def test_what_cannot_be_used_is_answered_with_a_status_that_says_why(server, body, headers, answer, sentence):
    status, lines, said = server.told(body, **headers)
    if headers.get("content_type") == TYPE["content_type"]:
        found = Status.FromString(said)
        assert lines["content-type"] == "application/x-protobuf"
    else:
        found = Status(**json.loads(said))
    assert (status, found.code) == answer
    assert sentence in found.message
    assert "retry-after" not in lines


def test_other_methods_and_empty_requests_are_answered(server):
    assert server.told(b"{}")[::2] == (200, b"{}")
    assert server.told(b"", **TYPE)[::2] == (200, b"")
    assert server.told(b'{"resourceLogs": []}', "/v1/logs")[::2] == (200, b"{}")
    record = {"attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "5"}}]}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    said = json.loads(server.told(logs, "/v1/logs")[2])["partialSuccess"]
    assert said == {"rejectedLogRecords": "0", "errorMessage": "usage in logs is not booked: send traces to /v1/traces"}


def test_spans_of_calls_that_the_gateway_metered_do_not_count_again(server):
    call = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}]}
    _status, headers, body = server.post("/v1/chat/completions", call, server.key)
    usage = json.loads(body)["usage"]
    seen = GPT_4O | {
        "gen_ai.request.model": "gpt-4.1", "gen_ai.response.model": "gpt-4.1",
        "gen_ai.usage.input_tokens": usage["prompt_tokens"], "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
    }  # fmt: skip
    assert server.told(encode_spans(spans(seen)).SerializeToString(), **TYPE)[0] == 200
    found = server.get("/api/spend?by=model")
    [row] = [row for row in found["rows"] if row["model"] == "gpt-4.1"]
    cost = Decimal(headers["x-penstock-cost"])
    assert (row["events"], Decimal(row["cost"])) == (1, cost)
    [left] = [one for one in found["left_out"] if one["source"] == "otlp"]
    assert (left["instead"], left["events"], Decimal(left["cost"])) == (["gateway"], 1, cost)


def measured(temporality: AggregationTemporality, app: str):
    """Three calls of gpt-4o-mini as a library measures them."""
    reader = InMemoryMetricReader(preferred_temporality={Histogram: temporality})
    provider = MeterProvider([reader], resource=Resource.create({"service.name": app}))
    histogram = provider.get_meter("test").create_histogram("gen_ai.client.token.usage", "{token}")
    about = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    for sent, received in ((100, 10), (200, 20), (300, 30)):
        histogram.record(sent, about | {"gen_ai.token.type": "input"})
        histogram.record(received, about | {"gen_ai.token.type": "output"})
    found = reader.get_metrics_data()
    provider.shutdown()
    return found


def test_metrics_of_an_interval_are_an_aggregate_and_cumulative_ones_are_refused(server):
    exporter = OTLPMetricExporter(
        f"{server.url}/v1/metrics", headers=server.key, compression=Compression.Gzip, timeout=60
    )
    data = measured(AggregationTemporality.DELTA, "measured")
    for _time in range(2):
        assert exporter.export(data).name == "SUCCESS"
    exporter.shutdown()
    [row] = of_app(server, "measured")
    assert (row["source"], row["events"], row["requests"]) == ("otlp_metrics", 1, 3)
    assert (row["input_tokens"], row["output_tokens"]) == (600, 60)
    assert Decimal(row["cost"]) == 600 * Decimal("0.15") / 10**6 + 60 * Decimal("0.60") / 10**6

    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    data = measured(AggregationTemporality.CUMULATIVE, "cumulative")
    status, _headers, body = server.told(encode_metrics(data).SerializeToString(), "/v1/metrics", **TYPE)
    said = ExportMetricsServiceResponse.FromString(body).partial_success
    assert (status, said.rejected_data_points) == (200, 2)
    assert "TEMPORALITY_PREFERENCE=delta" in said.error_message
    assert of_app(server, "cumulative") == []


def test_a_worker_that_tells_nobody_loads_nothing_for_it(server):
    [worker] = server.workers()
    loaded = Path(f"/proc/{worker}/maps").read_text()
    assert "google/_upb" not in loaded
    assert "duckdb" not in loaded
