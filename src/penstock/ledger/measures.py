"""What sums of events sum up: what one event says of itself, and how what many say is put together."""

from collections.abc import Iterable
from dataclasses import dataclass

from penstock.pricing.usage import PRICED

OPEN = "(corrects = '' AND price_state = 'unpriced')"
"""Booked without a price; a correction may have given it one since."""
SETTLES = "(corrects > '' AND price_state <> 'unpriced')"
"""A correction that gives its event a price."""
CORRECTS = "(corrects > '')"
STARTS = "TRY_CAST(regexp_extract(price_row, '@([0-9]{4}-[0-9]{2}-[0-9]{2})(T[0-9:]+Z)?$', 1) AS DATE)"
"""The day in the id of a price row (`row_id`)."""
EARLY = f"(corrects = '' AND coalesce(\"at\"::DATE < {STARTS}, false))"
"""Priced by a row that starts only after the event."""

FAILED = ("error", "aborted")
"""Outcomes of attempts that ended without an answer; a refusal of ours is none."""
CUT = ("length", "max_tokens", "max_output_tokens", "model_context_window_exceeded", "incomplete")
"""What providers say of an answer that ended because no more tokens were allowed."""
BESIDE = ("classifier", "judge", "shadow", "cache_probe")
"""Purposes of attempts that are no answers themselves."""
HIT = "hit in "
"""How the decision of a call begins that a cache of whole answers answered, before any provider was asked."""
FROM_CACHE = {"cache_read": "input", "cache_read_audio": "input_audio", "cache_read_image": "input_image"}
"""What is read from a provider's prompt cache, and what it would have been otherwise."""
TO_CACHE = ("cache_write", "cache_write_1h")
"""What is written to it: dearer than plain input."""


def among(name: str, values: Iterable[str]) -> str:
    """Write as SQL that a column has one of some values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"({name} IN ({listed}))"


_EVENT = "corrects = ''"
_FAILED, _CUT, _BESIDE = among("outcome", FAILED), among("finish_reason", CUT), among("purpose", BESIDE)
TIMED = "outcome = 'ok' AND duration_us > 0 AND requests <= 1"
"""An answered call of one request whose duration was booked."""
TIMED_OF = ("outcome", "duration_us", "requests")
_CACHING = " OR ".join(f'"{name}" <> 0' for name in (*FROM_CACHE, *TO_CACHE))
_OPEN_OF = ("corrects", "price_state")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure. No Struct: see `rollups.Cube`."""

    what: str
    """What one event says, as SQL."""
    of: tuple[str, ...]
    """Columns that this speaks of."""
    how: str = "sum"
    money: bool = False
    settled: str = "0::BIGINT"
    """What an unpriced event takes back once a correction has given it a price, as SQL."""


def _count(condition: str, *of: str) -> Measure:
    return Measure(what=f"({condition})::BIGINT", of=of)


def _column(name: str) -> Measure:
    return Measure(what=f'"{name}"', of=(name,))


def _dollars(condition: str, *of: str) -> Measure:
    what = f"CASE WHEN {condition} THEN cost END" if condition else "cost"
    return Measure(what=what, of=("cost", *of), money=True, settled="NULL::DECIMAL(38,18)")


MEASURES: dict[str, Measure] = {
    "first": Measure(what='"at"', of=("at",), how="min", settled='"at"'),
    "last": Measure(what='"at"', of=("at",), how="max", settled='"at"'),
    "events": _count(_EVENT, "corrects"),
    "requests": Measure(what="requests", of=("requests",)),
    "input_tokens": Measure(what="input_tokens", of=("input_tokens",)),
    "cached_tokens": Measure(
        what="(cache_read + cache_read_audio + cache_read_image)",
        of=("cache_read", "cache_read_audio", "cache_read_image"),
    ),
    "output_tokens": Measure(what="output_tokens", of=("output_tokens",)),
    "cost": _dollars(""),
    "unpriced_events": Measure(what=f"{OPEN}::BIGINT", of=_OPEN_OF, settled="-1::BIGINT"),
    "unpriced_input_tokens": Measure(
        what=f"CASE WHEN {OPEN} THEN input_tokens ELSE 0 END", of=(*_OPEN_OF, "input_tokens"), settled="-input_tokens"
    ),
    "unpriced_output_tokens": Measure(
        what=f"CASE WHEN {OPEN} THEN output_tokens ELSE 0 END", of=(*_OPEN_OF, "output_tokens"),
        settled="-output_tokens",
    ),
    "early_events": Measure(what=f"{EARLY}::BIGINT", of=("corrects", "at", "price_row")),
    "rows": Measure(what="1::BIGINT", of=()),
    "reasoning_tokens": _column("reasoning"),
    "tool_calls": _column("tool_calls"),
    "retries": _count(f"{_EVENT} AND purpose = 'retry'", "corrects", "purpose"),
    "fallbacks": _count(f"{_EVENT} AND purpose IN ('fallback', 'cascade')", "corrects", "purpose"),
    "failed": _count(f"{_EVENT} AND {_FAILED}", "corrects", "outcome"),
    "wasted": _dollars(_FAILED, "outcome"),
    "cut": _count(f"{_EVENT} AND {_CUT}", "corrects", "finish_reason"),
    "cut_cost": _dollars(_CUT, "finish_reason"),
    "beside": _count(f"{_EVENT} AND {_BESIDE}", "corrects", "purpose"),
    "beside_cost": _dollars(_BESIDE, "purpose"),
    "reused": _count(f"{_EVENT} AND starts_with(decision, '{HIT}')", "corrects", "decision"),
    "waited_us": Measure(what=f"CASE WHEN {_EVENT} THEN duration_us ELSE 0 END", of=("corrects", "duration_us")),
    "timed": _count(f"{_EVENT} AND {TIMED}", "corrects", *TIMED_OF),
    "timed_streamed": _count(f"{_EVENT} AND {TIMED} AND first_token_us > 0", "corrects", "first_token_us", *TIMED_OF),
    "timed_us": Measure(
        what=f"CASE WHEN {_EVENT} AND {TIMED} THEN duration_us ELSE 0 END", of=("corrects", *TIMED_OF)
    ),
    "timed_output": Measure(
        what=f"CASE WHEN {TIMED} THEN output_tokens ELSE 0 END", of=("output_tokens", *TIMED_OF)
    ),
    "timed_cost": _dollars(TIMED, *TIMED_OF),
    "timed_unpriced": Measure(
        what=f"({OPEN} AND {TIMED})::BIGINT", of=(*_OPEN_OF, *TIMED_OF), settled=f"-({TIMED})::BIGINT"
    ),
    "caching_requests": Measure(
        what=f"CASE WHEN {_CACHING} THEN requests ELSE 0 END", of=("requests", *FROM_CACHE, *TO_CACHE)
    ),
    **{unit: _column(unit) for unit in PRICED},
}  # fmt: skip
"""By name. `timed` are answered calls of one request each whose duration was booked."""

BASIC = tuple(MEASURES)[: list(MEASURES).index("rows")]
"""What most questions about spend ask for."""
FULL = tuple(MEASURES)
OF_RUNS = (*BASIC, "rows", "tool_calls", "failed")


def columns_of(measures: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of the ledger that some measures speak of."""
    return tuple(dict.fromkeys(name for measure in measures for name in MEASURES[measure].of))
