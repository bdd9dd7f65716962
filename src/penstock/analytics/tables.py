"""The sums of any Ibis table of events, on whatever engine: what `spend` asks where no rollups are at hand."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

import ibis
from ibis import _

from penstock.analytics.question import GRAINS, SUMS, TAG, UNPRICED, Found, Question, trimmed
from penstock.analytics.zones import transitions

NEEDED = (
    "id", "at", "recorded_at", "corrects", "provider", "model", "price_state", "price_row", "cost", "requests",
    "input_tokens", "output_tokens", "cache_read", "cache_read_audio", "cache_read_image",
)  # fmt: skip
"""Columns of every answer; what a query does not name costs time to compile and to read."""

STARTS = re.compile(r"@(\d{4}-\d{2}-\d{2})(?:T[0-9:]+Z)?$")
"""The day in the id of a price row (`row_id`)."""


def ask_table(table: Any, question: Question) -> Found:
    """Ask a table of events."""
    names = question.names

    def facts(*wanted: str) -> Any:
        found = facts_of(table, question.columns(*wanted))
        found = found.filter(*_within(found, question.since, question.until))
        for name, value in question.where:
            found = found.filter(dimension(found, name) == value)
        if question.among is not None:
            name, values = question.among
            found = found.filter(dimension(found, name).isin(values))
        return found

    asked = facts(*names)
    clock = local(asked.at, question.place, *_span(table, question)) if question.is_local else asked.at
    groups = grouped(asked, names, clock).to_pyarrow().to_pylist()
    groups = [group for group in groups if group["first"]]  # without dimensions, nothing is one group
    is_any = any(group["unpriced_events"] for group in groups) and not question.brief
    return Found(
        keys=[[_said(name, group[f"by_{n}"]) for group in groups] for n, name in enumerate(names)],
        sums={name: [int(group[name]) for group in groups] for name in SUMS},
        costs=[trimmed(group["cost"] or Decimal(0)) for group in groups],
        first=min((_aware(group["first"]) for group in groups), default=None),
        last=max((_aware(group["last"]) for group in groups), default=None),
        unpriced=_unpriced(facts("provider", "model")) if is_any else (),
        early=_early(facts("model", "price_row")) if not question.brief and any(map(_may_be_early, groups)) else (),
    )


def facts_of(table: Any, columns: Iterable[str]) -> Any:
    """Turn a table of events into what sums are made of, with these columns of it."""
    events = with_effective_state(table.select(*dict.fromkeys((*NEEDED, *columns))))
    return events.mutate(
        first=events.at, last=events.at, events=events.is_event.cast("int64"),
        cached_tokens=events.cache_read + events.cache_read_audio + events.cache_read_image,
        unpriced_events=events.is_unpriced.cast("int64"),
        unpriced_input_tokens=events.is_unpriced.ifelse(events.input_tokens, 0),
        unpriced_output_tokens=events.is_unpriced.ifelse(events.output_tokens, 0),
        newest_price=events.price_row.right(10),
    )  # fmt: skip


def grouped(facts: Any, names: Sequence[str], clock: Any) -> Any:
    """Return the sums by dimension as an expression; `clock` is the local time of each fact."""
    keyed = facts.mutate(
        **{
            f"by_{n}": clock.truncate(GRAINS[name][0]) if name in GRAINS else dimension(facts, name)
            for n, name in enumerate(names)
        }
    )
    return keyed.aggregate(by=[f"by_{n}" for n in range(len(names))], **_sums(keyed))


def dimension(events: Any, name: str) -> Any:
    """Return the text column of a dimension; what is not filled in is the empty text."""
    if name.startswith(TAG):
        return events.tags.get(name[len(TAG) :], "").fill_null("")
    return events[name].cast("string").fill_null("")


def with_effective_state(table: Any) -> Any:
    """Give each event the price state that it has after corrections: one that was priced later is not unpriced."""
    found = table.filter((_.corrects != "") & (_.price_state != "unpriced"))
    newest = found.price_state.argmax(found.recorded_at)
    corrections = found.group_by(corrected=found.corrects).aggregate(corrected_state=newest)
    joined = table.left_join(corrections, table.id == corrections.corrected)
    state = joined.corrected_state.fill_null(joined.price_state)
    is_event = joined.corrects == ""
    effective = joined.mutate(price_state=state, is_unpriced=is_event & (state == "unpriced"), is_event=is_event)
    return effective.drop("corrected", "corrected_state")


def local(at: Any, place: tzinfo, first: datetime, last: datetime) -> Any:
    """Turn a UTC timestamp column into local wall-clock time, exactly, for instants from `first` to `last`."""
    if place is UTC:
        return at
    (_first, before), *changes = transitions(place, first.replace(microsecond=0), last)
    seconds: Any = ibis.literal(int(before.total_seconds()))
    if changes:
        newest_first = [(at >= _naive(instant), int(size.total_seconds())) for instant, size in reversed(changes)]
        seconds = ibis.cases(*newest_first, else_=int(before.total_seconds()))
    return at + seconds.as_interval("s")


def _span(table: Any, question: Question) -> tuple[datetime, datetime]:
    """Return instants around all events."""
    if question.since is not None and question.until is not None:
        return question.since, question.until
    now = datetime.now(UTC)
    [found] = table.aggregate(first=table.at.min(), last=table.at.max()).to_pyarrow().to_pylist()
    return question.since or _aware(found["first"] or now), question.until or _aware(found["last"] or now)


def _within(table: Any, since: datetime | None, until: datetime | None) -> list[Any]:
    limits = [ibis.literal(True)]
    if since is not None:
        limits.append(table.at >= _naive(since))
    if until is not None:
        limits.append(table.at < _naive(until))
    return limits


def _naive(at: datetime) -> Any:
    return ibis.timestamp(at.astimezone(UTC).replace(tzinfo=None).isoformat())


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _sums(facts: Any) -> dict[str, Any]:
    return {
        **{name: facts[name].sum().fill_null(0) for name in SUMS},
        "cost": facts.cost.sum(),
        "first": facts["first"].min(),
        "last": facts["last"].max(),
        "newest_price": facts.newest_price.max(),
    }


def _said(name: str, value: Any) -> str:
    return value.strftime(GRAINS[name][1]) if name in GRAINS else str(value)


def _unpriced(facts: Any) -> list[tuple[str, str, int, int, int]]:
    sums = {name: facts[name].sum() for name in UNPRICED}
    rows = facts.group_by(["provider", "model"]).aggregate(**sums).to_pyarrow().to_pylist()
    return [(row["provider"], row["model"], *(int(row[name]) for name in UNPRICED)) for row in rows]


def _may_be_early(group: dict[str, Any]) -> bool:
    """Say whether a look at each day is worth it: the ten last characters of a row's id are the day it starts."""
    return f"{group['first']:%Y-%m-%d}" < (group["newest_price"] or "")


def _early(facts: Any) -> list[tuple[str, str, int]]:
    """Find events whose price row starts after them: a row's id ends in the day on which it starts."""
    daily = facts.filter(facts.price_row != "").mutate(day=facts.at.truncate("D"))
    counted = daily.group_by(["model", "price_row", "day"]).aggregate(events=daily.events.sum())
    found: dict[tuple[str, str], int] = defaultdict(int)
    for row in counted.to_pyarrow().to_pylist():
        start = STARTS.search(row["price_row"])
        if row["events"] and start and f"{row['day']:%Y-%m-%d}" < start[1]:
            found[row["model"], row["price_row"]] += int(row["events"])
    return [(model, row, events) for (model, row), events in found.items()]
