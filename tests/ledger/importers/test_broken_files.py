"""One row of three is broken, in every format: it is named with its place, and the others are booked exactly."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.importers.broken_rows import MARK, SAMPLES, SAYS
from tests.ledger.importers.reading import NOW

from penstock.ledger.importers.fields import SKEW
from penstock.ledger.importers.formats import FORMATS, choose
from penstock.ledger.importers.run import Imported, import_file
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.pricing.books import default_catalog

CATALOG = default_catalog()
TIMES = [datetime(2026, 3, 14, hour, tzinfo=UTC) for hour in (1, 2, 3)]
COUNTS = [2_000, 4_000, 8_000]
WITH_COUNTS = [name for name, sample in SAMPLES.items() if sample.counts]
DOCUMENTS = [name for name, sample in SAMPLES.items() if sample.is_document]


def three(name: str, times: list[datetime] = TIMES, counts: list[int] = COUNTS) -> list[Any]:
    return [SAMPLES[name].row(place, *one) for place, one in enumerate(zip(times, counts, strict=True))]


def packed(name: str, rows: list[Any]) -> bytes:
    return SAMPLES[name].pack(rows)


class Booking:
    """Books files, each into a ledger of its own, and says what then is in it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def __call__(self, name: str, data: bytes) -> tuple[Imported, list[UsageEvent], list[dict[str, Any]]]:
        self._count += 1
        file = self._folder / f"{name}-{self._count}"
        file.write_bytes(data)
        with Ledger.open(self._folder / f"ledger-{self._count}") as ledger:
            outcome, again = (
                import_file(file, choose(file, SAYS, name), assumed=SAYS, catalog=CATALOG, now=NOW, ledger=ledger)
                for _ in range(2)
            )
            assert (again.new, again.duplicates) == (0, outcome.new)
            assert again.rejects == outcome.rejects
            rows = outcome.rejects.read_text().splitlines() if outcome.rejects else []
            return outcome, ledger.events(), [json.loads(row) for row in rows]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Booking]:
    return Booking(tmp_path)


def test_every_format_is_here():
    assert sorted(SAMPLES) == sorted(FORMATS)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_date_that_is_to_come_is_named_and_the_rest_is_booked(name, book):
    rows = three(name, [TIMES[0], NOW + SKEW + timedelta(minutes=1), TIMES[2]])
    _, expected, _ = book(name, packed(name, [rows[0], rows[2]]))
    outcome, events, rejects = book(name, packed(name, rows))
    assert events == expected
    assert bool(events) == FORMATS[name].books
    assert outcome.rejected == {"future_date": 1}
    line = 4 if SAMPLES[name].by_scrape else SAMPLES[name].line(1)
    assert [(row["line"], row["code"]) for row in rejects] == [(line, "future_date")]
    assert "2026-11-24 12:01:00 UTC: that is still to come" in rejects[0]["reason"]


@pytest.mark.parametrize("name", SAMPLES)
def test_how_wrong_a_clock_may_be_is_the_same_everywhere(name, book):
    """A bucket that has just begun is left for later; nothing else minds a day."""
    outcome, events, _ = book(name, packed(name, three(name, [TIMES[0], TIMES[1], NOW + SKEW])))
    assert set(outcome.rejected) <= {"unfinished_bucket"}
    assert len(events) == {"m365_copilot": 0, "vllm": 2, "azure_metrics": 2}.get(name, 3)


@pytest.mark.parametrize("name", WITH_COUNTS)
def test_a_negative_count_is_named_and_the_rest_is_booked(name, book):
    rows = three(name, counts=[2_000, -4_000, 8_000])
    _, expected, _ = book(name, packed(name, [rows[0], rows[2]]))
    outcome, events, rejects = book(name, packed(name, rows))
    assert events == expected != []
    assert outcome.rejected == {"negative_number": 1}
    line = 6 if SAMPLES[name].by_scrape else SAMPLES[name].line(1)
    assert [(row["line"], row["code"]) for row in rejects] == [(line, "negative_number")]
    assert "-4000" in rejects[0]["reason"] + rejects[0]["row"]


@pytest.mark.parametrize("name", WITH_COUNTS)
def test_what_is_booked_is_what_the_rows_say(name, book):
    _, events, _ = book(name, packed(name, three(name)))
    scale = 1_000_000 if name == "focus" else 1
    sent = [1_000, 1_000] if name == "vllm" else COUNTS
    assert [event.usage.input for event in events] == [count * scale for count in sent]


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in ("traces", "vllm", "azure_metrics")])
def test_bytes_that_are_not_utf_8_are_named_and_the_rest_is_booked(name, book):
    rows = three(name)
    _, expected, _ = book(name, packed(name, [rows[0], rows[2]]))
    outcome, events, rejects = book(name, packed(name, rows).replace(MARK.encode(), b"M\xe9\xffK"))
    assert events == expected
    assert outcome.rejected == {"wrong_encoding": 1}
    assert [(row["line"], row["code"]) for row in rejects] == [(SAMPLES[name].line(1), "wrong_encoding")]


@pytest.mark.parametrize("way", ["plain", "gzip"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_json_document_that_ends_early_is_booked_as_far_as_it_is_whole(name, way, book):
    rows = three(name)
    data = packed(name, rows)
    _, whole, _ = book(name, data)
    third = data.rindex(b"own-fine-2" if b"own-fine-2" in data else b"8000")
    cut = data[:third]
    if way == "gzip":
        cut = gzip.compress(data, 0)[: 10 + 5 + third]  # a head, and the begin of a block that is not compressed
    outcome, events, rejects = book(name, cut)
    expected = [] if SAMPLES[name].whole_only else [event for event in whole if event.at < TIMES[2]]
    assert events == expected
    assert len(expected) == (0 if SAMPLES[name].whole_only else 2)
    assert not outcome.complete
    assert [row["code"] for row in rejects] == ["truncated_file"]
    assert rejects[0]["line"] == (1 if SAMPLES[name].whole_only else 2 if name == "otlp" else 3)
