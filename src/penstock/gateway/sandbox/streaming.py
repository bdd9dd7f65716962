"""Send a stream piece by piece, let happen to it what was asked for, and bill what was sent."""

import asyncio

from penstock.gateway.sandbox.call import Call, Piece, Wire
from penstock.gateway.sandbox.desk import Desk
from penstock.gateway.sandbox.line import Line


class Stream:
    """One streamed reply whose head has been sent."""

    def __init__(self, desk: Desk, line: Line, call: Call, wire: Wire, client_id: str) -> None:
        self._desk, self._line, self._call, self._wire, self._client_id = desk, line, call, wire, client_id
        self._gone = line.listen()
        self._texts: list[list[str]] = [[] for _ in call.answers]
        self._done = 0

    async def run(self, pace: float) -> None:
        """Send everything; a caller who leaves stops it. `pace`: seconds between pieces."""
        try:
            whole = await self._send_pieces(pace)
        except asyncio.CancelledError:
            self._charge_sent()
            raise
        if whole is None:
            return  # a stream that the provider itself breaks is not billed
        if not whole:
            self._charge_sent()
            return
        self._desk.charge(self._call, self._wire, self._call.metered, self._client_id)
        self._desk.remember(self._call, self._wire)
        await self._line.body(self._wire.closing(self._call.metered))

    async def _send_pieces(self, pace: float) -> bool | None:
        """Send the text: True, all of it; False, the caller is gone; None, it was broken off."""
        for piece in self._wire.pieces():
            if piece.text:
                if self._done == self._call.control.stop_at and (ended := await self._mishap()):
                    return None if ended == "broken" else False
                self._done += 1
            if self._gone.done():
                return False
            await self._send(piece)
            await asyncio.sleep(pace if piece.text else 0)
        return not self._gone.done()

    async def _send(self, piece: Piece) -> None:
        await self._line.body(piece.frame, more=True)
        if piece.text:
            self._texts[piece.choice].append(piece.text)

    async def _mishap(self) -> str:
        control = self._call.control
        if control.stall and control.after >= 0:
            await self._line.wait(control.stall)
        if control.event:
            await self._line.body(self._wire.broken())
            return "broken"
        if control.cut == "stream":
            await self._line.cut()
            return "cut"
        return ""

    def _charge_sent(self) -> None:
        used = self._desk.sent(self._call, self._texts)
        self._desk.charge(self._call, self._wire, used, self._client_id, aborted=True)
