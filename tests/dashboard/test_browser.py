"""The pages in a real Chromium."""

import asyncio
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import axe_core_python
import pytest
import uvicorn
from tests.dashboard.conftest import BOOK, HOSTILE, NOW, RIGHT_TO_LEFT, event, unpriced
from tests.dashboard.test_golden import VISITS, traffic

from penstock.dashboard.app import make_app
from penstock.ledger.store import Ledger
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import VirtualKey
from penstock.pricing.catalog import Catalog

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browser")
    with Ledger.open(folder) as ledger:
        ledger.archive_book(BOOK)
        ledger.add([event(1), event(2, team=HOSTILE, app=RIGHT_TO_LEFT), unpriced(3)], source="test")
    with served(folder) as address:
        yield address


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the pages over a ledger at an address of their own."""
    app = make_app(folder, catalog=Catalog([BOOK]), info={"sandbox": True}, now=lambda: NOW, patience=60)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # who comes before the server is up waits for it
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def chromium(folder: Path, *arguments: str) -> str:
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []  # no refused script or style, no error in a script
    return done.stdout


class DevToolsError(Exception):
    """Chromium could not do what it was asked."""


class Tab:
    """A tab of a Chromium that stays open, steered by the DevTools protocol."""

    def __init__(self, wire: aiohttp.ClientWebSocketResponse) -> None:
        self._wire = wire
        self._number = 0
        self._said: list[dict[str, Any]] = []

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        await self._wire.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            said = await self._wire.receive_json(timeout=60)
            if said.get("id") == self._number:
                if "error" in said:
                    raise DevToolsError(said["error"])
                return said["result"]
            self._said.append(said)

    def heard(self, *methods: str) -> list[dict[str, Any]]:
        """Return what the browser told of by itself so far."""
        return [said for said in self._said if said.get("method") in methods]

    async def evaluate(self, script: str) -> Any:
        found = await self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until the page says so; a page may change while it is asked."""
        deadline = time.monotonic() + 60
        while True:
            with suppress(DevToolsError):  # the page went away while it was asked
                if await self.evaluate(f"document.readyState === 'complete' && ({script})"):
                    return
            assert time.monotonic() < deadline, await self.evaluate("location.href + document.body.innerText")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def tab_of_chromium(folder: Path) -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}", "about:blank",
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        active = folder / "profile/DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not active.exists() or not active.read_text().count("\n"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        port = active.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
                pages = await reply.json()
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as wire:
                yield Tab(wire)
    finally:
        process.terminate()
        await process.wait()


def test_a_person_signs_in_and_out(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "data") as ledger:
        ledger.archive_book(BOOK)
        ledger.add([event(1)], source="test")
        key = VirtualKey(id="", name="ada", role="viewer", created=datetime.now(UTC))
        _, secret = KeyStore(ledger.state).create(key)

    async def visit(url: str) -> None:
        async with tab_of_chromium(tmp_path) as tab:
            await tab.ask("Page.enable")
            await tab.ask("Page.navigate", url=f"{url}/requests?team=support")
            await tab.until("location.pathname === '/sign-in' && document.activeElement.name === 'key'")
            await tab.ask("Input.insertText", text="psk_wrong")
            await tab.evaluate("document.querySelector('form.sign-in').requestSubmit()")
            await tab.until("document.querySelector('[role=alert]') !== null && document.activeElement.name === 'key'")
            await tab.ask("Input.insertText", text=secret)
            for kind in ("keyDown", "keyUp"):
                await tab.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                              windowsVirtualKeyCode=13)  # fmt: skip
            await tab.until("location.pathname + location.search === '/requests?team=support'")
            assert "gpt-4o" in await tab.evaluate("document.body.innerText")
            assert await tab.evaluate("document.cookie") == ""  # no script can read the session
            assert await tab.evaluate("fetch('/api/spend').then(reply => reply.status)") == 200
            # A page of another site sends the same form: it changes nothing.
            elsewhere = url.replace("127.0.0.1", "localhost")
            await tab.ask("Page.navigate", url=f"{elsewhere}/sign-in")
            await tab.until("location.hostname === 'localhost'")
            sent = f"fetch('{url}/sign-out', {{method: 'POST', mode: 'no-cors', credentials: 'include'}})"
            await tab.evaluate(f"{sent}.catch(() => 0)")
            await tab.ask("Page.navigate", url=f"{url}/")
            await tab.until(
                "location.pathname === '/' && document.querySelector('form[action=\"/sign-out\"]') !== null"
            )
            await tab.evaluate("document.querySelector('form[action=\"/sign-out\"] button').click()")
            await tab.until("location.pathname === '/sign-in'")

    with served(tmp_path / "data") as url:
        asyncio.run(visit(url))


