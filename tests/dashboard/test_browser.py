"""The pages in a real Chromium."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from tests.dashboard.conftest import BOOK, HOSTILE, NOW, RIGHT_TO_LEFT, event, unpriced

from penstock.dashboard.app import make_app
from penstock.ledger.store import Ledger
from penstock.pricing.catalog import Catalog

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browser")
    with Ledger.open(folder) as ledger:
        ledger.archive_book(BOOK)
        ledger.add([event(1), event(2, team=HOSTILE, app=RIGHT_TO_LEFT), unpriced(3)], source="test")
    app = make_app(folder, catalog=Catalog([BOOK]), info={"sandbox": True}, now=lambda: NOW)
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
