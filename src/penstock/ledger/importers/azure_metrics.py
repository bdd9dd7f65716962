"""Azure Monitor's metrics of an Azure OpenAI resource: answers of its REST API or of `az monitor metrics list`.

Convention: counts a bucket of time and a combination of dimensions. `ProcessedPromptTokens` holds cached tokens; how
many is only known as a rate, so everything sent is priced as uncached. The newer family (`InputTokens`, `OutputTokens`,
`ModelRequests`) counts the same traffic again: where both are there, only the older one is read.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import documents, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, mapping, whole
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

FAMILIES = (
    {"ProcessedPromptTokens": "input", "GeneratedTokens": "output", "AzureOpenAIRequests": "requests"},
    {"InputTokens": "input", "OutputTokens": "output", "ModelRequests": "requests"},
)
"""Each counts all traffic."""
INTERVALS = {
    "PT1M": 1, "PT5M": 5, "PT15M": 15, "PT30M": 30, "PT1H": 60, "PT6H": 360, "PT12H": 720, "P1D": 1440, "PT24H": 1440,
}  # fmt: skip
"""Minutes."""
SPLIT = ("modeldeploymentname", "modelname", "modelversion", "region")
"""Dimensions that become fields of an event; over all others the counts are added."""

Place = tuple[str, ...]
"""Resource, interval, instant, and the dimensions of `SPLIT`."""


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise time series of metrics."""
    return recognise(sample, "Azure Monitor's metrics", '"timeseries"', '"timeStamp"', '"metadatavalues"')


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event a bucket of time, deployment and model."""
    answers = documents(stream)
    counts, left = _counts(answers.found)
    used = next((family for family in FAMILIES if any(name in family for name, *_ in counts)), FAMILIES[0])
    places: dict[Place, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for (metric, place, _rest), value in counts.items():
        if metric in used:
            places[place][metric].append(value)
        else:
            left.add(metric)
    number = 0
    for number, (place, values) in enumerate(places.items(), 1):
        # A bucket is booked with all its counts or not at all: its id is taken then.
        try:
            answers.refuse_garbled(place)
            sums = {used[metric]: sum(whole(one, metric) for one in some) for metric, some in values.items()}
            if any(sums.values()):
                yield _draft(place, sums, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(number, error, json.dumps([place, values], default=str))
    yield from answers.rejected_after(number)
    if left:
        yield Note(f"metrics not read: {', '.join(sorted(left))}")
    if places:
        yield Note("metrics say nothing about who called, and cached tokens only as a rate: priced as uncached")


def _counts(found: list[Any]) -> tuple[dict[tuple[str, Place, str], Any], set[str]]:
    """Gather each value once, however often two answers repeat it."""
    counts: dict[tuple[str, Place, str], Any] = {}
    left: set[str] = set()
    for answer in map(mapping, found):
        interval = label(answer.get("interval"))
        for metric in map(mapping, answer.get("value") or ()):
            name = label(mapping(metric.get("name")).get("value"))
            if not any(name in family for family in FAMILIES):
                left.add(name)
                continue
            resource = label(metric.get("id")).lower().partition("/providers/microsoft.insights")[0]
            for series in map(mapping, metric.get("timeseries") or ()):
                dimensions = {
                    label(mapping(one.get("name")).get("value")).lower(): label(one.get("value"))
                    for one in map(mapping, series.get("metadatavalues") or ())
                }
                rest = str(sorted((one, value) for one, value in dimensions.items() if one not in SPLIT))
                for point in map(mapping, series.get("data") or ()):
                    if point.get("total") is not None:
                        at = label(point.get("timeStamp"))
                        place = (resource, interval, at, *(dimensions.get(one, "") for one in SPLIT))
                        counts[name, place, rest] = point["total"]
    return counts, left - {""}


def _draft(place: Place, sums: dict[str, int], assumed: Assumed, now: datetime) -> Draft:
    resource, interval, stamp, deployment, model, version, region = place
    at = instant(stamp, "timeStamp", now)
    if interval not in INTERVALS:
        raise RowError("missing_value", f"interval is {interval or 'empty'}: export with one of {', '.join(INTERVALS)}")
    if at + timedelta(minutes=INTERVALS[interval]) > now:
        raise RowError("unfinished_bucket", "the bucket is not over and its counts still grow: export it again later")
    if not (model or assumed.model):
        raise RowError("missing_value", "no dimension ModelName: export split by ModelDeploymentName and ModelName")
    event = UsageEvent(
        id="", request_id="", at=at, recorded_at=now, price_state="unpriced", provider=assumed.provider or "azure",
        model=model or assumed.model, version=version, deployment=deployment,
        deployment_type=assumed.deployment_type or "global", region=region or assumed.region,
        mode=assumed.mode or "standard", requests=sums.get("requests", 0),
        usage=Usage(input=sums.get("input", 0), output=sums.get("output", 0)),
        team=assumed.team, app=assumed.app or resource.rpartition("/")[2],
    )  # fmt: skip
    own = "\x1f".join(place)
    return Draft(event, f"{own}\x1f{event.usage.input}\x1f{event.usage.output}\x1f{event.requests}", own)


FORMAT = Format("azure_metrics", "Azure Monitor's metrics of Azure OpenAI", sniff, read, kind="aggregate")
