"""Counters in Redis: shared by any number of workers and nodes. One round trip for what comes in a turn of the loop."""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

import msgspec

from penstock.errors import InputError
from penstock.policies.budgets.counters import Charge, Claim, Order, UnavailableError, Verdict
from penstock.policies.budgets.rules import Rules

HIGH = 10**15
"""Atto-dollars in a unit of an amount's first number: see counters.lua."""
MOST_AT_ONCE = 256
"""Requests of one round trip."""
MOST_WAITING = 50_000
"""Settlements that wait for Redis; more are left to the next rebuilding, which reads them from the ledger."""
FILL_SECONDS = 120
_SCRIPT = (files("penstock.policies.budgets") / "counters.lua").read_text("utf-8")
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_pack = msgspec.msgpack.Encoder().encode


def connect(address: str, timeout: float) -> Any:
    """Return an asyncio client of Redis for `redis://...` or the variable in `$NAME`. Nothing is opened yet."""
    try:
        from redis import asyncio as redis  # noqa: PLC0415  # an optional extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError:
        raise InputError("[governance] redis needs the package redis: pip install penstock[redis]") from None
    url = address
    if address.startswith("$"):
        url = os.environ.get(address[1:], "")
        if not url:
            raise InputError(f"[governance] redis: the environment variable {address[1:]} is not set.")
    try:
        return redis.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
    except ValueError as error:
        raise InputError(f"[governance] redis: this is no address of a Redis: {error}") from None


