"""Coverage-guided fuzzing of the framing: `make fuzz`, or `python -m tests.gateway.fuzz door --seconds 300`.

What is checked is what `test_framing.py` checks: whatever is taken for a message, h11 takes for the same. A finding is
printed as a line for an `@example` there.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["penstock.gateway"]):
    from tests.gateway import framing
    from tests.gateway.test_framing import (
        HEADS,
        REPLIES,
        REPLY_HEADS,
        REPLY_SCRAPS,
        REQUESTS,
        SCRAPS,
        Change,
        again,
        check_door,
        check_provider,
        cut,
    )

    from penstock.gateway.heads import SeenHeads
    from penstock.gateway.server import Crowd, ServerLimits

LOOP = asyncio.new_event_loop()
CROWD = Crowd(lambda *_: None, LOOP, ServerLimits())


PACKET, AGAIN = b"\xfd\xfd", b"\xfe"
"""What stands in the fuzzer's bytes before each further message, and before a change of an earlier one."""


def taken_apart(data: bytes) -> tuple[list[int], bool, list[bytes]]:
    """Read three places to cut at, whether the peer hangs up, and what it says, out of the fuzzer's bytes."""
    said: list[bytes] = []
    for piece in data[4:].split(PACKET):
        if said and len(piece) > 3 and piece.startswith(AGAIN):
            said = again(said, [Change(piece[1] % 8, piece[2], piece[3] % 4, piece[4:])])
        elif piece:
            said.append(piece)
    return [place * 2 for place in data[:3]], data[3:4] > b"\x7f", said


def door(places: list[int], _: bool, said: list[bytes]) -> None:
    """Compare the door with h11: message by message, and cut elsewhere, with heads that are new, and known."""
    whole = b"".join(said)
    CROWD.seen = SeenHeads()
    check_door(said, CROWD)
    ours = framing.door_reads(cut(whole, places), CROWD)
    assert ours == framing.door_reads(cut(whole, []), CROWD) == framing.door_reads(said, CROWD)


def provider(places: list[int], closes: bool, said: list[bytes]) -> None:
    """Compare the connection to a provider with h11: reply by reply, and all of them for one."""
    check_provider(said, LOOP)
    whole = b"".join(said)
    ours = framing.provider_reads(cut(whole, places), closes=closes, loop=LOOP)
    theirs = framing.h11_client_reads(whole, closes=closes)
    assert not ours.messages or ours.messages == theirs.messages
    assert ours.messages or ours.refused or theirs.messages == []


def escaped(word: bytes) -> str:
    """Write a word as libFuzzer's dictionaries want it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


TARGETS = {"door": (door, HEADS, REQUESTS, SCRAPS), "provider": (provider, REPLY_HEADS, REPLIES, REPLY_SCRAPS)}


def main() -> None:
    """Fuzz one side for a while."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("target", choices=TARGETS)
    options.add_argument("--seconds", type=int, default=60)
    chosen = options.parse_args()
    check, heads, messages, scraps = TARGETS[chosen.target]

    def checked(data: bytes) -> None:
        places, closes, said = taken_apart(data)
        try:
            check(places, closes, said)
        except BaseException:
            print(f"\n@example({said!r}, [])  # cut at {places}, closes: {closes}", flush=True)  # noqa: T201
            raise

    with tempfile.TemporaryDirectory(prefix="penstock-fuzz-") as folder:
        words = Path(folder, "words")
        words.write_text("".join(f'"{escaped(word)}"\n' for word in [*scraps, PACKET, PACKET + AGAIN]))
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, head in enumerate(heads):
            for other, tail in enumerate([*heads, *scraps]):
                (corpus / f"{number}-{other}").write_bytes(b"\x20\xff\xff\xff" + head + tail)
        for number, one in enumerate(messages):
            for other, two in enumerate([*messages, b"\r\n", AGAIN + b"\x00\x15\x00", AGAIN + b"\x00\x08\x01X"]):
                (corpus / f"again-{number}-{other}").write_bytes(b"\x20\xff\xff\xff" + PACKET.join([one, two, one]))
        atheris.Setup(
            [sys.argv[0], str(corpus), f"-dict={words}", f"-max_total_time={chosen.seconds}", "-max_len=1500",
             "-timeout=20", "-print_final_stats=1", f"-artifact_prefix={tempfile.gettempdir()}/"],
            checked,
        )  # fmt: skip
        atheris.Fuzz()


if __name__ == "__main__":
    main()
