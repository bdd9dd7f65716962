"""A sandbox on a real socket, and the official clients pointed at it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from penstock.gateway.sandbox.server import make_server
from penstock.gateway.sandbox.settings import SandboxSettings


class Sandbox:
    """Where it listens, and what it has billed."""

    def __init__(self, url: str) -> None:
        self.url = url

    def bill(self) -> dict[str, Any]:
        return httpx2.get(f"{self.url}/sandbox/bill").json()

    def entries(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many calls are billed."""
        for _ in range(200):
            entries = self.bill()["entries"]
            if len(entries) >= count:
                break
            time.sleep(0.01)
        assert len(entries) == count
        return entries

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.post(self.url + path, json=body, headers=named)


@contextmanager
def running(settings: SandboxSettings) -> Iterator[Sandbox]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = make_server(settings, port=0)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Sandbox(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def served() -> Iterator[Sandbox]:
    with running(SandboxSettings(deployments={"chat-prod": "gpt-4o"})) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(served: Sandbox) -> Sandbox:
    httpx2.delete(f"{served.url}/sandbox/bill")
    return served
