"""What came of answers: scores that were reported, and signs that answers showed by themselves, by route and model.

A sign is booked where it is seen, so its share of the answers is how often it was seen; of schemas those that were
kept are booked too, and their mean score is the share that was. Of reported scores the share says how many there are.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import ibis
import pyarrow as pa
from msgspec import Struct

from penstock.analytics.attempts import attempts_of
from penstock.analytics.savings import may_score
from penstock.ledger.outcomes import Scored
from penstock.pricing.names import split_version

ANSWERS = ("call", "retry", "fallback", "cascade")
"""Purposes of attempts that answer a client."""


class Rate(Struct, frozen=True, kw_only=True):
    """Outcomes of one source, of the answers of one model to one route."""

    route: str
    """What was asked for."""
    model: str
    source: str
    """`user`, `auto:truncated`, ..."""
    outcomes: int
    answers: int
    """Of that model, to that route, in the period."""
    share: float
    """Outcomes of answers."""
    mean_score: float


class Rates(Struct, frozen=True, kw_only=True):
    """The answer."""

    rows: tuple[Rate, ...]
    elsewhere: int
    """Outcomes that count nowhere: no call of the period has their id, or it is somebody else's."""


class _Answer(Struct, frozen=True):
    route: str
    model: str
    payer: tuple[str, str]


def outcome_rates(
    source: Any, scores: Sequence[Scored], *, since: datetime | None = None, until: datetime | None = None
) -> Rates:
    """Say it of the calls that began in [since, until). `source` is a `Ledger.moment()` or any table of events."""
    events = attempts_of(source, since=since, until=until)
    events = events.mutate(route=events.requested_model.fill_null("").nullif("").fill_null(events.model))
    answers = events.filter(events.is_event == 1, events.purpose.isin(ANSWERS), events.outcome == "ok")
    counts = answers.group_by(["route", "model"]).aggregate(answers=answers.count()).to_pyarrow().to_pylist()
    known = _answers(answers, {one.request_id for one in scores})
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for one in scores:
        where = _of(one, known)
        if where is not None:
            found[where.route, where.model, one.source].append(one.score)
    number = {(row["route"], row["model"]): int(row["answers"]) for row in counts}
    rows = tuple(
        Rate(
            route=route, model=model, source=by, outcomes=len(some), answers=number[route, model],
            share=len(some) / number[route, model], mean_score=sum(some) / len(some),
        )
        for (route, model, by), some in sorted(found.items())
    )  # fmt: skip
    return Rates(rows=rows, elsewhere=len(scores) - sum(row.outcomes for row in rows))


def _answers(answers: Any, request_ids: Iterable[str]) -> dict[str, list[_Answer]]:
    """Return the answers to each request, the client's last."""
    wanted = ibis.memtable(pa.table({"request_id": pa.array(list(request_ids), pa.string())}))
    columns = ("request_id", "attempt", "route", "model", "key", "team")
    found: dict[str, list[_Answer]] = defaultdict(list)
    rows = answers.semi_join(wanted, "request_id").select(*columns).order_by(["request_id", "attempt"])
    for row in rows.to_pyarrow().to_pylist():
        payer = (row["key"] or "", row["team"] or "")
        found[row["request_id"]].append(_Answer(row["route"], row["model"], payer))
    return found


def _of(one: Scored, known: Mapping[str, Sequence[_Answer]]) -> _Answer | None:
    """Find the answer that an outcome is about: an automatic one names its model, others mean what the client got."""
    some = known.get(one.request_id)
    if not some:
        return None
    if one.source.startswith("auto:"):
        model = split_version(one.name)[0]
        return next((answer for answer in some if answer.model == model), some[-1])
    return some[-1] if may_score(one, some[-1].payer) else None
