"""Environments for what is measured beside Penstock: pinned, outside the tree, made at their first use."""

import hashlib
import os
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

from benchmarks.errors import BenchmarkError

PINS = Path(__file__).parent / "pins"
INSTALL_SECONDS = 1200


def home() -> Path:
    """Return the folder of all these environments, below the user's cache."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "penstock-peers"


def environment(folder: Path, name: str, say: Callable[[str], None]) -> Path:
    """Return the `bin` of the virtual environment with what `pins/NAME.txt` pins.

    It is made anew when the pins have changed.
    """
    pins = PINS / f"{name}.txt"
    place = folder / f"{name}-{fingerprint(pins)}"
    if not (place / "complete").exists():
        say(f"installing {pins.name} into {place} (once; some minutes)")
        venv.create(place, with_pip=True, clear=True)
        run(
            [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--require-hashes", "-r", str(pins)],
            f"pip install -r {pins.name}",
        )  # fmt: skip
        (place / "complete").touch()
    return place / "bin"


def fingerprint(*files: Path) -> str:
    """Name these versions of the files."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def run(command: list[str], what: str, *, folder: Path | None = None) -> None:
    """Run an installer to its end.

    Raises BenchmarkError with the end of what it said.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS, cwd=folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"{what} failed: {error}") from None
    if done.returncode:
        raise BenchmarkError(f"{what} failed: {(done.stderr or done.stdout)[-300:].strip()}")


def version_in(program: Path, package: str) -> str:
    """Return the version of a package in the environment of `program`, a Python."""
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(program), "-c", ask], capture_output=True, text=True, check=False).stdout.strip()
