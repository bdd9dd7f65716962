"""Requests as metrics: histograms of tokens and durations by the conventions, and what was spent."""

from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from penstock.gateway.telemetry.names import filled, model_name, operation_of, provider_name
from penstock.gateway.telemetry.spans import SCOPE
from penstock.gateway.telemetry.told import Told
from penstock.metering.event import UsageEvent

Labels = tuple[tuple[str, str], ...]

TOKEN_BOUNDS = tuple(4.0**power for power in range(14))
SECOND_BOUNDS = tuple(0.01 * 2**power for power in range(14))
"""As the conventions ask."""
MOST_SERIES = 2_000
"""Combinations of labels of a metric; clients name models and teams. What comes then is one series of its own."""
OVERFLOW: Labels = (("otel.metric.overflow", "true"),)
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


class Distribution:
    """How values were spread."""

    __slots__ = ("counts", "least", "most", "sum")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.sum, self.least, self.most = 0.0, float("inf"), float("-inf")


class Measures:
    """Everything since the worker began: cumulative, so that an export that is lost costs nothing."""

    def __init__(self, began: int) -> None:
        """`began`: nanoseconds since 1970."""
        self._began = began
        self._tokens: dict[Labels, Distribution] = {}
        self._seconds: dict[Labels, Distribution] = {}
        self._cost: dict[Labels, Decimal] = {}
        self._unpriced: dict[Labels, Decimal] = {}

    def add(self, requests: Iterable[Told]) -> None:
        """Count the attempts of these requests."""
        for told in requests:
            for event in told.events:
                self._add(event)

    def _add(self, event: UsageEvent) -> None:
        about: Labels = (
            ("gen_ai.operation.name", operation_of(event.endpoint)),
            ("gen_ai.provider.name", provider_name(event.provider)),
            ("gen_ai.request.model", event.requested_model),
            ("gen_ai.response.model", model_name(event)),
        )
        if event.usage_source != "none":
            for kind, tokens in (("input", event.usage.input_tokens), ("output", event.usage.output_tokens)):
                if tokens or kind == "input":
                    _record(self._tokens, (*about, ("gen_ai.token.type", kind)), tokens, TOKEN_BOUNDS)
        error = event.error or (str(event.status) if event.outcome == "error" else "")
        _record(self._seconds, (*about, ("error.type", error)), event.duration_us / 1e6, SECOND_BOUNDS)
        payer = (
            *about, ("penstock.team", event.team), ("penstock.app", event.app), ("penstock.feature", event.feature),
        )  # fmt: skip
        if event.cost is None:
            _count(self._unpriced, payer, Decimal(1))
        elif event.cost:
            _count(self._cost, payer, event.cost)

    def export_request(self, resource: Resource, now: int, dropped: int) -> bytes:
        """Return an export request with everything counted so far; `now`: nanoseconds since 1970."""
        metrics = [
            self._histogram("gen_ai.client.token.usage", "{token}", self._tokens, TOKEN_BOUNDS, now),
            self._histogram("gen_ai.client.operation.duration", "s", self._seconds, SECOND_BOUNDS, now),
            self._sum("penstock.cost", "USD", self._cost, now),
            self._sum("penstock.unpriced.calls", "{call}", self._unpriced, now),
            self._sum("penstock.telemetry.dropped", "{request}", {(): Decimal(dropped)}, now),
        ]
        held = ResourceMetrics(resource=resource, scope_metrics=[ScopeMetrics(scope=SCOPE, metrics=metrics)])
        data: bytes = ExportMetricsServiceRequest(resource_metrics=[held]).SerializeToString()
        return data

    def _histogram(
        self, name: str, unit: str, series: dict[Labels, Distribution], bounds: tuple[float, ...], now: int
    ) -> Metric:
        points = [
            HistogramDataPoint(
                attributes=filled(dict(labels)), start_time_unix_nano=self._began, time_unix_nano=now,
                count=sum(spread.counts), sum=spread.sum, bucket_counts=spread.counts, explicit_bounds=bounds,
                min=spread.least, max=spread.most,
            )
            for labels, spread in series.items()
        ]  # fmt: skip
        return Metric(name=name, unit=unit, histogram=Histogram(data_points=points, aggregation_temporality=CUMULATIVE))

    def _sum(self, name: str, unit: str, series: dict[Labels, Decimal], now: int) -> Metric:
        points = [
            NumberDataPoint(
                attributes=filled(dict(labels)),
                start_time_unix_nano=self._began,
                time_unix_nano=now,
                as_double=float(value),
            )
            for labels, value in series.items()
        ]
        return Metric(
            name=name, unit=unit,
            sum=Sum(data_points=points, aggregation_temporality=CUMULATIVE, is_monotonic=True),
        )  # fmt: skip


def _record(series: dict[Labels, Distribution], labels: Labels, value: float, bounds: tuple[float, ...]) -> None:
    spread = _place(series, labels, Distribution, len(bounds))
    spread.counts[bisect_left(bounds, value)] += 1
    spread.sum += value
    spread.least, spread.most = min(spread.least, value), max(spread.most, value)


def _count(series: dict[Labels, Decimal], labels: Labels, value: Decimal) -> None:
    labels = labels if labels in series or len(series) < MOST_SERIES else OVERFLOW
    series[labels] = series.get(labels, Decimal(0)) + value  # exact, as long as it is ours


def _place(series: dict[Labels, Any], labels: Labels, build: Any, *values: Any) -> Any:
    found = series.get(labels)
    if found is None:
        labels = labels if len(series) < MOST_SERIES else OVERFLOW
        found = series.get(labels)
        if found is None:
            found = series[labels] = build(*values)
    return found