class RedisCounters:
    """The counters of all gateways that share a Redis and a prefix. `ledger` names the book that ours are booked in."""

    def __init__(
        self,
        client: Any,
        *,
        ledger: str,
        prefix: str = "penstock",
        lease_seconds: float = 60.0,
        clock: Any = None,
        owner: str = "",
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._owner = owner
        self.prefix = f"{{{prefix}}}"
        self._lease = int(lease_seconds * 1e6)
        self._clock = clock
        self._waiting: list[tuple[bytes, str, asyncio.Future[Any] | None]] = []
        self._sender: asyncio.Task[None] | None = None
        self.error = ""
        """Why Redis cannot be asked, if it cannot."""
        self.filling = False
        """It is being rebuilt by this worker."""
        self.lost = False
        """Something did not reach Redis, so the counters must be rebuilt before they are believed."""

    # Calls

    async def reserve(self, order: Order) -> Verdict:
        """Check everything, then take everything, or nothing."""
        if self.lost or self.filling:
            raise UnavailableError(self.error or "the counters in Redis are being rebuilt from the ledger.")
        document = {
            "id": order.id, "ledger": self._ledger, "lease": self._lease, "tokens": order.tokens,
            "claims": [
                _claim(claim, amount) for claim, amount in zip(order.claims, order.amounts, strict=True)
            ],
            "rates": [(rate.counter, rate.kind, rate.limit) for rate in order.rates],
        }  # fmt: skip
        reply = await self._ask("reserve", document)
        reason = reply[0].decode()
        if reason == "unfilled":
            self.lost = True
            raise UnavailableError("the counters in Redis are being rebuilt from the ledger.")
        _, index, sh, sl, rh, rl, wait, tight, rates = reply
        return Verdict(
            reason, index, _join(sh, sl), _join(rh, rl), int(wait), [(int(left), int(at)) for left, at in rates],
            bool(tight),
        )  # fmt: skip

    def settle(self, id: str, charges: Sequence[Charge], tokens: int | None) -> None:  # noqa: A002
        """Give back what was reserved under `id`, and add what was really spent. Sent soon; nobody waits for it."""
        if len(self._waiting) >= MOST_WAITING:
            self.lost = True
            return
        document = {
            "id": id, "ledger": self._ledger, "tokens": -1 if tokens is None else tokens,
            "charges": [
                (one.counter, *divmod(one.amount, HIGH), one.recorded, one.forgotten) for one in charges
            ],
        }  # fmt: skip
        self._send("settle", document, None)

    def renew(self, ids: Sequence[str]) -> None:
        """Say that these calls are still under way."""
        self._send("renew", {"ids": list(ids), "lease": self._lease}, None)

    # Rebuilding

    async def begin_fill(self, cut: int) -> bool:
        """From now on keep apart what is recorded at `cut` or later."""
        reply = await self._ask(
            "begin", {"ledger": self._ledger, "cut": cut, "patience": FILL_SECONDS, "owner": self._owner}
        )
        return bool(reply)

    async def end_fill(self, cut: int, sums: Mapping[str, tuple[int, int]]) -> None:
        """Set this ledger's part of every counter to what the ledger held before `cut`, and what came since."""
        rows = [(name, *divmod(amount, HIGH), forgotten) for name, (amount, forgotten) in sums.items()]
        if not await self._ask("end", {"ledger": self._ledger, "cut": cut, "sums": rows}):
            raise UnavailableError("rebuilding the counters took too long; it begins again.")

    async def run_id(self) -> str:
        """Return the name of this start of Redis: another one may have lost what came last."""
        with _reachable():
            info = await self._client.info("server")
        return str(info["run_id"])

    async def read(self, counters: Sequence[str]) -> list[tuple[int, int]]:
        """Return (spent, reserved) of each."""
        return [(spent, reserved) for spent, reserved, _ in await self.read_parts(counters)]

    async def read_parts(self, counters: Sequence[str]) -> list[tuple[int, int, int]]:
        """Return (spent, reserved, spent as this ledger has it) of each."""
        reply = await self._ask("read", {"names": list(counters), "ledger": self._ledger})
        return [(_join(*one[:2]), _join(*one[2:4]), _join(*one[4:])) for one in reply]

    async def counters(self, begin: str) -> list[str]:
        """List the counters whose names begin so."""
        prefix = f"{self.prefix}:c:"
        pattern = "".join(f"\\{one}" if one in "*?[]\\^" else one for one in prefix + begin) + "*"
        with _reachable():
            return [
                key.decode().removeprefix(prefix) async for key in self._client.scan_iter(match=pattern, count=1000)
            ]

    # What was made by command

    async def made(self) -> Rules | None:
        """Return the rules made by command that all nodes share; None: nothing was kept here yet."""
        with _reachable():
            found = await self._client.get(f"{self.prefix}:rules")
        return msgspec.json.decode(found, type=Rules) if found is not None else None

    async def keep(self, rules: Rules, *, only_new: bool = False) -> None:
        """Keep the rules made by command."""
        with _reachable():
            await self._client.set(f"{self.prefix}:rules", msgspec.json.encode(rules), nx=only_new)

    # The way to Redis

    def _ask(self, action: str, document: dict[str, Any]) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._send(action, document, future)
        return future

    def _send(self, action: str, document: dict[str, Any], future: "asyncio.Future[Any] | None") -> None:
        self._waiting.append((_pack(document), action, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._deliver())

    async def _deliver(self) -> None:
        """Send what waits, one round trip after the other; what comes meanwhile shares the next one."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            try:
                replies = await self._round_trip(batch)
            except Exception as problem:  # noqa: BLE001  # whatever the client raises: nobody may wait for ever
                self._failed(batch, problem)
                continue
            for (_, action, future), reply in zip(batch, replies, strict=True):
                if isinstance(reply, Exception):
                    self._failed([(b"", action, future)], reply)
                elif future is not None and not future.done():
                    future.set_result(reply)

    async def _round_trip(self, batch: Sequence[tuple[bytes, str, Any]]) -> list[Any]:
        now = str(self._clock()) if self._clock else "0"
        replies = await self._evaluate(batch, now)
        if any(_is_unknown(reply) for reply in replies):
            # A Redis that restarted knows the script no more; those that were not run can simply be run.
            await self._client.script_load(_SCRIPT)
            again = [n for n, reply in enumerate(replies) if _is_unknown(reply)]
            for n, reply in zip(again, await self._evaluate([batch[n] for n in again], now), strict=True):
                replies[n] = reply
        return replies

    async def _evaluate(self, batch: Sequence[tuple[bytes, str, Any]], now: str) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for document, action, _ in batch:
            pipe.evalsha(_SHA, 1, self.prefix, action, now, document)
        return list(await pipe.execute(raise_on_error=False))

    def _failed(self, batch: Sequence[tuple[bytes, str, "asyncio.Future[Any] | None"]], problem: Exception) -> None:
        self.error = f"Redis cannot be asked: {str(problem) or type(problem).__name__}."
        # What was asked may have been done all the same: only the ledger knows.
        self.lost = True
        for _, _, future in batch:
            if future is not None and not future.done():
                future.set_exception(UnavailableError(self.error))

    async def close(self) -> None:
        """Send what waits, and hang up."""
        if self._sender is not None and not self._sender.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._sender), 2)
        await self._client.aclose()


@contextlib.contextmanager
def _reachable() -> Any:
    try:
        yield
    except Exception as problem:
        if isinstance(problem, msgspec.MsgspecError):
            raise
        raise UnavailableError(f"Redis cannot be asked: {str(problem) or type(problem).__name__}.") from problem


def _is_unknown(reply: Any) -> bool:
    return isinstance(reply, Exception) and (type(reply).__name__ == "NoScriptError" or "NOSCRIPT" in str(reply))


def _claim(claim: Claim, amount: int) -> tuple[Any, ...]:
    return (
        claim.counter, claim.pieces, *divmod(amount, HIGH), divmod(claim.limit, HIGH), claim.hard, claim.forgotten,
    )  # fmt: skip


def _join(high: bytes, low: bytes) -> int:
    return int(high) * HIGH + int(low)
