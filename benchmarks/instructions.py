"""How many instructions of a worker's own a call takes: `python -m benchmarks.instructions`.

Microseconds depend on who else is running; instructions hardly do. valgrind counts those of the worker in user space
(the kernel's are not among them). Three runs that differ only in how many calls they make give the cost of one.
"""

import http.client
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from benchmarks.candidates import Penstock
from benchmarks.errors import BenchmarkError
from benchmarks.replies import FIRST_SEED, REPLIES, STREAM_CHUNKS, request_body
from benchmarks.results import OURS, grid
from benchmarks.wire.ends import Upstream, ends

FEW = {"plain": 100, "streams": 20}
READY_SECONDS = 300.0

app = App(name="python -m benchmarks.instructions")


@app.default
def instructions(
    *,
    calls: Annotated[int, Parameter(help="Calls that are counted: plain ones; and a fifth as many streams.")] = 500,
    governed: Annotated[bool, Parameter(help="Under two budgets and a rate limit.", negative="")] = False,
) -> int:
    """Count the worker's instructions for a plain call, and for a chunk of a stream (100 chunks with one read).

    Takes a minute or two. Calls come one after the other on one connection. Needs valgrind (Debian: apt-get install
    valgrind).
    """
    try:
        base = count(**FEW, governed=governed)
        plain = count(plain=FEW["plain"] + calls, streams=FEW["streams"], governed=governed)
        streamed = count(plain=FEW["plain"], streams=FEW["streams"] + calls // 5, governed=governed)
    except BenchmarkError as error:
        print(f"benchmarks.instructions: {error}", file=sys.stderr)
        return 2
    stream = (streamed - base) / (calls // 5)
    lines = [
        ["a plain call, 1 KB in, 1.1 KB out", f"{(plain - base) / calls:,.0f}"],
        [f"a streamed call with {STREAM_CHUNKS} chunks", f"{stream:,.0f}"],
        ["for each of its chunks", f"{stream / STREAM_CHUNKS:,.0f}"],
        ["its start, its end and the first calls", f"{base:,}"],
    ]
    print(grid(("instructions of the worker in user space", ""), lines))
    return 0


def count(*, plain: int, streams: int, governed: bool = False) -> int:
    """Return the instructions of a worker that answers that many calls, from its start to its end."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        raise BenchmarkError("valgrind is not installed (Debian: apt-get install valgrind)")
    print(f"counting {plain} plain and {streams} streamed calls", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="penstock-instructions-") as scratch:
        folder = Path(scratch)
        under = (
            valgrind, "--tool=cachegrind", "--cache-sim=no", "-q", "--trace-children=yes",
            "--trace-children-skip-by-arg=*control*", f"--cachegrind-out-file={folder}/counted.%p",
        )  # fmt: skip
        candidate = Penstock(OURS, "", fsync="interval", under=under, governed=governed)
        candidate.patience = READY_SECONDS
        if candidate.missing:
            raise BenchmarkError(candidate.missing)
        own = folder / "own"
        own.mkdir()
        with Upstream(ends(), folder) as upstream:
            candidate.start(upstream, own)
            try:
                ask(candidate, plain, stream=False)
                ask(candidate, streams, stream=True)
            finally:
                candidate.stop()
        for file in folder.glob("counted.*"):
            if (found := counted(file.read_text())) is not None:
                return found
    raise BenchmarkError("valgrind has written nothing about the worker.")


def counted(text: str) -> int | None:
    """Read a file of cachegrind: the instructions, if it is about a worker."""
    lines = text.splitlines()
    if not any(line.startswith("cmd:") and "penstock.app worker" in line for line in lines):
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("summary:")), None)


def ask(candidate: Penstock, calls: int, *, stream: bool) -> None:
    """Make calls one after the other, and compare each reply with what the upstream sends."""
    body = request_body(stream=stream)
    connection = http.client.HTTPConnection("127.0.0.1", candidate.port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {"content-type": "application/json", **candidate.headers()}
    for n in range(calls):
        reply = REPLIES[n % len(REPLIES)]
        seeded = body.replace(b'"seed":%d' % FIRST_SEED, b'"seed":%d' % reply.seed)
        connection.request("POST", candidate.path, seeded, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200 or not said.startswith(reply.body(stream=stream, usage=True)):
            raise BenchmarkError(f"A reply was wrong: {answer.status} {said[:200]!r}")
    connection.close()


if __name__ == "__main__":
    sys.exit(app())
