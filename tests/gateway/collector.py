"""A collector for tests: takes OTLP over HTTP, and reads it with OpenTelemetry's own messages."""

import gzip
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Keeps what it gets. `answers` are statuses for the next requests; after them it says 200."""

    def __init__(self) -> None:
        self.spans, self.resources, self.metrics, self.headers = [], [], {}, []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
                status = outer.answers.pop(0) if outer.answers else 200
                outer.headers.append((self.path, dict(self.headers), status))
                if status == 200:
                    outer.take(self.path, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for held in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(plain(held.resource.attributes))
                for scope in held.scope_spans:
                    self.spans += scope.spans
        elif path == "/v1/metrics":
            for held in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in held.scope_metrics:
                    for metric in scope.metrics:
                        self.metrics[metric.name] = metric

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, (self.spans, self.metrics)
            time.sleep(0.05)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def plain(attributes) -> dict:
    """Attributes as plain values."""
    found = {}
    for pair in attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found
