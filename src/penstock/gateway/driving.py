"""Coroutines driven by their own events, not by a task: a call costs a generator, not a turn of the loop.

A handler reads as one story (`reply = await upstream`), yet nothing is scheduled: whoever settles the `Waiter`
runs the handler on, at once. Ordinary futures (a timer, a task, a thread) can be awaited too.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Waiter(Generic[T]):
    """A place where one coroutine waits for one value. Settled once, by value or by error."""

    _settled = False
    _value: T | None = None
    _error: BaseException | None = None
    _resume: Callable[[], None] | None = None

    def settle(self, value: T) -> None:
        """Give the value; the one who waits runs on before this returns."""
        self._settled = True
        self._value = value
        resume = self._resume
        if resume is not None:
            self._resume = None  # a waiter that held on to its coroutine would make work for the garbage collector
            resume()

    def fail(self, error: BaseException) -> None:
        """Give an error instead."""
        self._settled = True
        self._error = error
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()

    @property
    def settled(self) -> bool:
        """Whether there is a value or an error."""
        return self._settled

    def __await__(self) -> Generator["Waiter[T]", None, T]:
        if not self._settled:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # settled without error: the value is there

    def wake(self, resume: Callable[[], None]) -> None:
        """Name whom to run when settled."""
        self._resume = resume


class Drive:
    """Runs one coroutine to its end; `failed` hears of an error that it did not catch itself."""

    __slots__ = ("_coroutine", "_failed")

    def __init__(self, coroutine: Coroutine[Any, None, None], failed: Callable[[BaseException], None]) -> None:
        self._coroutine = coroutine
        self._failed = failed
        self._step()

    def _step(self, *_: object) -> None:
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001  # the edge of a call: its error must reach the client as an answer
            self._failed(error)
            return
        if isinstance(awaited, Waiter):
            awaited.wake(self._step)
        elif awaited is None:  # `asyncio.sleep(0)`: let others run, then go on
            asyncio.get_running_loop().call_soon(self._step)
        else:
            # The protocol of asyncio.Future: it hands itself out, marked, and wants a callback.
            awaited._asyncio_future_blocking = False  # noqa: SLF001
            awaited.add_done_callback(self._step)
