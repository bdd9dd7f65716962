"""How well tokens are used: how many a request takes, what comes from caches, and what bought no answer."""

from collections.abc import Sequence
from decimal import Decimal

from penstock.analytics.attempts import sums_of
from penstock.analytics.efficiency import ratio
from penstock.analytics.longest import longest_prompts
from penstock.analytics.spend import SpendRow, add
from penstock.dashboard.asked import Asked
from penstock.dashboard.charts import Point, Series, lines, stacked
from penstock.dashboard.charts_frame import HALF, counts
from penstock.dashboard.figure import Card, Column, Figure, Legend, Row
from penstock.dashboard.figures_of import FEW_SECONDS, spent, summed
from penstock.dashboard.house import House
from penstock.dashboard.models import priced_units
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.words import exact, link, money, plain_number, request_path, share, short
from penstock.ledger.measures import BESIDE, CUT

WHY = ("provider", "model", "outcome", "purpose", "finish_reason")
OVERHEAD: tuple[tuple[str, str, str, Sequence[str]], ...] = (
    ("failed", "Failed attempts", "outcome", ("error",)),
    ("aborted", "Client left, or stream cut", "outcome", ("aborted",)),
    ("retries", "Retries", "purpose", ("retry",)),
    ("fallbacks", "Fallbacks", "purpose", ("fallback",)),
    ("cascades", "Later steps of a cascade", "purpose", ("cascade",)),
    ("cut", "Answers cut at their limit", "finish_reason", CUT),
    ("beside", "Judges, classifiers, shadows, probes", "purpose", BESIDE),
)
"""Name, label, and the dimension whose values belong to it."""


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page's figures."""
    daily = spent(house, asked, ("day", "provider", "model")).rows
    why = spent(house, asked, WHY, seconds=FEW_SECONDS).rows
    apps = spent(house, asked, ("team", "app")).rows
    saved = priced_units(house, asked).saved_by_cache
    read, cached, written = (
        sum(getattr(row, name) for row in daily) for name in ("input_tokens", "cached_tokens", "output_tokens")
    )
    requests = sum(row.requests for row in daily)
    wasted = [row for row in why if row.group["outcome"] in ("error", "aborted")]
    tries = sum(row.events for row in wasted)
    each = ratio(read + written, requests)
    reused, calls = _reused(house, asked)
    return Shown(
        cards=[
            Card(
                name="Tokens a request", said=short(round(each)) if each is not None else "–",
                exact=str(each) if each is not None else "", sub=f"{short(read + written)} tokens in all",
            ),
            Card(
                name="Output for an input token",
                said=plain_number(out) if (out := ratio(written, read)) is not None else "–",
                sub=f"{short(read)} in, {short(written)} out",
            ),
            Card(
                name="Read from prompt caches", said=share(cached, read), exact=f"{cached:,} of {read:,} input tokens",
                sub=f"{money(saved)} below the plain rate, writes deducted" if cached else "none in this period",
            ),
            Card(
                name="From a response cache", said=share(reused, calls), exact=f"{reused:,} of {calls:,} attempts",
                sub="answered without a provider" if reused else "none in this period",
            ),
            Card(
                name="Bought no answer", said=money(lost := add(row.cost for row in wasted)), exact=exact(lost),
                sub=f"{tries:,} attempt{'' if tries == 1 else 's'} without an answer",
                tone="warn" if lost else "", href="#figure-overhead" if wasted else "",
            ),
        ],
        figures=[
            _kinds_per_day(asked, daily),
            _length_per_day(asked, daily),
            _overhead(asked, why),
            _use(asked, ("model", "provider"), summed(daily, ("model", "provider")), "By model"),
            _use(asked, ("team", "app"), apps, "By team and app"),
            _longest(house, asked),
        ],
        unpriced=[row for row in summed(daily, ("provider", "model")) if row.unpriced_events],
    )  # fmt: skip


def _reused(house: House, asked: Asked) -> tuple[int, int]:
    """Count the calls that a cache of whole answers answered, and all attempts."""

    def ask() -> tuple[int, int]:
        rows = sums_of(
            house.source(), ("reused", "events", "rows"), since=asked.since, until=asked.until, where=asked.where
        )
        return sum(row["reused"] for row in rows), sum(row["events"] for row in rows)

    return house.remember(("reused", asked.since, asked.until, asked.where), ask)


def _of_day(asked: Asked, rows: Sequence[SpendRow]) -> list[tuple[int, int, int, int]]:
    """Return requests, uncached input, cached input and output of each day."""
    sums: dict[str, list[int]] = {day.isoformat(): [0, 0, 0, 0] for day in asked.days}
    for row in rows:
        if (of := sums.get(row.group["day"])) is not None:
            parts = (row.requests, row.input_tokens - row.cached_tokens, row.cached_tokens, row.output_tokens)
            of[:] = [before + part for before, part in zip(of, parts, strict=True)]
    return [(one[0], one[1], one[2], one[3]) for one in sums.values()]


