"""Who is measured: each candidate starts itself on a free loopback port and relays to the fake upstream."""

import getpass
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

from benchmarks.processes import Processes, cpu_seconds, free_port, peak_megabytes
from benchmarks.replies import CACHED_PRICE, INPUT_PRICE, MODEL, OUTPUT_PRICE
from benchmarks.wire.ends import Upstream

KEY_VARIABLE = "PENSTOCK_BENCH_KEY"


class Candidate(ABC):
    """Something between client and upstream. `missing` says why it cannot be run here; empty: it can."""

    name: str
    title: str
    missing: str = ""
    version: str = ""
    path: str = "/v1/chat/completions"
    model: str = MODEL
    check: Literal["bytes", "marker"] = "bytes"
    """`marker` for gateways that write replies anew: then only the text's end is looked for."""
    slow: bool = False
    """It manages less than a hundred requests a second."""
    peer: bool = False
    """Made by others: its faults are told, and are no fault of the run."""
    port: int
    processes: Processes

    def headers(self) -> dict[str, str]:
        """Return what a client sends besides the usual: the same to all, and here who is to pay."""
        return {"authorization": "Bearer sk-bench", "x-penstock-team": "search", "x-penstock-feature": "answers"}

    @abstractmethod
    def start(self, upstream: Upstream, folder: Path) -> None:
        """Start, and return when it answers. `folder` is its own and empty."""

    def stop(self) -> None:
        """End what was started."""
        self.processes.stop()

    def cpu(self) -> dict[str, float]:
        """Return seconds of CPU used so far, by role."""
        return self.processes.cpu()

    def peak(self) -> dict[str, float]:
        """Return peak memory in MB, by role."""
        return self.processes.peak()


class Direct(Candidate):
    """No gateway: the client talks to the upstream. Its CPU is the upstream's own."""

    name = "direct"
    title = "no gateway (CPU and memory: of the fake upstream itself)"

    def start(self, upstream: Upstream, _folder: Path) -> None:
        self.port, self._pid = upstream.port, upstream.pid

    def stop(self) -> None:
        """Leave the upstream to whoever started it."""

    def cpu(self) -> dict[str, float]:
        return {"all": cpu_seconds(self._pid)}

    def peak(self) -> dict[str, float]:
        return {"all": peak_megabytes(self._pid)}


NGINX_CONFIGURATION = """\
{user}daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    client_max_body_size 32m; client_body_buffer_size 2m;
    keepalive_requests 1000000000; keepalive_timeout 1h;
    upstream model {{
        server 127.0.0.1:{upstream};
        keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /healthz {{ return 200; }}
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


class Nginx(Candidate):
    """The yardstick: relays bytes, parses no body, meters nothing."""

    name = "nginx"
    title = "nginx, one worker, keep-alive both ways, no buffering: relays only"

    def __init__(self) -> None:
        self._program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if not self._program:
            self.missing = "nginx is not installed (Debian: apt-get install nginx-light)"
            return
        said = subprocess.run([self._program, "-v"], capture_output=True, text=True, check=False).stderr
        self.version = said.strip().rpartition("/")[2]

    def start(self, upstream: Upstream, folder: Path) -> None:
        self.port = free_port()
        user = f"user {getpass.getuser()};\n" if os.geteuid() == 0 else ""
        text = NGINX_CONFIGURATION.format(user=user, folder=folder, upstream=upstream.port, port=self.port)
        (folder / "nginx.conf").write_text(text)
        assert self._program is not None
        self.processes = Processes(
            [self._program, "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"],
            folder / "nginx.log",
        )
        self.processes.start()
        self.processes.wait_for(self.port, "/healthz", seconds=10)


POLICIES = {"unpriced": '[prices]\nunpriced = "refuse"\n'}
"""What every call is held to without being configured for it, and what switches it on."""
GOVERNANCE = {
    "budgets": '[[budgets]]\ndollars = 1000000\n[[budgets]]\nscope = "team=*"\nper = "day"\ndollars = 1000000\n'
    "[[limits]]\nrequests_per_minute = 60000000\n",
}
"""What a call is held to where somebody has set it. The names of both are those in `penstock.policies`."""

PENSTOCK_CONFIGURATION = """\
[ledger]
fsync = "{fsync}"

{policies}
[[providers]]
name = "bench"
kind = "openai"
base_url = "http://127.0.0.1:{upstream}/v1"
api_key_env = "{key}"
connections = 1024

[[prices.rows]]
provider = "openai"
model = "{model}"
input = "{input}"
cache_read = "{cached}"
output = "{output}"
"""


def _role(command: str) -> str:
    """Name a process of `penstock serve` by its command line."""
    if "penstock.app worker" in command:
        return "worker"
    if "penstock.app control" in command:
        return "control"
    return "supervisor"


class Penstock(Candidate):
    """The gateway as a newcomer starts it: one worker, the control process, the supervisor."""

    patience = 60.0
    """Seconds until it must be ready. `under` is a program that runs it and looks on."""

    def __init__(
        self,
        name: str,
        title: str,
        *,
        fsync: str,
        path: str = "",
        booked: bool = True,
        under: tuple[str, ...] = (),
        governed: bool = False,
    ) -> None:
        self.policies = (POLICIES | GOVERNANCE) if governed else POLICIES
        self.name, self.title, self._fsync, self.booked, self._under = name, title, fsync, booked, under
        self.path = path or Candidate.path
        self.program = Path(sys.executable).with_name("penstock")
        if not self.program.exists():
            self.missing = f"there is no {self.program}; set it up with: make test"
            return
        from penstock import __version__

        self.version = __version__

    def start(self, upstream: Upstream, folder: Path) -> None:
        self.port = free_port()
        self.data = folder / "data"
        self.file = folder / "penstock.toml"
        self.file.write_text(
            PENSTOCK_CONFIGURATION.format(
                fsync=self._fsync, upstream=upstream.port, key=KEY_VARIABLE, model=MODEL,
                input=INPUT_PRICE, cached=CACHED_PRICE, output=OUTPUT_PRICE, policies="\n".join(self.policies.values()),
            )
        )  # fmt: skip
        self.processes = Processes(
            [*self._under, str(self.program), "serve", "--config", str(self.file), "--port", str(self.port),
             "--workers", "1", "--data", str(self.data)],
            folder / "penstock.log", {KEY_VARIABLE: "sk-upstream"}, _role,
        )  # fmt: skip
        self.processes.start()
        self.processes.wait_for(self.port, "/readyz", seconds=self.patience)


def usual() -> list[Candidate]:
    """Return the candidates of every run, in the order in which they take turns."""
    return [
        Direct(),
        Nginx(),
        Penstock(
            "penstock-relay", "Penstock's engine alone: an unmetered path, relayed as it is",
            fsync="interval", path="/v1/files", booked=False,
        ),
        Penstock("penstock", "Penstock: metering, exact prices, no call without a price, ledger with fsync = interval",
                 fsync="interval"),
        Penstock("penstock-governed", "the same, and two budgets and a rate limit hold every call",
                 fsync="interval", governed=True),
        Penstock("penstock-always", "the same with fsync = always: a reply ends when its event is on the disk",
                 fsync="always"),
    ]  # fmt: skip


def chosen(candidates: list[Candidate], names: frozenset[str]) -> list[Candidate]:
    """Keep the candidates that were named, and the two that everything is compared with."""
    if not names:
        return candidates
    return [candidate for candidate in candidates if candidate.name in names | {"direct", "nginx"}]
