"""Serve the sandbox on a unix socket or on the loopback address, and nowhere else."""

from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.errors import InputError
from penstock.gateway.sandbox.app import make_app
from penstock.gateway.sandbox.line import CUT
from penstock.gateway.sandbox.settings import SandboxSettings
from penstock.gateway.sandbox.tokens import count_text


class CuttingProtocol(HttpToolsProtocol):
    """HTTP whose connection the app may close at any point."""

    def on_message_begin(self) -> None:
        """Offer the way to close with the scope of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"close": self.transport.close}}


def make_server(settings: SandboxSettings, *, uds: Path | None = None, port: int | None = None) -> uvicorn.Server:
    """Make a server for a socket's path or a loopback port (0: any free one)."""
    if (uds is None) is (port is None):
        raise InputError("The sandbox listens on a unix socket or on a port: give --uds PATH or --port N.")
    place: dict[str, Any] = {"uds": str(uds)} if uds else {"host": "127.0.0.1", "port": port}
    count_text("gpt-4o", "warm")  # loads the vocabulary, so that the first call is as quick as the next
    config = uvicorn.Config(
        make_app(settings), **place, http=CuttingProtocol, loop="uvloop", ws="none", lifespan="off",
        log_level="critical", access_log=False, server_header=False, backlog=2048, timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    return uvicorn.Server(config)
