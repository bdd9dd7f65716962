"""The parent process: starts the others, brings back one that dies, and takes all of them down together."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence

from msgspec import Struct

WRONG_INPUT = 2
"""Exit code of a child that has said in a sentence why it cannot start."""
RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0


class Child(Struct, frozen=True):
    """One process to keep running."""

    name: str
    command: tuple[str, ...]


class Supervisor:
    """Keeps its children running until it is told to stop."""

    def __init__(self, children: Sequence[Child], *, grace_seconds: float, say: Callable[[str], None]) -> None:
        self._children = children
        self._grace = grace_seconds
        self._say = say
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self.hopeless = False
        """A child has said that what it was given cannot be used: starting it again would not help."""

    def stop(self) -> None:
        """Begin the end."""
        self._stop.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Run all children; `ready` is called when they have been started."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        ready()
        await self._stop.wait()
        for keeper in keepers:
            keeper.cancel()
        await self._take_down()

    async def _keep(self, child: Child) -> None:
        pause = RESTART_SECONDS
        while True:
            started = asyncio.get_running_loop().time()
            # A session of its own: a Ctrl-C at the terminal reaches the parent alone, which ends them in order.
            process = await asyncio.create_subprocess_exec(*child.command, start_new_session=True)
            self._running[child.name] = process
            code = await process.wait()
            if code == WRONG_INPUT:
                self.hopeless = True
                self.stop()
                return
            lived = asyncio.get_running_loop().time() - started
            pause = RESTART_SECONDS if lived > LONGEST_RESTART_SECONDS else min(pause * 2, LONGEST_RESTART_SECONDS)
            self._say(f"{child.name} ended with code {code}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _take_down(self) -> None:
        alive = [process for process in self._running.values() if process.returncode is None]
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        try:
            async with asyncio.timeout(self._grace + 5):
                for process in alive:
                    await process.wait()
        except TimeoutError:
            for process in alive:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()


def python(*arguments: str) -> tuple[str, ...]:
    """Return the command line of a child in this interpreter."""
    return (sys.executable, *arguments)
