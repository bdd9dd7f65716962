import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from penstock.errors import InputError
from penstock.gateway.sandbox.server import make_server
from penstock.gateway.sandbox.settings import SandboxSettings


def test_a_place_to_listen_must_be_given_and_only_one(tmp_path: Path) -> None:
    for place in ({}, {"uds": tmp_path / "s", "port": 1}):
        with pytest.raises(InputError, match="--uds PATH or --port N"):
            make_server(SandboxSettings(), **place)  # type: ignore[arg-type]


def test_it_serves_on_a_unix_socket_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.sock"
    command = [sys.executable, "-m", "penstock.gateway.sandbox", "--uds", str(path), "--deployment.mine", "gpt-4.1"]
    process = subprocess.Popen(command)
    try:
        wait_until_somebody_listens(path, process)
        with httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://sandbox", timeout=60
        ) as client:
            reply = client.post("/openai/v1/responses", json={"model": "mine", "input": "hello"})
        assert reply.json()["model"] == "gpt-4.1-2025-04-14"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)


def wait_until_somebody_listens(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Try the socket: its file is there a little earlier than its listener."""
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(str(path)):
            assert process.poll() is None
            time.sleep(0.05)
