"""Which calls a lever leaves alone, so that its saving can be measured: a holdout, drawn by hash."""

import hashlib
from decimal import Decimal
from typing import Literal

Arm = Literal["treated", "control"]
"""`treated`: the lever may act; `control`: it is left off, and what would have served without it serves."""

STEPS = 1 << 64


def assign(unit: str, lever: str, share: Decimal, salt: str) -> tuple[Arm, Decimal]:
    """Put `unit` into an arm of `lever`, and say how probable that arm was.

    A unit is what must stay in one arm: a conversation, or a user where there is none. `share` of all units, from 0 to
    1, are held out as `control`. The same arguments always give the same arm, in every process and after every
    restart, and raising `share` moves units into the holdout only. Another lever or `salt` draws independently.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"A holdout is a share from 0 to 1, not {share}.")
    # Lengths come first, so that no two triples run into the same bytes.
    said = "".join(f"{len(part)}:{part}" for part in (salt, lever, unit))
    drawn = int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), "big")
    if drawn < int(share * STEPS):
        return "control", share
    return "treated", 1 - share


def unit_of(run: str, user: str, request_id: str) -> str:
    """Return what stays in one arm: the conversation or agent's run, else the user, else the request alone.

    Who knows a better name for the last one, such as a fingerprint of the conversation, writes it into the tag
    `penstock.unit`. Turns that were drawn one by one would mix both arms, and pay for two prompt caches.
    """
    return run or user or request_id