def test_scripts_run_and_hostile_names_do_not(url: str, tmp_path: Path) -> None:
    page = chromium(tmp_path, "--dump-dom", f"{url}/")
    assert '<button type="button" id="theme-switch">Theme: system</button>' in page  # the script ran under the policy
    assert 'aria-pressed="true">Live</button>' in page
    assert "<script>alert" not in page
    assert "November to date" in page


def test_a_screenshot_is_not_blank_in_either_theme(url: str, tmp_path: Path) -> None:
    sizes = []
    for dark in ((), ("--blink-settings=preferredColorScheme=0",)):
        picture = tmp_path / f"{len(dark)}.png"
        chromium(tmp_path, f"--screenshot={picture}", "--window-size=1280,1200", *dark, f"{url}/requests")
        sizes.append(picture.read_bytes())
    assert all(len(size) > 20_000 for size in sizes)
    assert sizes[0] != sizes[1]


AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8")


async def visited(tab: Tab, address: str) -> None:
    await tab.ask("Page.navigate", url=address)
    await tab.until(f"location.href === {address!r} && document.querySelector('footer') !== null")


async def complaints_of_axe(tab: Tab, *rules: str) -> list[str]:
    """Return what axe finds that keeps people out: serious and critical violations (of some rules only)."""
    await tab.evaluate(AXE)
    chosen = f", runOnly: {{type: 'rule', values: {list(rules)!r}}}" if rules else ""
    found = await tab.evaluate(
        f"axe.run(document, {{resultTypes: ['violations']{chosen}}}).then(found => found.violations"
        ".filter(one => ['serious', 'critical'].includes(one.impact))"
        ".map(one => one.id + ': ' + one.nodes.map(node => node.html).join(' | ')))"
    )
    assert isinstance(found, list), "axe did not run"
    return found


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a ledger in which there is something on every page, hostile names among it."""
    folder = tmp_path_factory.mktemp("busy")
    with Ledger.open(folder) as ledger:
        ledger.archive_book(BOOK)
        hostile = event(5_000, team=HOSTILE, app=RIGHT_TO_LEFT, feature=HOSTILE, user=HOSTILE, run=HOSTILE)
        long = "x" * 300  # without a place to break
        endless = [
            unpriced(5_001, model=long, team=long, run="night-7"),
            event(5_002, run="night-7", app=long, outcome="error", status=503, error=long[:200]),
        ]
        ledger.add([*traffic(), hostile, *endless], source="test")
    with served(folder) as address:
        yield address


def test_no_page_keeps_anybody_out(busy: str, tmp_path: Path) -> None:
    async def visit() -> None:
        async with tab_of_chromium(tmp_path) as tab:
            await tab.ask("Page.enable")
            for path in VISITS.values():
                await visited(tab, busy + path)
                assert await complaints_of_axe(tab) == [], path
            await tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
            for path in ("/", "/runs/night-7"):
                await visited(tab, busy + path)
                assert await complaints_of_axe(tab, "color-contrast") == [], path

    asyncio.run(visit())


def test_pages_fetch_nothing_from_elsewhere_and_say_what_the_api_says(busy: str, tmp_path: Path) -> None:
    """Nor is there an error in the console, or a page that is wider than its window."""

    async def visit() -> None:
        async with tab_of_chromium(tmp_path) as tab:
            for domain in ("Page", "Network", "Log", "Runtime"):
                await tab.ask(f"{domain}.enable")
            for width in (1360, 800, 390):
                await tab.ask(
                    "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
                )
                for path in VISITS.values():
                    await visited(tab, busy + path)
                    beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                    assert await tab.evaluate(beyond) <= 0, (width, path)
            await tab.ask("Emulation.clearDeviceMetricsOverride")
            await _filters_stay(tab, busy)
            await _charts_speak(tab, busy)
            asked = {said["params"]["request"]["url"] for said in tab.heard("Network.requestWillBeSent")}
            assert {address for address in asked if not address.startswith((f"{busy}/", "data:"))} == set()
            assert tab.heard("Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []
            logged = [said["params"]["entry"] for said in tab.heard("Log.entryAdded")]
            assert [entry for entry in logged if entry["level"] in ("error", "warning")] == []

    asyncio.run(visit())


def test_on_a_telephone_no_table_is_wider_than_its_place(busy: str, tmp_path: Path) -> None:
    """Rows become blocks there, and each figure says what it is; charts keep names and bars apart."""

    async def visit() -> None:
        async with tab_of_chromium(tmp_path) as tab:
            await tab.ask("Page.enable")
            await tab.ask(
                "Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False
            )
            for path in VISITS.values():
                await visited(tab, busy + path)
                await tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
                wide = (
                    "[...document.querySelectorAll('.scroll > table')].map(one => [one.caption.innerText, "
                    "one.scrollWidth - one.parentElement.clientWidth]).filter(([, beyond]) => beyond > 0)"
                )
                assert await tab.evaluate(wide) == [], path
                mixed = (
                    "[...document.querySelectorAll('.ranked .name')].filter(one => one.getBoundingClientRect().right > "
                    "one.closest('foreignObject').nextElementSibling.getBoundingClientRect().left).length"
                )
                assert await tab.evaluate(mixed) == 0, path
            await visited(tab, f"{busy}/requests")
            said = "getComputedStyle(document.querySelector('td.strong'), '::before').content"
            assert await tab.evaluate(said) == '"Cost"'

    asyncio.run(visit())


async def _filters_stay(tab: Tab, url: str) -> None:
    """Fill in the form, move on by the navigation, take the filter away again; hold the figures against the API."""
    await visited(tab, f"{url}/?period=90d")
    await tab.evaluate("document.querySelector('form.filters input[name=team]').value = 'finance'")
    await tab.evaluate("document.querySelector('form.filters').requestSubmit()")
    await tab.until("location.search.includes('team=finance')")
    spent = (await tab.evaluate("fetch('/api/spend?only=team%3Dfinance&from=90d').then(reply => reply.json())"))[
        "total"
    ]
    shown = "document.querySelector('#live-cards .figure').title"
    assert await tab.evaluate(shown) == f"${spent}"
    for name in ("Models", "Chargeback", "Tokens", "Requests", "Agent runs", "Prices", "Summary"):
        await tab.evaluate(f"[...document.querySelectorAll('.side a')].find(a => a.textContent === '{name}').click()")
        await tab.until(f"document.querySelector('.side [aria-current]').textContent === '{name}'")
        assert "team=finance" in await tab.evaluate("location.search"), name
        assert "period=90d" in await tab.evaluate("location.search"), name
    assert await tab.evaluate(shown) == f"${spent}"
    await tab.evaluate("document.querySelector('.chips a').click()")
    await tab.until("!location.search.includes('team')")
    whole = await _total(tab, "from=90d")
    assert await tab.evaluate(shown) == f"${whole}"
    rows = "[...document.querySelectorAll('#figure-by-model-provider tbody tr')].map(row => row.cells[0].innerText)"
    await tab.evaluate("document.querySelector('#by-model-provider-table').open = true")
    assert await tab.evaluate(rows) == ["gpt-4o", "gpt-4o-mini", "mystery 1 unpriced", f"{'x' * 300} 1 unpriced"]


async def _total(tab: Tab, query: str) -> str:
    total: str = await tab.evaluate(f"fetch('/api/spend?{query}').then(reply => reply.json()).then(one => one.total)")
    return total


async def _charts_speak(tab: Tab, url: str) -> None:
    """Go through a chart by keys: each column says its figures, and the focus leaves nothing behind."""
    await visited(tab, f"{url}/models")
    await tab.evaluate("document.querySelector('#figure-per-day svg.chart').focus()")
    tip = "document.querySelector('output.tip')"
    for key, said in (("End", "23 Nov: "), ("ArrowLeft", "22 Nov: "), ("Home", "25 Oct: ")):
        await tab.ask("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
        assert (await tab.evaluate(f"{tip}.textContent")).startswith(said)
    assert await tab.evaluate(f"{tip}.hidden") is False
    await tab.ask("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape")
    assert await tab.evaluate(f"{tip}.hidden") is True
    assert await tab.evaluate(
        "document.querySelectorAll('.hit').length === document.querySelectorAll('.hit title').length"
    )
