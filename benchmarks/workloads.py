"""What is asked of every candidate: each workload is one table of the results."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One way to load a candidate."""

    name: str
    title: str
    stream: bool = False
    pace_us: int = 0
    """Between two chunks of a stream; 0: the upstream sends a stream in one write."""
    connections: int = 1
    rate: float = 0.0
    """Requests a second of an open loop; 0: a closed loop, each connection asks again as soon as it is answered."""
    answer_us: int = 0
    """How long the upstream thinks before a plain answer."""
    prompt_bytes: int = 700
    usage: bool = True
    """The client asks for usage at the end of a stream."""
    share: float = 1.0
    """How much of the usual measuring time it gets."""
    by_chunk: bool = False
    """CPU is stated for a chunk, not for a request."""
    rounds: int = 99
    """It is left out of later rounds: what is a detail is measured less often."""
    slow_rounds: int = 0
    """In how many of them candidates take part that manage less than a hundred requests a second or so."""


JSON = Workload(
    name="json", title="plain answers at saturation: 32 connections, 1 KB in, 1.1 KB out",
    connections=32, slow_rounds=3,
)  # fmt: skip
BURST = Workload(
    name="burst", title="streams at saturation: 8 at once, 100 chunks back to back, many with each read",
    stream=True, connections=8, by_chunk=True, slow_rounds=3,
)  # fmt: skip
LOW = Workload(
    name="low", title="low rate: 10 requests a second, the upstream answers after 2 ms",
    connections=8, rate=10, answer_us=2000, share=2.7, rounds=4, slow_rounds=3,
)  # fmt: skip
HIGH = Workload(
    name="high", title="high rate: 1000 requests a second, the upstream answers after 2 ms",
    connections=256, rate=1000, answer_us=2000,
)  # fmt: skip
PACED = Workload(
    name="stream", title="streams at a model's pace: 40 at once, 100 chunks 10 ms apart",
    stream=True, pace_us=10_000, connections=40, by_chunk=True, rounds=3,
)  # fmt: skip
CHUNKS = Workload(
    name="chunks", title="streams at saturation: 8 at once, each of 100 chunks a write of its own",
    stream=True, pace_us=1, connections=8, by_chunk=True, rounds=3,
)  # fmt: skip
HIDDEN = Workload(
    name="hidden", title="burst streams whose client did not ask for usage (the gateway asks, and hides it)",
    stream=True, connections=8, by_chunk=True, usage=False, share=0.7, rounds=3,
)  # fmt: skip
PROMPTS = tuple(
    replace(
        JSON, name=f"prompt-{label}", title=f"plain answers, prompts of {label}", prompt_bytes=size, connections=8,
        share=0.5, rounds=2, slow_rounds=1 if size <= 100_000 else 0,
    )
    for label, size in (("1KB", 700), ("10KB", 10_000), ("100KB", 100_000), ("1MB", 1_000_000))
)  # fmt: skip
STREAMS = tuple(
    replace(
        PACED,
        name=f"streams-{n}",
        title=f"streams at a model's pace: {n} at once",
        connections=n,
        share=0.7,
        rounds=2,
        slow_rounds=1 if n <= 10 else 0,
    )
    for n in (1, 10, 100, 500)
)

USUAL = (JSON, BURST, PACED, LOW)
FULL = (JSON, BURST, LOW, HIGH, PACED, CHUNKS, HIDDEN, *PROMPTS, *STREAMS)
EVERY = {workload.name: workload for workload in FULL}
