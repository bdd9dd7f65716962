"""Where and when a run was made: without it, a figure says nothing."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _line(file: str, start: str) -> str:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(start)), "")


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _compiler() -> str:
    program = shutil.which("cc")
    if not program:
        return "absent"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0]


def facts() -> dict[str, str]:
    """Return what a reader must know about machine and versions."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_line('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores seen",
        "memory": f"{int(_line('/proc/meminfo', 'MemTotal').split()[0] or 0) / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "load average before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "Python": platform.python_version(),
        "uvloop": _package("uvloop"),
        "httptools": _package("httptools"),
        "msgspec": _package("msgspec"),
        "cc": _compiler(),
    }
