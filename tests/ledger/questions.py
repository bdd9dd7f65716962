"""The same questions for every engine: an Ibis table in, rows out, sorted, decimals exact."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ibis import _


def spend_by_model_and_day(events: Any) -> Any:
    return (
        events.group_by(events.model, day=events["at"].truncate("D"))
        .aggregate(cost=_.cost.sum(), tokens=_.input_tokens.sum(), n=_.count())
        .order_by("day", "model")
    )


def spend_by_team(events: Any) -> Any:
    return events.group_by("team").aggregate(cost=_.cost.sum()).order_by("team")


def distinct_requests(events: Any) -> Any:
    return events.aggregate(requests=_.request_id.nunique(), rows=_.count())


def unpriced_events(events: Any) -> Any:
    """Those that no correction gave a price since."""
    unpriced = events.filter((events.price_state == "unpriced") & (events.corrects == ""))
    priced_since = events.filter((events.corrects != "") & (events.price_state != "unpriced"))
    left = unpriced.anti_join(priced_since, unpriced.id == priced_since.corrects)
    return left.group_by("model").aggregate(n=_.count(), tokens=_.input_tokens.sum()).order_by("model")


def top_users(events: Any) -> Any:
    spent = events.group_by("user").aggregate(cost=_.cost.sum(), n=_.count())
    return spent.filter(spent.cost.notnull()).order_by([spent.cost.desc(), spent.user]).limit(5)


def p95_duration(events: Any) -> Any:
    calls = events.filter(events.corrects == "")
    return calls.group_by("model").aggregate(p95=_.duration_us.cast("float64").quantile(0.95)).order_by("model")


QUESTIONS: dict[str, Callable[[Any], Any]] = {
    question.__name__: question
    for question in (spend_by_model_and_day, spend_by_team, distinct_requests, unpriced_events, top_users, p95_duration)
}


def answer(question: str, events: Any) -> list[dict[str, Any]]:
    """Ask; money comes back as `Decimal`, stripped of zeros at its end, everything else comparable with ==."""
    rows: list[dict[str, Any]] = QUESTIONS[question](events).to_pyarrow().to_pylist()
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value.normalize()
    return round(value, 6) if isinstance(value, float) else value
