"""A ledger of many events, made quickly: columns of SQL instead of one object an event. What it holds is the same.

Users belong to teams, teams have apps, apps have keys. One model in a thousand calls has no price, and half of those
calls were given one later by a correction, one call in a hundred fails, one in five is a step of an agent's run, and
on two days a team spends forty times its usual, so that questions have that to do as well.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from penstock.ledger.columns import SCHEMA, default_of
from penstock.ledger.manifest import Part, Writer
from penstock.ledger.parts import ROW_GROUP, staging, write_parts
from penstock.ledger.store import Ledger

START = datetime(2026, 3, 1, tzinfo=UTC)
USERS, TEAMS, APPS = 5000, 23, 7
STEP = 2_000_000
"""Events made at a time."""

MIXED = "hash(n)"
"""Which user and which model: mixed, but the same in every run."""
COLUMNS = {
    "id": "printf('%012x7%03x8%015x', ms, n % 4096, n)",
    "at": 'make_timestamp(us) AS "at"',
    "recorded_at": "make_timestamp(us + 2000000)",
    "source": "'bench'",
    "request_id": "printf('%012x7%03x8%015x', ms, n % 4096, n)",
    "provider": "'azure'",
    "deployment": "'chat-eu'",
    "model": "model",
    "version": "'2024-08-06'",
    "requested_model": "model",
    "deployment_type": "'data_zone'",
    "region": "'eu'",
    "endpoint": "'chat'",
    "finish_reason": "CASE WHEN h % 211 = 5 THEN 'length' WHEN failed THEN '' ELSE 'stop' END",
    "outcome": "CASE WHEN failed THEN 'error' ELSE 'ok' END",
    "status": "CASE WHEN failed THEN 429 ELSE 200 END",
    "error": "CASE WHEN failed THEN 'rate_limited' ELSE '' END",
    "run": "CASE WHEN n % 5 = 0 THEN 'run-' || (n // 50) ELSE '' END",
    "stream": "n % 2 = 0",
    "duration_us": "1200000 + h % 800000",
    "first_token_us": "310000 + h % 100000",
    "tool_calls": "n % 3",
    "input": "fresh",
    "cache_read": "cached",
    "output": "written",
    "reasoning": "written % 64",
    "input_tokens": "fresh + cached",
    "output_tokens": "written",
    "price_state": "CASE WHEN unpriced THEN 'unpriced' ELSE 'priced' END",
    "cost": "CASE WHEN NOT unpriced THEN (0.00000025::DECIMAL(38,18) * ((9000 + h % 7919) * surge)::BIGINT) END",
    "price_book": "CASE WHEN unpriced THEN '' ELSE 'azure@2025-11-23' END",
    "price_row": "CASE WHEN unpriced THEN '' ELSE 'azure/' || model || '/data_zone:eu/standard@2025-04-01' END",
    "price_hash": "CASE WHEN unpriced THEN '' ELSE '92a08086dcc30138' END",
    "key": "'key-' || (person % 41)",
    "team": "'team-' || team",
    "app": "'app-' || app",
    "feature": "'answers'",
    "user": "'user-' || person",
    "tags": "MAP {'product': 'p' || (n % 9)}",
    "decision": "'chat-eu#1'",
    "writer": "'bench'",
    "seq": "n + 1",
}
CORRECTION = {
    "id": "md5(id)",
    "recorded_at": "recorded_at + INTERVAL 1 DAY",
    "source": "'reprice'",
    "corrects": "id",
    "requests": "0",
    **dict.fromkeys(("tool_calls", "duration_us", "first_token_us", "input", "cache_read", "output", "reasoning"), "0"),
    "input_tokens": "0",
    "output_tokens": "0",
    "usage_source": "'none'",
    "price_state": "'priced'",
    "cost": "0.0123::DECIMAL(38,18)",
    "price_row": "'azure/' || model || '/data_zone:eu/standard@2025-04-01'",
    "decision": "'reprice 1'",
    "writer": "'corrections'",
    "seq": "row_number() OVER ()",
}


def fill(folder: Path, count: int, days: int, say: Callable[[str], None]) -> None:
    """Book `count` events spread evenly over `days` from `START`, and corrections of half of the unpriced ones."""
    with Ledger.open(folder) as ledger, staging(folder) as stage:
        parts: list[Part] = []
        per_day = -(-count // days)
        step = max(STEP // per_day, 1) * per_day  # whole days: a part for each
        for first in range(0, count, step):
            events = f"SELECT {_columns(COLUMNS)} FROM ({_numbers(first, min(first + step, count), per_day)})"
            parts += write_parts(folder, stage.engine.sql(events).to_arrow_reader(ROW_GROUP))
            say(f"{min(first + step, count):,} of {count:,} events")
        files = ", ".join(f"'{folder / part.path}'" for part in parts)
        unpriced = f"SELECT * FROM read_parquet([{files}]) WHERE price_state = 'unpriced' AND seq % 2 = 0"
        corrections = f'SELECT {_columns(CORRECTION, others=True)} FROM ({unpriced}) ORDER BY "at"'
        corrected = write_parts(folder, stage.engine.sql(corrections).to_arrow_reader(ROW_GROUP))
        writers = [
            Writer(writer=name, name=name, last=rows, rows=rows)
            for name, some in (("bench", parts), ("corrections", corrected))
            if (rows := sum(part.rows for part in some))
        ]
        ledger.manifest.commit(add=[*parts, *corrected], writers=writers)


def _numbers(first: int, end: int, per_day: int) -> str:
    begin = int(START.timestamp()) * 1_000_000
    length = int(timedelta(days=1).total_seconds()) * 1_000_000
    return (
        f"SELECT *, 'team-' AS t, person % {TEAMS} AS team, (person % {TEAMS} + h // 7 % 3) % {APPS} AS app, "
        "CASE WHEN unpriced THEN 'brand-new' "
        "ELSE ['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4-5', 'gpt-4.1', 'o4-mini'][1 + (h // 11 % 5)::INT] "
        "END AS model, "
        "(900 + h % 700)::BIGINT AS fresh, (1024 * (h // 3 % 3))::BIGINT AS cached, "
        "(120 + h % 300)::BIGINT AS written, h % 97 = 1 AS failed, "
        f"CASE WHEN n // {per_day} IN (70, 83) AND person % {TEAMS} = 3 THEN 40 ELSE 1 END AS surge "
        f"FROM (SELECT n, us, us // 1000 AS ms, h, (h % {USERS})::BIGINT AS person, h % 1000 = 7 AS unpriced FROM ("
        f"SELECT n, {begin} + (n // {per_day}) * {length} + (n % {per_day}) * {length} // {per_day} AS us, "
        f"{MIXED} AS h FROM range({first}, {end}) t(n)))"
    )


def _columns(made: dict[str, str], *, others: bool = False) -> str:
    """List every column of the ledger: made, or else as it is there (`others`) or by its default."""
    listed = []
    for name in SCHEMA.names:
        value = made.get(name, f'"{name}"' if others else default_of(name))
        listed.append(value if value.endswith(f'AS "{name}"') else f'{value} AS "{name}"')
    return ", ".join(listed)
