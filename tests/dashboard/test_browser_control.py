"""Control and improvement pages in a real Chromium: forms, live plans, accessibility, nothing from elsewhere."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
import uvicorn
from tests.dashboard.conftest import BOOK, HOSTILE, NOW, RIGHT_TO_LEFT, event, unpriced
from tests.dashboard.test_browser import CHROMIUM, Tab, tab_of_chromium

from penstock.dashboard.app import make_app
from penstock.ledger.store import Ledger
from penstock.policies.budgets.desk import Desk
from penstock.policies.budgets.rules import Budget, Rules
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import VirtualKey
from penstock.pricing.catalog import Catalog

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8")
PAGES = ("/anomalies", "/budgets", "/recommendations", "/savings", "/health", "/plan?calculator=cache&model=x")
VIOLATIONS = "axe.run().then(found => found.violations.map(one => one.id + ': ' + one.nodes[0].html))"


def filled(folder: Path) -> str:
    """Fill a ledger with a month, a spike and hostile names; return an admin's secret."""
    with Ledger.open(folder) as ledger:
        ledger.archive_book(BOOK)
        days = [event(n, ago=timedelta(days=n // 10, minutes=n % 10), cost=Decimal("0.5")) for n in range(300)]
        spike = [event(900 + n, ago=timedelta(days=3), cost=Decimal(2), app=RIGHT_TO_LEFT) for n in range(60)]
        ledger.add(
            [*days, *spike, event(999, team=HOSTILE, app=HOSTILE), unpriced(1_000, model=HOSTILE)], source="test"
        )
        key = VirtualKey(id="", name=HOSTILE, role="admin", created=datetime.now(UTC))
        return KeyStore(ledger.state).create(key)[1]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    rules = Rules(budgets=(Budget(dollars=Decimal(100)), Budget(dollars=Decimal(1), scope="team=*")))
    app = make_app(
        folder, catalog=Catalog([BOOK]), info={"desk": lambda state: Desk(state, folder, rules)}, now=lambda: NOW,
        patience=60,
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


async def visited(tab: Tab, address: str) -> None:
    await tab.ask("Page.navigate", url=address)
    await tab.until(f"location.href === {address!r} && document.querySelector('footer') !== null")


async def signed_in(tab: Tab, url: str, secret: str) -> None:
    await visited(tab, f"{url}/sign-in")
    await tab.evaluate(f"document.querySelector('input[name=key]').value = {secret!r}")
    await tab.evaluate("document.querySelector('form.sign-in').requestSubmit()")
    await tab.until("location.pathname === '/'")


def test_an_admin_uses_the_forms_and_plans_answer_while_one_types(tmp_path: Path) -> None:
    secret = filled(tmp_path / "data")

    async def visit(url: str) -> None:
        async with tab_of_chromium(tmp_path) as tab:
            await tab.ask("Page.enable")
            await signed_in(tab, url, secret)
            await _nobody_is_kept_out(tab, url)
            await _a_freeze(tab, url)
            await _a_followup(tab, url)
            await _a_plan(tab, url)

    with served(tmp_path / "data") as url:
        asyncio.run(visit(url))


async def _nobody_is_kept_out(tab: Tab, url: str) -> None:
    """Nothing that axe complains of, no sideways scrolling, nothing from elsewhere."""
    for theme in ("light", "dark"):
        await tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        for path in PAGES:
            await visited(tab, url + path)
            assert "<script>alert" not in await tab.evaluate("document.body.innerHTML")
            await tab.evaluate(AXE)
            assert await tab.evaluate(VIOLATIONS) == [], (theme, path)
            asked: Any = await tab.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
            assert [one for one in asked if not one.startswith(url)] == []
    await tab.ask("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    for path in PAGES:
        await visited(tab, url + path)
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 390, path
    await tab.ask("Emulation.clearDeviceMetricsOverride")


async def _a_freeze(tab: Tab, url: str) -> None:
    await visited(tab, f"{url}/budgets")
    await tab.evaluate("document.querySelector('form[aria-label=Freeze] input[name=scope]').value = 'team=support'")
    await tab.evaluate("document.querySelector('form[aria-label=Freeze]').requestSubmit()")
    await tab.until("document.querySelector('.acts .badge.bad')?.parentElement.innerText.includes('team=support')")
    assert await tab.evaluate("fetch('/api/budgets').then(reply => reply.json()).then(one => one.frozen)") == [
        "team=support"
    ]
    await tab.evaluate("document.querySelector('.acts form').requestSubmit()")
    await tab.until("document.body.innerText.includes('Nothing is frozen')")


async def _a_followup(tab: Tab, url: str) -> None:
    await visited(tab, f"{url}/anomalies")
    await tab.evaluate("document.querySelector('#anomaly-1 .followup form input[name=owner]').value = 'Ada'")
    await tab.evaluate("document.querySelector('#anomaly-1 .followup form select').value = 'acknowledged'")
    await tab.evaluate("document.querySelector('#anomaly-1 .followup form').requestSubmit()")
    await tab.until("location.hash === '#anomaly-1' && document.body.innerText.includes('Looked after by Ada')")


async def _a_plan(tab: Tab, url: str) -> None:
    await visited(tab, f"{url}/plan?calculator=cache&provider=openai&model=gpt-4o&requests_per_day=10")
    before = await tab.evaluate("document.querySelector('#plan-answer').innerText")
    await tab.evaluate("document.querySelector('#in-requests_per_day').focus()")
    await tab.ask("Input.insertText", text="9")
    await tab.until(f"document.querySelector('#plan-answer').innerText !== {before!r}")
    answer = await tab.evaluate("document.querySelector('#plan-answer').innerText")
    address = await tab.evaluate("location.href")
    assert await tab.evaluate("document.activeElement.id") == "in-requests_per_day"  # one goes on typing
    await visited(tab, address)  # the address holds all of it
    assert await tab.evaluate("document.querySelector('#plan-answer').innerText") == answer
    api = address.replace("/plan?calculator=cache&", "/api/plan/cache?")
    assert await tab.evaluate(f"fetch({api!r}).then(reply => reply.json()).then(one => one.answer)") == answer
    await tab.evaluate("document.querySelector('#in-requests_per_day').focus()")
    await tab.ask("Input.insertText", text="many")
    await tab.until("document.querySelector('#wrong-requests_per_day').innerText.includes('is not a number')")
    assert await tab.evaluate("document.querySelector('#in-requests_per_day').getAttribute('aria-invalid')") == "true"
