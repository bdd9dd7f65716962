"""Builds, starts and asks the two ends of the wire."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from benchmarks.errors import BenchmarkError
from benchmarks.replies import REPLIES, Reply, write_replies

HERE = Path(__file__).parent
LOAD_PATIENCE = 90.0
"""Seconds beyond its own time after which a load client is given up."""


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "penstock-benchmarks"


def compiled(name: str, compiler: str | None = None) -> Path | None:
    """Compile `name`.c unless that was done before; None where there is no compiler."""
    compiler = compiler if compiler is not None else shutil.which("cc")
    if not compiler:
        return None
    source = (HERE / "wire.h").read_bytes() + (HERE / f"{name}.c").read_bytes()
    program = _cache() / f"{name}-{hashlib.sha256(source).hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        part = program.with_suffix(f".{os.getpid()}")
        built = subprocess.run(
            [compiler, "-O2", "-o", str(part), str(HERE / f"{name}.c")], capture_output=True, text=True, check=False
        )
        if built.returncode:
            raise BenchmarkError(f"{compiler} could not build {name}.c: {built.stderr[-600:]}")
        part.replace(program)
    return program


@dataclass(frozen=True)
class Ends:
    """How to run both ends, and in which language."""

    language: str
    upstream: tuple[str, ...]
    load: tuple[str, ...]


def ends(*, python: bool = False) -> Ends:
    """Choose C where it can be compiled, else Python."""
    programs = [] if python else [compiled("upstream"), compiled("load")]
    if len(programs) == 2 and all(programs):
        return Ends("C", (str(programs[0]),), (str(programs[1]),))
    command = (sys.executable, "-m")
    return Ends("Python", (*command, "benchmarks.wire.upstream"), (*command, "benchmarks.wire.load"))


class Upstream:
    """The fake provider while it runs; a context manager."""

    def __init__(self, how: Ends, folder: Path, replies: tuple[Reply, ...] = REPLIES) -> None:
        self.replies = folder / "replies.bin"
        write_replies(self.replies, replies)
        self._process = subprocess.Popen(
            [*how.upstream, str(self.replies)], stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("port "):
            raise BenchmarkError(f"The fake upstream did not start: it said {line!r}.")
        self.port = int(line.split()[1])
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _get(self, path: str) -> dict[str, int]:
        with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            document: dict[str, int] = json.load(answer)
            return document

    def pace(self, stream_us: int, answer_us: int) -> None:
        """Set the time between two events of a stream, and the time before a plain answer."""
        self._get(f"/pace/{stream_us}/{answer_us}")

    def bill(self) -> dict[str, int]:
        """Return what it has billed since it started: requests and tokens."""
        return self._get("/bill")


def http_request(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a POST."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n{lines}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def run_load(
    how: Ends,
    upstream: Upstream,
    *,
    port: int,
    request: bytes,
    stream: bool,
    connections: int,
    seconds: float,
    usage: bool = True,
    rate: float = 0.0,
    check: str = "bytes",
) -> dict[str, Any]:
    """Send `request` again and again, with changing seeds, and return what the load client saw."""
    file = upstream.replies.with_name("request.bin")
    file.write_bytes(request)
    keys = {
        "port": port, "request": file, "replies": upstream.replies, "stream": int(stream), "usage": int(usage),
        "check": check, "connections": connections, "seconds": seconds, "rate": rate,
    }  # fmt: skip
    command = [*how.load, *(f"{name}={value}" for name, value in keys.items())]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds + LOAD_PATIENCE,
            check=False,
            cwd=HERE.parent.parent,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError("The load client did not come to an end.") from None
    if done.returncode:
        raise BenchmarkError(f"The load client ended with code {done.returncode}: {done.stderr[-600:].strip()}")
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
