"""A small ledger with known figures, and the app over it at a fixed instant."""

import html
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from penstock.dashboard.app import make_app
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.pricing.book import PriceRow, make_book
from penstock.pricing.catalog import Catalog
from penstock.pricing.cost import cost_of
from penstock.pricing.usage import Usage

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>" + "x" * 275
RIGHT_TO_LEFT = "\u202eفريق الدعم"
BOOK = make_book(
    "test",
    "1",
    [
        PriceRow(
            provider="openai", model="gpt-4o", valid_from=datetime(2025, 1, 1, tzinfo=UTC), read=NOW.date(),
            rates={"input": Decimal("0.0000025"), "cache_read": Decimal("0.00000125"), "output": Decimal("0.00001")},
            source="https://example.com/prices",
        ),
        PriceRow(provider="azure", model="gpt-4o", deployment_type="global_ptu", flat_rate=True, valid_from=NOW),
        PriceRow(provider="openai", model="gpt-old", valid_from=datetime(2024, 1, 1, tzinfo=UTC), free=True,
                 valid_to=datetime(2026, 1, 1, tzinfo=UTC)),
    ],
    title="Prices of a test",
)  # fmt: skip


def event(number: int, *, ago: timedelta = timedelta(minutes=1), **fields: Any) -> UsageEvent:
    """Make an event of gpt-4o, priced by the book, unless the fields say otherwise."""
    usage = fields.pop("usage", Usage(input=1_000, cache_read=200, output=300, reasoning=50))
    row = BOOK.rows[0]
    cost = cost_of(usage, row)
    plain: dict[str, Any] = {
        "id": f"{number:032x}", "request_id": f"req-{number}", "at": NOW - ago, "recorded_at": NOW,
        "provider": "openai", "model": "gpt-4o", "version": "2024-08-06", "requested_model": "gpt-4o",
        "endpoint": "chat", "usage": usage,
        "price_state": cost.state, "cost": cost.total, "price_book": cost.book, "price_row": cost.row,
        "price_hash": cost.row_hash, "team": "support", "app": "helpdesk", "duration_us": 812_000,
        "finish_reason": "stop",
    }  # fmt: skip
    return UsageEvent(**plain | fields)


def unpriced(number: int, **fields: Any) -> UsageEvent:
    return event(
        number,
        **{"model": "mystery", "version": "", "price_state": "unpriced", "cost": None, "price_book": "",
           "price_row": "", "price_hash": ""} | fields,
    )  # fmt: skip


Open = Callable[..., TestClient]


def _metrics(folder: Path) -> Path:
    """Write business metrics of two days."""
    file = folder / "kpi.csv"
    file.write_text("date,metric,value,app\n2026-11-22,tickets,1,helpdesk\n2026-11-23,tickets,4,helpdesk\n")
    return file


@contextmanager
def opened(
    folder: Path, events: Iterable[UsageEvent], *, sandbox: bool = False, info: dict[str, Any] | None = None
) -> Iterator[TestClient]:
    """Open the app over a ledger that holds the events."""
    with Ledger.open(folder) as ledger:
        ledger.archive_book(BOOK)
        ledger.add(events, source="test")
    info = {"sandbox": sandbox, "metrics": _metrics(folder)} | (info or {})
    app = make_app(folder, catalog=Catalog([BOOK]), info=info, now=lambda: NOW, patience=60)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda events=(), **named: stack.enter_context(opened(tmp_path, events, **named))


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The app over two requests: one priced (`req-1`), one not (`req-2`)."""
    with opened(tmp_path_factory.mktemp("two"), [event(1, tags={"x": "y"}), unpriced(2)], sandbox=True) as client:
        yield client


def text(page: str) -> str:
    """Return what a page says, without its marks; runs of space are one."""
    bare = re.sub(r"<(script|style|title)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", bare))).strip()
