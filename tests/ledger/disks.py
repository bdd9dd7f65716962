"""Real disks that are small, or that hang, where this machine lets us mount some."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def run(*command: str) -> None:
    """Run a command of the system; where it is missing or not allowed, the test is skipped with the reason."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        pytest.skip(f"this machine does not let us mount a disk of our own: {' '.join(command[:1])}: {said}")


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system in memory that holds only so much."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, timeout=60)


@contextmanager
def disk_that_freezes(folder: Path, image: Path) -> Iterator[Path]:
    """Mount a file system that `freeze` makes hang: whoever writes to it sleeps until `thaw`."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk that hangs")
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    run("mkfs.ext4", "-q", str(image))
    run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(folder)], check=False, capture_output=True, timeout=60)
        subprocess.run(["umount", "--lazy", str(folder)], check=False, timeout=60)


def freeze(folder: Path) -> None:
    """Let everything that writes there hang."""
    run("fsfreeze", "--freeze", str(folder))


def thaw(folder: Path) -> None:
    """Let it go on."""
    run("fsfreeze", "--unfreeze", str(folder))
