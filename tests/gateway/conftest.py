"""A whole gateway, started as a user starts it, with the sandbox for the paid APIs."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

SANDBOX = """
[[providers]]
name = "sandbox-openai"
kind = "sandbox"
bills_as = "openai"

[[providers]]
name = "sandbox-azure"
kind = "sandbox"
bills_as = "azure"
models = ["azure-*"]

[[providers]]
name = "sandbox-anthropic"
kind = "sandbox"
bills_as = "anthropic"
"""


_PORTS = itertools.count(os.getpid() * 101)


def free_port() -> int:
    """Find a port below those that the system hands out, so that nobody takes it before the server does."""
    for number in _PORTS:
        port = 20_000 + number % 12_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError  # the ports are counted without end


class Server:
    """`penstock serve` in processes of its own."""

    def __init__(self, folder: Path, settings: str, *options: str, environment: dict[str, str] | None = None,
                 data: Path | None = None, port: int = 0) -> None:  # fmt: skip
        self.folder = folder
        self.data = data or folder / "data"
        self.last_bill = ""
        """Dollars that the sandbox had billed when it was told to stop."""
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        file = folder / "penstock.toml"
        file.write_text(settings, "utf-8")
        self.log = folder / "server.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "serve", "--port", str(self.port), "--config", str(file),
                 "--data", str(self.data), *options],
                stdout=log, stderr=log, env={**os.environ, **(environment or {})},
            )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.stop()  # nobody else knows of it
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            said = self.log.read_text()
            assert self.process.poll() is None, said
            assert "Traceback" not in said, said
            if b"Penstock is ready" in self.log.read_bytes():
                return
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def get(self, path: str):
        """GET a JSON document."""
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return json.load(reply)

    def post(self, path: str, body: dict | bytes, headers: dict[str, str] | None = None):
        """POST JSON; return status, headers, body, whatever the status is."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"content-type": "application/json", **(headers or {})}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, dict(reply.headers), reply.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def bill(self) -> dict:
        """What the sandbox says it billed."""
        return self.get("/sandbox/bill")

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return self.children("worker-")

    def children(self, role: str) -> list[int]:
        """Process ids of the children whose role begins so."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                if parent == self.process.pid and any(word.startswith(role.encode()) for word in words):
                    found.append(int(entry.name))
        return found

    def stop(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(OSError, KeyError):
                self.last_bill = self.bill()["totals"]["cost"]
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def start(tmp_path):
    """Start servers; they are stopped at the end."""
    servers = []

    def start_one(settings: str = SANDBOX, *options: str, environment=None, data=None, port=0) -> Server:
        folder = tmp_path / f"server-{len(servers)}"
        folder.mkdir()
        servers.append(Server(folder, settings, *options, environment=environment, data=data, port=port))
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for the tests of a module."""
    one = Server(tmp_path_factory.mktemp("server"), SANDBOX)
    yield one
    one.stop()
