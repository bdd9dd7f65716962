"""One file of an append log, as its only writer sees it."""

import fcntl
import os
import time
from pathlib import Path


class LogFile:
    """Whole records go in, or nothing does; a retry after an error writes to the same place.

    The file is locked as long as it is open: that is how others tell a live log from a dead one.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        """Make the file under a hidden name, lock it, and only then let others see it."""
        self.path = path
        self.size = 0
        """Bytes of whole records."""
        self.opened = time.monotonic()
        self.suspect = False
        """A sync failed: what the kernel says it wrote since may not be on the disk."""
        self._synced = 0
        self._named = False
        hidden = path.with_name(f".{path.name}.new")
        self._fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.write(header)
            hidden.rename(path)
        except OSError:
            os.close(self._fd)
            hidden.unlink(missing_ok=True)
            raise

    def write(self, data: bytes | bytearray) -> None:
        """Put all of `data` behind what is there; on an error the file is as it was."""
        with memoryview(data) as view:
            done = 0
            try:
                while done < len(view):
                    done += os.pwrite(self._fd, view[done:], self.size + done)
            except OSError:
                if done:  # readers pass over a torn end, and the retry overwrites it: this is only tidiness
                    os.ftruncate(self._fd, self.size)
                raise
            self.size += done

    def sync(self) -> None:
        """Wait for the disk; thread-safe against `write`.

        After a failed sync the kernel may take its pages for clean: they are written again before the next try.
        """
        until = self.size
        if self.suspect:
            os.pwrite(self._fd, os.pread(self._fd, until - self._synced, self._synced), self._synced)
        try:
            if not self._named:
                sync_folder(self.path.parent)
                self._named = True
            os.fdatasync(self._fd)
        except OSError:
            self.suspect = True
            raise
        self.suspect = False
        self._synced = until

    def close(self) -> None:
        """Let go of the file and of its lock."""
        os.close(self._fd)


def is_live(path: Path) -> bool:
    """Whether a writer still holds the log; a log that is gone is dead."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive the loss of power."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
