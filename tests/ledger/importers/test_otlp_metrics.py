import json

import pytest
from tests.ledger.importers.reading import read, rejected

from penstock.ledger.importers.drafts import Assumed, Draft, Sample
from penstock.ledger.importers.otlp_metrics import FORMAT, sniff
from penstock.ledger.importers.precedence import rank
from penstock.pricing.usage import Usage


def point(kind: str, total: float, count: int = 3, start: int = 0, **more: object) -> dict:
    about = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.token.type": kind}
    return {
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in about.items()],
        "startTimeUnixNano": str(1773482400000000000 + start), "timeUnixNano": "1773482460000000000",
        "count": str(count), "sum": total, **more,
    }  # fmt: skip


def document(*points: dict, temporality: object = 1) -> str:
    histogram = {"aggregationTemporality": temporality, "dataPoints": list(points)}
    metrics = [{"name": "gen_ai.client.token.usage", "histogram": histogram}, {"name": "other", "gauge": {}}]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "bot"}}]}
    return json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]})


def test_both_kinds_of_tokens_of_an_interval_are_one_event():
    [draft] = [
        item
        for item in read(FORMAT, document(point("input", 600), point("output", 60.0, start=500)))
        if isinstance(item, Draft)
    ]
    event = draft.event
    assert (event.usage, event.requests, event.app) == (Usage(input=600, output=60), 3, "bot")
    assert (event.provider, event.model) == ("openai", "gpt-4o")


def test_cumulative_points_are_refused_with_what_to_do():
    for temporality in (2, 0, "AGGREGATION_TEMPORALITY_CUMULATIVE"):
        assert rejected(FORMAT, document(point("input", 5), temporality=temporality)) == [(1, "cumulative")]
    assert rejected(FORMAT, document(point("input", 5), temporality="AGGREGATION_TEMPORALITY_DELTA")) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (point("input", -1), "negative_number"), (point("input", 1.5), "not_a_number"),
        (point("cached", 5), "unknown_kind"), (point("input", 5, sum=None), "missing_value"),
        (point("input", 5, start=10**19), "future_date"),
    ],
)  # fmt: skip
def test_a_point_that_cannot_be_booked_is_named(wrong, code):
    assert rejected(FORMAT, document(wrong)) == [(1, code)]


def test_spans_of_the_same_calls_come_first():
    assert rank("gateway") < rank("otlp") < rank("otlp_metrics")
    assert sniff(Sample(document()), Assumed()).fits
