"""The parent process: keeps its children running, changes them for new ones, and takes them down in order."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from penstock.errors import InputError, PenstockError

WRONG_INPUT = 2
"""Exit code of a child that has said in a sentence why it cannot start."""
RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
READY_SECONDS = 60.0
"""How long the children of new settings may take to be ready."""
EXTRA_SECONDS = 5.0
"""What a child gets beyond its own time for ending calls, before it is killed."""
LONGEST_SOCKET = 103
"""Bytes that the path of a Unix socket may have: 107 on Linux, 103 on macOS."""
YOUNG_SECONDS = 3600.0
"""Cleaners of temporary folders take what has not been used for days."""


class Child(Struct, frozen=True):
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    ready: Path
    """A file that it makes when it is ready."""
    sockets: tuple[int, ...] = ()
    """File descriptors that it inherits."""
    serves: bool = False
    """It has calls to end, and may need the others for that: they are ended after it."""


class Generation(Struct, frozen=True):
    """The children of one configuration."""

    children: Sequence[Child]
    settled: Callable[[bool], None]
    """Called once: with True when they have taken over, with False when they never will."""
    drain_seconds: float
    """How long they may take to end their calls."""


class Keeper:
    """Keeps one child running: starts it again when it dies, until it is told to end it."""

    def __init__(self, child: Child, say: Callable[[str], None]) -> None:
        self.child = child
        self.deaths = 0
        self.hopeless = False
        """It never worked, and has said that what it was given cannot be used: starting it again would not help."""
        self._say = say
        self._worked = False
        self._ending = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task = asyncio.create_task(self._keep())

    @property
    def ready(self) -> bool:
        """Whether the child does its work."""
        return self.child.ready.exists()

    async def _keep(self) -> None:
        pause = RESTART_SECONDS
        while not self._ending.is_set():
            started = asyncio.get_running_loop().time()
            ended = await self._run()
            if self._ending.is_set():
                return
            self.deaths += 1
            self._worked = self._worked or self.ready
            if ended == WRONG_INPUT and not self._worked:
                self.hopeless = True
                return
            lived = asyncio.get_running_loop().time() - started
            pause = RESTART_SECONDS if lived > LONGEST_RESTART_SECONDS else min(pause * 2, LONGEST_RESTART_SECONDS)
            how = f"could not be started: {ended}" if isinstance(ended, str) else f"ended with code {ended}"
            self._say(f"{self.child.name} {how}; it is started again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()

    async def _run(self) -> int | str:
        """Run the child once; return its exit code, or why the system could not start it."""
        self.child.ready.unlink(missing_ok=True)
        try:
            # A session of its own: a Ctrl-C at the terminal reaches the parent alone, which ends them in order.
            self._process = await asyncio.create_subprocess_exec(
                *self.child.command, pass_fds=self.child.sockets, start_new_session=True
            )
        except OSError as error:
            return error.strerror or str(error)
        if self._ending.is_set():
            self._signal(signal.SIGTERM)
        return await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def end(self, grace: float) -> None:
        """Ask the child to end, and make it end after `grace` seconds."""
        self._ending.set()
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait({self._task}, timeout=grace)
        if late:
            self._signal(signal.SIGKILL)
            await self._task


class Supervisor:
    """Runs generations of children, one after the other, until it is told to stop."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stop = asyncio.Event()
        self._again = asyncio.Event()
        self._news = asyncio.Event()
        """A signal has come: until then there is nothing to do once all children are ready."""
        self._keepers: list[Keeper] = []
        self._grace = 0.0
        self._leaving: set[asyncio.Task[None]] = set()
        """Children of earlier settings, which are ending their calls."""

    async def run(
        self, first: Generation, ready: Callable[[], None], following: Callable[[], Generation] | None
    ) -> bool:
        """Run until a signal says stop; on SIGHUP, change to what `following` returns.

        `ready` is called when the first children are. Returns whether it ended well: False where a child said that
        it cannot be started at all.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._told, self._again)
        self._keepers = [Keeper(child, self._say) for child in first.children]
        self._grace = first.drain_seconds + EXTRA_SECONDS
        first.settled(True)
        announced = False
        while not self._stop.is_set() and not any(keeper.hopeless for keeper in self._keepers):
            if not announced and all(keeper.ready for keeper in self._keepers):
                announced = True
                ready()
            if self._again.is_set() and announced:
                self._again.clear()
                await self._change(following)
            await (self._news.wait() if announced else self._pause())
            self._news.clear()
        well = not any(keeper.hopeless for keeper in self._keepers)
        # Those that serve first, of earlier settings too: they need the others for ending their calls.
        await asyncio.gather(*self._leaving, _end(self._keepers, self._grace, serving=True))
        await _end(self._keepers, self._grace, serving=False)
        return well

    def _told(self, what: asyncio.Event) -> None:
        what.set()
        self._news.set()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await self._stop.wait()

    async def _change(self, following: Callable[[], Generation] | None) -> None:
        """Start the children of new settings, and end those of the old ones when the new ones are ready."""
        if following is None:
            return
        try:
            generation = following()
        except (PenstockError, OSError) as error:
            self._say(f"the new settings are not taken: {error} The old ones stay in force.")
            return
        stay = [keeper for keeper in self._keepers if keeper.child in generation.children]
        known = [keeper.child for keeper in stay]
        fresh = [Keeper(child, self._say) for child in generation.children if child not in known]
        if not await self._all_ready(fresh):
            await self._take_down(fresh, EXTRA_SECONDS)
            generation.settled(False)
            if not self._stop.is_set():
                self._say(
                    "the new settings are not taken: what was started with them did not become ready, "
                    "and has said above why. The old ones stay in force."
                )
            return
        leaving = [keeper for keeper in self._keepers if keeper not in stay]
        self._keepers = stay + fresh
        generation.settled(True)
        # Beside what follows: long calls of the old children must not hold up the next change.
        task = asyncio.create_task(self._take_down(leaving, self._grace))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        self._grace = generation.drain_seconds + EXTRA_SECONDS
        self._say("the new settings are in force")

    async def _all_ready(self, keepers: Sequence[Keeper]) -> bool:
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while not all(keeper.ready for keeper in keepers):
            late = asyncio.get_running_loop().time() > deadline
            if late or self._stop.is_set() or any(keeper.deaths for keeper in keepers):
                return False
            await self._pause()
        return True

    async def _take_down(self, keepers: Sequence[Keeper], grace: float) -> None:
        for serving in (True, False):
            await _end(keepers, grace, serving=serving)


async def _end(keepers: Iterable[Keeper], grace: float, *, serving: bool) -> None:
    await asyncio.gather(*(keeper.end(grace) for keeper in keepers if keeper.child.serves is serving))


@contextlib.contextmanager
def run_folder(longest_name: str) -> Iterator[Path]:
    """Make a folder for the sockets and settings of one run, and remove it afterwards.

    Raises InputError where the path of a socket called `longest_name` in it would be too long for the system.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        excess = len(os.fsencode(name)) + 1 + len(longest_name) - LONGEST_SOCKET
        if excess > 0:
            raise InputError(
                f"The temporary folder {tempfile.gettempdir()} has too long a path for Unix sockets in it, by {excess} "
                "bytes. Set the environment variable TMPDIR to a shorter one, such as /tmp."
            )
        yield Path(name)


async def keep_young(folder: Path) -> None:
    """Touch what is in the folder of this run now and then, so that no cleaner takes it away while it is needed."""
    while True:
        _touch(folder)
        await asyncio.sleep(YOUNG_SECONDS)


def _touch(folder: Path) -> None:
    os.utime(folder)
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a child has ended meanwhile
            os.utime(path)


def python(*arguments: str) -> tuple[str, ...]:
    """Return the command line of a child in this interpreter."""
    return (sys.executable, *arguments)
