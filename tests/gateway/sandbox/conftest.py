"""A sandbox on a real socket, and the official clients pointed at it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from openai import AzureOpenAI, OpenAI

from penstock.gateway.sandbox.server import make_server
from penstock.gateway.sandbox.settings import SandboxSettings

BUSY = 60
"""Seconds that a busy machine may take for an answer."""


class Sandbox:
    """Where it listens, and what it has billed."""

    def __init__(self, url: str) -> None:
        self.url = url

    def bill(self) -> dict[str, Any]:
        return httpx2.get(f"{self.url}/sandbox/bill", timeout=BUSY).json()

    def entries(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many calls are billed."""
        until = time.monotonic() + 60
        while len(entries := self.bill()["entries"]) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(entries) == count
        return entries

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.post(self.url + path, json=body, headers=named, timeout=BUSY)


@contextmanager
def running(settings: SandboxSettings) -> Iterator[Sandbox]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # who comes before the server is up waits for it
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
    httpx2.delete(f"{served.url}/sandbox/bill", timeout=BUSY)
    return served


class Clients:
    """The official clients, one for each place and key, closed at the end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._known: dict[tuple[object, ...], Any] = {}

    def openai(self, url: str, key: str = "any", path: str = "/v1") -> OpenAI:
        client: OpenAI = self._client(OpenAI, base_url=url + path, api_key=key)
        return client

    def azure(self, url: str, key: str = "any") -> AzureOpenAI:
        client: AzureOpenAI = self._client(AzureOpenAI, azure_endpoint=url, api_key=key, api_version="2024-10-21")
        return client

    def anthropic(self, url: str, key: str = "any") -> Anthropic:
        client: Anthropic = self._client(Anthropic, base_url=url, api_key=key)
        return client

    def _client(self, kind: Any, **fields: str) -> Any:
        place = (kind, *fields.values())
        if place not in self._known:
            self._known[place] = self._stack.enter_context(kind(**fields, max_retries=0))
        return self._known[place]


@pytest.fixture(scope="session")
def clients() -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(stack)
