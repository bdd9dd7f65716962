"""Processes under test: started, watched through /proc, and ended by their own process ids."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.errors import BenchmarkError

GRACE_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Find a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on (field 3 of proc(5) is item 0); empty: it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        queue += (below := children.get(queue.pop(), []))
        found += below
    return found


def cpu_seconds(pid: int) -> float:
    """Return what a process has used: user and system time of all its threads, and of children that it has buried.

    The process's own CPU clock (clock_getcpuclockid(3)) is utime + stime in nanoseconds; /proc counts in ticks.
    """
    stat = _stat(pid)
    if not stat:
        return 0.0
    buried = (int(stat[13]) + int(stat[14])) / _TICKS
    try:
        return time.clock_gettime((~pid << 3) | 2) + buried
    except OSError:
        return (int(stat[11]) + int(stat[12])) / _TICKS + buried


def peak_megabytes(pid: int) -> float:
    """Return the highest resident size that a process ever had (VmHWM)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


@dataclass
class Processes:
    """One program with all the processes it starts; `role` names a process by its command line."""

    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    role: Callable[[str], str] = lambda _command: "all"
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in a session of its own; what it prints goes to the log."""
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.log.parent,
                start_new_session=True,
            )

    def wait_for(self, port: int, path: str, *, seconds: float = 60.0, status: bytes = b" 200 ") -> None:
        """Wait until a GET of `path` is answered with `status`.

        Raises BenchmarkError with the end of the log when the program ends first, or takes too long.
        """
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchmarkError(
                    f"{self.command[0]} ended with code {self._process.returncode}: {self.last_words()}"
                )
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
                if status in connection.recv(4096).partition(b"\r\n")[0] + b" ":
                    return
            time.sleep(0.05)
        raise BenchmarkError(f"{self.command[0]} did not answer {path} within {seconds:g} s: {self.last_words()}")

    def wait_for_line(self, pattern: str, *, seconds: float) -> int:
        """Wait until it prints a line like `pattern`, and return the number in its first group."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(pattern, self.log.read_text("utf-8", "replace")):
                return int(found.group(1))
            time.sleep(0.05)
        raise BenchmarkError(f"{self.command[0]} did not say where it is: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what it printed, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text("utf-8", "replace")[-600:]).strip()

    def pids(self) -> dict[int, str]:
        """Return every living process of it, with its role."""
        if self._process is None:
            return {}
        found = {}
        for pid in (self._process.pid, *_descendants(self._process.pid)):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found[pid] = self.role(line)
        return found

    def cpu(self) -> dict[str, float]:
        """Return seconds of CPU used so far, by role."""
        used: dict[str, float] = {}
        for pid, role in self.pids().items():
            used[role] = used.get(role, 0.0) + cpu_seconds(pid)
        return used

    def peak(self) -> dict[str, float]:
        """Return peak memory in MB, by role."""
        sizes: dict[str, float] = {}
        for pid, role in self.pids().items():
            sizes[role] = sizes.get(role, 0.0) + peak_megabytes(pid)
        return sizes

    def stop(self) -> None:
        """End it: a request to the first process, and after a while SIGKILL to each of its processes by id."""
        if self._process is None or self._process.poll() is not None:
            return
        known = self.pids()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in (known.keys() | self.pids().keys()) - {self._process.pid}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
