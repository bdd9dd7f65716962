"""`[telemetry]`: what is taken from OpenTelemetry's exporters, and what is told to a collector."""

from msgspec import Struct


class TelemetrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both directions; nothing is sent unless `otlp_endpoint` says where to."""

    receive: bool = True
    """Take spans and metrics at `/v1/traces` and `/v1/metrics`."""
    max_body: int = 20 * 1024 * 1024
    """Bytes of one export request, unpacked."""
    max_waiting: int = 64 * 1024 * 1024
    """Bytes of export requests that may wait to be booked."""

    otlp_endpoint: str = ""
    """Base address of a collector, such as `http://localhost:4318`; `/v1/traces` and the like come behind it."""
    headers_env: str = "OTEL_EXPORTER_OTLP_HEADERS"
    """Environment variable with headers to send: `name=value,name=value`, values percent-encoded."""
    ca_file: str = ""
    """PEM file with the authorities that sign the collector's certificate; by default the system's."""
    service_name: str = "penstock"
    traces: bool = True
    metrics: bool = True
    sample: float = 1.0
    """Part of the requests that become spans, where the caller has not decided it. Metrics count all of them."""
    batch_seconds: float = 5.0
    """How often spans are sent."""
    metrics_seconds: float = 60.0
    """How often metrics are sent."""
    max_queue: int = 10_000
    """Requests of one worker that may wait to be sent; more are dropped, counted, and told."""
