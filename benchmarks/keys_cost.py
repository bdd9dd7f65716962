"""What virtual keys cost a call: `python -m benchmarks.keys_cost` prints a worker's CPU with and without, as ratios."""

import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.candidates import Penstock
from benchmarks.errors import BenchmarkError
from benchmarks.processes import cpu_seconds
from benchmarks.replies import MODEL, request_body
from benchmarks.wire.ends import Ends, Upstream, ends, http_request, run_load
from benchmarks.workloads import JSON
from penstock.ledger.state import State
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import VirtualKey

ROUNDS = 9
SECONDS = 1.0


class Keyed(Penstock):
    """The gateway with that many keys; the last of them calls."""

    def __init__(self, title: str, keys: int, models: Sequence[str] = ()) -> None:
        super().__init__(f"keys-{keys}-{len(models)}", title, fsync="interval")
        self._keys, self._models, self._secret = keys, tuple(models), "sk-bench"

    def headers(self) -> dict[str, str]:
        return super().headers() | {"authorization": f"Bearer {self._secret}"}

    def start(self, upstream: Upstream, folder: Path) -> None:
        (folder / "data").mkdir()
        state = State(folder / "data/state.sqlite")
        for _ in range(self._keys):
            key = VirtualKey(id="", name="", team="search", models=self._models, created=datetime.now(UTC))
            _, self._secret = KeyStore(state).create(key)
        state.close()
        super().start(upstream, folder)


def worker_of(candidate: Penstock) -> int:
    """Return the process id of the worker."""
    (worker,) = (pid for pid, role in candidate.processes.pids().items() if role == "worker")
    return worker


def microseconds(how: Ends, upstream: Upstream, candidate: Penstock) -> float:
    """Return a worker's CPU for a call."""
    request = http_request(candidate.port, candidate.path, request_body(stream=False), candidate.headers())
    upstream.pace(JSON.pace_us, JSON.answer_us)
    before = cpu_seconds(worker_of(candidate))
    seen = run_load(
        how, upstream, port=candidate.port, request=request, stream=False, connections=JSON.connections, seconds=SECONDS
    )
    if seen["errors"] or seen["wrong"] or not seen["done"]:
        raise BenchmarkError(f"{candidate.title}: a reply was wrong or missing: {seen['trouble']}")
    return (cpu_seconds(worker_of(candidate)) - before) * 1e6 / int(seen["done"])


def main() -> int:
    """Load each in turn, round after round, so that what else the machine does meets all of them."""
    candidates = [
        Keyed("no key", 0),
        Keyed("one key", 1),
        Keyed("the last of 300 keys, limited to models", 300, ["gpt-other*", MODEL]),
    ]
    how = ends()
    found: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    started: list[Keyed] = []
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-keys-") as scratch, Upstream(how, Path(scratch)) as upstream:
            for candidate in candidates:
                folder = Path(scratch) / candidate.name
                folder.mkdir()
                candidate.start(upstream, folder)
                started.append(candidate)
                microseconds(how, upstream, candidate)  # once to warm up
            for _ in range(ROUNDS):
                for candidate in candidates:
                    found[candidate.name].append(microseconds(how, upstream, candidate))
            for candidate in started:
                candidate.stop()
            started.clear()
    except BenchmarkError as error:
        print(f"benchmarks.keys_cost: {error}", file=sys.stderr)
        return 2
    finally:
        for candidate in started:
            candidate.stop()
    base = min(found[candidates[0].name])
    for candidate in candidates:
        cost = min(found[candidate.name])  # what else the machine does only adds
        print(f"{candidate.title:45} {cost:7.1f} µs of the worker's CPU a call, {cost / base:5.3f} times no key's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
