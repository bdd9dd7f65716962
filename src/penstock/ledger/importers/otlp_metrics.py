"""OpenTelemetry's histogram `gen_ai.client.token.usage`, as OTLP/JSON: what each model used in an interval.

Convention: a measurement a call and kind of token, so `count` is the number of calls and `sum` their tokens. Which
tokens were cached is not in it: everything sent is priced as uncached. Only points of delta temporality are booked, one
event an interval: a cumulative point counts everything since the process began, again and again.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import NOT_UTF8, is_garbled, json_rows, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, decimal, deployment_type, label, mapping, whole
from penstock.ledger.importers.otlp import CALLS, attributes, instant_of, objects, provider_and_model
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

TOKENS = "gen_ai.client.token.usage"
KINDS = {"input": "input", "output": "output", "completion": "output"}
"""Value of `gen_ai.token.type` -> bucket; `completion` is what early libraries wrote."""
DELTA = (1, "1", "AGGREGATION_TEMPORALITY_DELTA")

CUMULATIVE = (
    "it counts everything since the process began, and would be counted again with each export: "
    "set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta, or send traces, which say more"
)


@dataclass
class Interval:
    """The points of one set of attributes that were collected at one instant: one of each kind of tokens, as a rule.

    Where they begin may differ a little: with the first measurement of each.
    """

    said: dict[str, Any]
    about: dict[str, Any]
    end: str
    points: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Bucket and point."""

    @property
    def own(self) -> str:
        """What is the same when the interval is sent again."""
        said, about = (json.dumps(one, sort_keys=True, default=str) for one in (self.said, self.about))
        return f"{about}\x1f{said}\x1f{self.end}"


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise the histogram by its name."""
    return recognise(sample, "OpenTelemetry's metrics of GenAI", '"resourceMetrics"', TOKENS)


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event of each interval, model and set of attributes."""
    is_booked = False
    for row in json_rows(stream, by_row=False):
        if isinstance(row, Rejected):
            yield row
        else:
            for item in _points(row.number, row.fields, assumed, now, is_utf8=row.is_utf8):
                is_booked = is_booked or isinstance(item, Draft)
                yield item
    if is_booked:
        yield Note("metrics do not say which tokens were cached: priced as uncached")


def drafts_of(document: dict[str, Any], assumed: Assumed, now: datetime) -> list[Draft | Rejected]:
    """Read one export request, as a receiver gets it; each data point that is not booked is one `Rejected`."""
    return list(_points(1, document, assumed, now))


def _points(
    number: int, document: dict[str, Any], assumed: Assumed, now: datetime, *, is_utf8: bool = True
) -> Iterator[Draft | Rejected]:
    intervals: dict[str, Interval] = {}
    for about, temporality, point in _found(document):
        said = attributes(point)
        kind = label(said.pop("gen_ai.token.type", ""))
        if temporality not in DELTA:
            yield Rejected(number, "cumulative", CUMULATIVE)
        elif kind not in KINDS:
            yield Rejected(number, "unknown_kind", f"gen_ai.token.type is {kind or 'empty'}: input or output is known")
        else:
            here = Interval(said, about, label(point.get("timeUnixNano")))
            intervals.setdefault(here.own, here).points.append((KINDS[kind], point))
    for interval in intervals.values():
        try:
            if not is_utf8 and is_garbled((interval.said, interval.about)):
                raise RowError("wrong_encoding", NOT_UTF8)
            yield _draft(interval, assumed, now)
        except (RowError, UsageError) as error:
            for _kind, point in interval.points:
                yield refused(number, error, json.dumps(point, default=str))


def _found(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any, dict[str, Any]]]:
    """Yield the resource's attributes, the temporality and the point, for each point of the histogram."""
    for resource in objects(document, "resourceMetrics"):
        about = attributes(mapping(resource.get("resource")))
        for scope in objects(resource, "scopeMetrics"):
            for metric in objects(scope, "metrics"):
                if metric.get("name") == TOKENS:
                    data = mapping(metric.get("histogram") or metric.get("exponentialHistogram"))
                    for point in objects(data, "dataPoints"):
                        yield about, data.get("aggregationTemporality"), point


def _draft(interval: Interval, assumed: Assumed, now: datetime) -> Draft:
    said, about = interval.said, interval.about
    provider, model = provider_and_model(said, assumed)
    at = min(instant_of(point, "startTimeUnixNano", now) for _kind, point in interval.points)
    instant_of({"timeUnixNano": interval.end}, "timeUnixNano", now)
    tokens = {"input": 0, "output": 0}
    for kind, point in interval.points:
        if point.get("sum") is None:
            raise RowError("missing_value", f"the point of {kind} tokens has no sum")
        tokens[kind] += whole(decimal(point["sum"], "sum"), "sum")

    def ours(name: str) -> str:
        return label(said.get(f"penstock.{name}") or about.get(f"penstock.{name}"))

    event = UsageEvent(
        id="", request_id="", at=at, recorded_at=now, price_state="unpriced", provider=provider, model=model,
        requested_model=label(said.get("gen_ai.request.model")),
        region=ours("region") or label(about.get("cloud.region")) or assumed.region,
        deployment_type=deployment_type(ours("deployment_type")) or assumed.deployment_type or "global",
        mode=ours("mode") or assumed.mode or "standard",
        endpoint=CALLS.get(label(said.get("gen_ai.operation.name")), ""), usage=Usage(**tokens),
        requests=max(whole(point.get("count"), "count") for _kind, point in interval.points),
        team=ours("team") or label(about.get("team")) or assumed.team,
        app=ours("app") or label(about.get("service.name")) or assumed.app, feature=ours("feature"),
    )  # fmt: skip
    return Draft(event, json.dumps([tokens, event.requests]), interval.own)


FORMAT = Format("otlp_metrics", "OpenTelemetry's GenAI token metrics, as OTLP/JSON", sniff, read, kind="aggregate")