def _kinds_per_day(asked: Asked, rows: Sequence[SpendRow]) -> Figure:
    days = _of_day(asked, rows)
    names = ("Input", "Input from cache", "Output")
    series = [Series(name, tuple(Decimal(day[n]) for day in days)) for n, name in enumerate(names, 1)]
    total = sum(sum(day[1:]) for day in days)
    return Figure(
        name="per-day", title="Tokens per day",
        columns=(
            Column("day", "Day"), Column("requests", "Requests", "count"), Column("uncached_input", "Input", "count"),
            Column("cached_input", "Input from cache", "count"), Column("output", "Output", "count"),
        ),
        rows=[
            Row((at.isoformat(), *day), href=asked.of_day("/requests", at) if day[0] else "")
            for at, day in reversed(list(zip(asked.days, days, strict=True)))
        ] if total else (),
        chart=stacked(
            asked.days, series, title=f"Tokens per day, {asked.label}: {total:,} in all.", axis=counts, say=_tokens
        ),
        legend=tuple(Legend(n, one.name, short(int(one.total))) for n, one in enumerate(series)), shown=400,
    )  # fmt: skip


def _length_per_day(asked: Asked, rows: Sequence[SpendRow]) -> Figure:
    days = [(at, ratio(sum(day[1:]), day[0])) for at, day in zip(asked.days, _of_day(asked, rows), strict=True)]
    points = [Point(at, each, each, each) for at, each in days if each is not None]
    return Figure(
        name="length", title="Tokens a request", half=True,
        columns=(Column("day", "Day"), Column("tokens_per_request", "Tokens a request", "number")),
        rows=[Row((at.isoformat(), each)) for at, each in reversed(days) if each is not None],
        chart=lines(
            points, width=HALF, axis=counts, say=_tokens,
            title=f"Tokens a request by day, {asked.label}: from {_tokens(points[0].amount, 0)} "
            f"to {_tokens(points[-1].amount, 0)}.",
        ) if len(points) > 1 else None,
        shown=400,
    )  # fmt: skip


def _overhead(asked: Asked, rows: Sequence[SpendRow]) -> Figure:
    events = sum(row.events for row in rows)
    found = []
    for name, label, dimension, values in OVERHEAD:
        some = [row for row in rows if row.group[dimension] in values]
        attempts = sum(row.events for row in some)
        if attempts:
            tokens = sum(row.input_tokens + row.output_tokens for row in some)
            cost = add(row.cost for row in some)
            said = {row.group[dimension] for row in some}  # the explorer keeps one value: no link to a part of them
            href = asked.to("/requests", **{dimension: said.pop()}) if len(said) == 1 else ""
            found.append(Row((label, name, attempts, ratio(attempts, events), tokens, cost), href=href))
    return Figure(
        name="overhead", title="Attempts that were no first, whole answer", half=True,
        note="One attempt can stand in several lines: a retry that failed is in two.",
        columns=(
            Column("what", "What"), Column("name", "Name", hidden=True), Column("attempts", "Attempts", "count"),
            Column("share", "Of all", "share", less=True), Column("tokens", "Tokens", "tokens"),
            Column("cost", "Cost", "money"),
        ),
        rows=found,
        empty="Every attempt of this period was a first one that was answered whole." if rows
        else "Nothing in this period.",
    )  # fmt: skip


def _use(asked: Asked, names: tuple[str, ...], rows: Sequence[SpendRow], title: str) -> Figure:
    return Figure(
        name="by-" + "-".join(names), title=title,
        columns=(
            *(Column(name, name.capitalize(), less=n > 0) for n, name in enumerate(names)),
            Column("requests", "Requests", "count", less=True),
            Column("tokens_per_request", "Tokens a request", "number"),
            Column("output_per_input", "Output for an input token", "number", less=True),
            Column("cached_share", "From cache", "share"), Column("cost", "Cost", "money", bar=True),
            Column("cost_per_thousand", "1,000 requests", "money", less=True, fine=True),
        ),
        rows=[
            Row(
                (
                    *(row.group[name] for name in names), row.requests,
                    ratio(row.input_tokens + row.output_tokens, row.requests),
                    ratio(row.output_tokens, row.input_tokens), ratio(row.cached_tokens, row.input_tokens),
                    None if row.unpriced_events and not row.cost else row.cost,
                    1000 * row.cost / row.requests if row.requests and row.cost else None,
                ),
                href=asked.narrowed("/tokens", row.group),
                badge=f"{row.unpriced_events:,} unpriced" if row.unpriced_events else "",
            )
            for row in rows
        ],
    )  # fmt: skip


def _longest(house: House, asked: Asked) -> Figure:
    found = house.remember(
        ("longest", asked.since, asked.until, asked.where),
        lambda: longest_prompts(house.ledger.moment(), since=asked.since, until=asked.until, where=asked.where),
    )
    return Figure(
        name="longest", title="Longest prompts", note="Each leads to its request.",
        columns=(
            Column("at", "Time", "time"), Column("request_id", "Request", hidden=True), Column("model", "Model"),
            Column("team", "Team", less=True), Column("app", "App"), Column("feature", "Feature", less=True),
            Column("input_tokens", "Input", "count"), Column("cached_tokens", "From cache", "count", less=True),
            Column("output_tokens", "Output", "count", less=True), Column("cost", "Cost", "money"),
        ),
        rows=[
            Row(
                (
                    one.at, one.request_id, one.model, one.team, one.app, one.feature, one.input_tokens,
                    one.cached_tokens, one.output_tokens, one.cost,
                ),
                href=link(request_path(one.request_id), asked.kept),
            )
            for one in found
        ],
        shown=20,
    )  # fmt: skip


def _tokens(amount: Decimal, _places: int) -> str:
    return short(round(amount))


PAGE = Page(
    path="/tokens", name="Tokens", title="Token efficiency", group="Usage", gather=gather,
    lead="How many tokens a request takes, how many of them come from caches, and which bought no answer.",
)  # fmt: skip
