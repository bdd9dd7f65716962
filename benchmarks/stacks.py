"""Sampled stacks, and the part of the gateway that each belongs to."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

LOOP = "run_worker (penstock/app.py"
"""A frame that every stack of the worker's loop has. Other threads wait, or write to the disk."""

SYSTEM = {
    "write": "kernel: send", "writev": "kernel: send", "send": "kernel: send", "sendmsg": "kernel: send",
    "read": "kernel: receive", "readv": "kernel: receive", "recv": "kernel: receive", "recvfrom": "kernel: receive",
    "recvmsg": "kernel: receive", "epoll_wait": "kernel: wait for sockets", "epoll_pwait": "kernel: wait for sockets",
    "epoll_ctl": "kernel: wait for sockets", "accept4": "kernel: open and close", "connect": "kernel: open and close",
    "close": "kernel: open and close", "shutdown": "kernel: open and close", "pwrite64": "ledger: write to the log",
    "fsync": "ledger: bring to the disk", "fdatasync": "ledger: bring to the disk",
}  # fmt: skip

ROOMS = (
    ("penstock/gateway/server.py", "HTTP: the client's side"),
    ("penstock/gateway/outbox.py", "HTTP: the client's side"),
    ("penstock/gateway/upstream.py", "HTTP: the provider's side"),
    ("penstock/gateway/shortcuts.py", "HTTP: the provider's side"),
    ("penstock/gateway/providers.py", "HTTP: the provider's side"),
    ("penstock/gateway/relay.py", "relaying chunks"),
    ("penstock/gateway/booking.py", "ledger: append"),
    ("penstock/gateway/", "the call: route, attempt, reply"),
    ("penstock/metering/request", "reading the request"),
    ("penstock/metering/attribution.py", "attribution"),
    ("penstock/metering/readers/relay.py", "relaying chunks"),
    ("penstock/metering/readers/", "reading the reply's usage"),
    ("penstock/metering/", "metering: the event"),
    ("penstock/pricing/", "pricing"),
    ("penstock/ledger/", "ledger: append"),
    ("penstock/policies/", "policies"),
    ("penstock/optimization/", "levers"),
)
IN_THE_KERNEL = frozenset(SYSTEM.values())
_FRAME = re.compile(r"(?P<name>.*) \((?P<place>.*?)(?::\d+)?\)")


@dataclass(frozen=True)
class Profile:
    """Samples of the worker's loop, counted in three ways; system calls are counted by themselves in each."""

    samples: int
    parts: Counter[str]
    functions: Counter[str]
    """By the innermost function of ours, with whatever it calls in C."""
    lines: Counter[str]
    """By the innermost line of ours."""

    def kernel_share(self) -> float:
        """Return the part of the samples that is within a system call."""
        return sum(count for part, count in self.parts.items() if part in IN_THE_KERNEL) / (self.samples or 1)


def weighed(counts: Counter[str], kernel: float | None) -> dict[str, float]:
    """Return shares that add up to 1, the largest first.

    `kernel`, where it is known, is the share of processor time in the kernel. A sampler by the clock sees too much of
    it: a process that waits, or has just woken another one and lost the processor to it, is in a system call.
    """
    inside = sum(count for name, count in counts.items() if name in IN_THE_KERNEL)
    outside = sum(counts.values()) - inside
    known = kernel if kernel is not None and inside and outside else inside / ((inside + outside) or 1)
    shares = {
        name: count * (known / inside if name in IN_THE_KERNEL else (1 - known) / outside)
        for name, count in counts.items()
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def split(frame: str) -> tuple[str, str]:
    """Return a frame's function and its file."""
    found = _FRAME.fullmatch(frame)
    return (found["name"], found["place"]) if found else (frame, "")


def part_of(frames: list[str]) -> str:
    """Name the part that a stack belongs to; the outermost frame comes first."""
    name, place = split(frames[-1])
    if place.startswith("libc") and name in SYSTEM:
        in_ledger = any("penstock/ledger/" in frame for frame in frames)
        return "ledger: write to the log" if in_ledger and SYSTEM[name] == "kernel: send" else SYSTEM[name]
    for frame in reversed(frames):
        name, place = split(frame)
        if name.startswith("gc_collect"):
            return "Python: garbage collection"
        if "llhttp" in name or place.startswith(("httptools/", "llhttp")):
            return "HTTP: httptools, llhttp"
        if place == "penstock/app.py":
            break
        if place.startswith("penstock/"):
            return next((part for start, part in ROOMS if place.startswith(start)), place.rpartition("/")[0])
    return "event loop: uvloop, libuv"


def read(lines: Iterable[str]) -> Profile:
    """Read what `py-spy record --format raw` wrote: a stack, its frames apart by semicolons, a blank, how often."""
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rstrip("\n").rpartition(" ")
        if LOOP not in stack:
            continue
        frames = stack.split(";")
        part = part_of(frames)
        parts[part] += int(count)
        if part in IN_THE_KERNEL:
            functions[part] += int(count)
            places[part] += int(count)
            continue
        ours = [frame for frame in frames if "(penstock/" in frame and "(penstock/app.py" not in frame]
        functions["{} ({})".format(*split(ours[-1])) if ours else "event loop"] += int(count)
        places[ours[-1] if ours else "event loop"] += int(count)
    return Profile(sum(parts.values()), parts, functions, places)
