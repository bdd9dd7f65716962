"""Other gateways, where they can be run: pinned, in folders of their own, never in ours."""

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from benchmarks.candidates import Candidate
from benchmarks.environments import PINS, environment, fingerprint, run, version_in
from benchmarks.errors import BenchmarkError
from benchmarks.processes import Processes, free_port
from benchmarks.replies import MODEL
from benchmarks.wire.ends import Upstream


class Peer(Candidate, ABC):
    """A gateway of others. `prepare` installs it, or sets `missing`."""

    check = "marker"
    slow = True
    peer = True

    @abstractmethod
    def prepare(self, folder: Path, say: Callable[[str], None]) -> None:
        """Install it into a place of its own below `folder`."""


LITELLM_CONFIGURATION = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: sk-upstream
general_settings:
  master_key: sk-bench
litellm_settings:
  telemetry: false
  num_retries: 0
"""


class LiteLLM(Peer):
    """LiteLLM's proxy with a master key, without database or Redis; one worker."""

    def __init__(self, *, granian: bool) -> None:
        self.name = "litellm-granian" if granian else "litellm"
        self.title = f"LiteLLM proxy, {'--run_granian' if granian else 'its default server'}, no database"
        self._options = ["--run_granian"] if granian else []

    def prepare(self, folder: Path, say: Callable[[str], None]) -> None:
        self._bin = environment(folder, "peers", say)
        self.version = version_in(self._bin / "python", "litellm")

    def start(self, upstream: Upstream, folder: Path) -> None:
        self.port = free_port()
        file = folder / "litellm.yaml"
        file.write_text(LITELLM_CONFIGURATION.format(model=MODEL, upstream=upstream.port))
        self.processes = Processes(
            [str(self._bin / "litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(self.port),
             "--num_workers", "1", *self._options],
            folder / "litellm.log",
            {
                "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_LOG": "ERROR", "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1",
            },
        )  # fmt: skip
        self.processes.start()
        self.processes.wait_for(self.port, "/health/liveliness", seconds=180)


TENSORZERO_CONFIGURATION = """\
[gateway.observability]
enabled = false

[models."{model}"]
routing = ["bench"]

[models."{model}".providers.bench]
type = "openai"
model_name = "{model}"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "none"
"""
TENSORZERO_PROGRAM = """\
import sys, threading
from openai import OpenAI
from tensorzero import patch_openai_client
client = OpenAI(api_key="unused")
patched = patch_openai_client(client, config_file=sys.argv[1], async_setup=False)
print("base", patched.base_url, flush=True)
threading.Event().wait()
"""


class TensorZero(Peer):
    """TensorZero's gateway (Rust), as its Python package embeds it; observability off."""

    name = "tensorzero"
    title = "TensorZero embedded gateway (Rust), observability off"
    path = "/openai/v1/chat/completions"
    model = f"tensorzero::model_name::{MODEL}"
    slow = False

    def prepare(self, folder: Path, say: Callable[[str], None]) -> None:
        self._bin = environment(folder, "peers", say)
        self.version = version_in(self._bin / "python", "tensorzero")

    def start(self, upstream: Upstream, folder: Path) -> None:
        file, program = folder / "tensorzero.toml", folder / "embedded.py"
        file.write_text(TENSORZERO_CONFIGURATION.format(model=MODEL, upstream=upstream.port))
        program.write_text(TENSORZERO_PROGRAM)
        self.processes = Processes(
            [str(self._bin / "python"), str(program), str(file)], folder / "tensorzero.log", {"NO_PROXY": "127.0.0.1"}
        )
        self.processes.start()
        self.port = self.processes.wait_for_line(r"base http://[^:/]+:(\d+)/", seconds=60)


class Portkey(Peer):
    """Portkey's gateway (Node), from its npm package."""

    name = "portkey"
    title = "Portkey gateway (Node), npm package"
    slow = True

    def headers(self) -> dict[str, str]:
        return {
            **super().headers(),
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{self._upstream}/v1",
        }

    def prepare(self, folder: Path, say: Callable[[str], None]) -> None:
        node, npm = shutil.which("node"), shutil.which("npm")
        if not node or not npm:
            self.missing = "node and npm are not installed"
            return
        pins = [PINS / "portkey" / name for name in ("package.json", "package-lock.json")]
        self._node, home = node, folder / f"portkey-{fingerprint(*pins)}"
        package = home / "node_modules" / "@portkey-ai" / "gateway"
        if not (home / "complete").exists():
            say(f"installing the Portkey gateway into {home} (once)")
            home.mkdir(parents=True, exist_ok=True)
            for file in pins:
                shutil.copy(file, home)
            run([npm, "ci", "--silent", "--ignore-scripts"], "npm ci of the Portkey gateway", folder=home)
            (home / "complete").touch()
        self._server = package / "build" / "start-server.js"
        ask = "process.stdout.write(require(process.argv[1]).version)"
        self.version = subprocess.run(
            [node, "-e", ask, str(package / "package.json")], capture_output=True, text=True, check=False
        ).stdout

    def start(self, upstream: Upstream, folder: Path) -> None:
        self.port, self._upstream = free_port(), upstream.port
        self.processes = Processes(
            [self._node, str(self._server), f"--port={self.port}", "--headless"], folder / "portkey.log",
            {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        )  # fmt: skip
        self.processes.start()
        self.processes.wait_for(self.port, "/", seconds=60)


def peers(folder: Path, say: Callable[[str], None], wanted: frozenset[str]) -> list[Peer]:
    """Install the peers that are wanted (all, where none is named); one that cannot be installed says why."""
    every = [LiteLLM(granian=False), LiteLLM(granian=True), TensorZero(), Portkey()]
    found = [peer for peer in every if not wanted or peer.name in wanted]
    for peer in found:
        try:
            peer.prepare(folder, say)
        except BenchmarkError as error:
            peer.missing = str(error)
    return found


PEER_NAMES = ("litellm", "litellm-granian", "tensorzero", "portkey")
