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
    from tests.gateway.test_framing import HEADS, REPLY_HEADS, REPLY_SCRAPS, SCRAPS, cut

    from penstock.gateway.heads import SeenHeads
    from penstock.gateway.server import Crowd, ServerLimits

LOOP = asyncio.new_event_loop()
CROWD = Crowd(lambda *_: None, LOOP, ServerLimits())


def taken_apart(data: bytes) -> tuple[list[int], bool, bytes]:
    """Read three places to cut at, whether the peer hangs up, and what it says, out of the fuzzer's bytes."""
    return [place * 2 for place in data[:3]], data[3:4] > b"\x7f", data[4:]


def door(data: bytes) -> None:
    """Compare the door with h11."""
    places, _, said = taken_apart(data)
    CROWD.seen = SeenHeads()
    ours = framing.door_reads(cut(said, places), CROWD)
    theirs = framing.h11_reads(said)
    assert ours.messages == theirs.messages[: len(ours.messages)]
    assert ours.refused or ours.messages == theirs.messages
    assert ours == framing.door_reads(cut(said, []), CROWD)  # the heads are known now


def provider(data: bytes) -> None:
    """Compare the connection to a provider with h11."""
    places, closes, said = taken_apart(data)
    ours = framing.provider_reads(cut(said, places), closes=closes, loop=LOOP)
    theirs = framing.h11_client_reads(said, closes=closes)
    assert not ours.messages or ours.messages == theirs.messages
    assert ours.messages or ours.refused or theirs.messages == []


def escaped(word: bytes) -> str:
    """Write a word as libFuzzer's dictionaries want it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


TARGETS = {"door": (door, HEADS, SCRAPS), "provider": (provider, REPLY_HEADS, REPLY_SCRAPS)}


def main() -> None:
    """Fuzz one side for a while."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("target", choices=TARGETS)
    options.add_argument("--seconds", type=int, default=60)
    chosen = options.parse_args()
    check, heads, scraps = TARGETS[chosen.target]

    def checked(data: bytes) -> None:
        try:
            check(data)
        except BaseException:
            print(f"\n@example({taken_apart(data)[2]!r}, {taken_apart(data)[0]!r})", flush=True)  # noqa: T201
            raise

    with tempfile.TemporaryDirectory(prefix="penstock-fuzz-") as folder:
        words = Path(folder, "words")
        words.write_text("".join(f'"{escaped(word)}"\n' for word in scraps))
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, head in enumerate(heads):
            for other, tail in enumerate([*heads, *scraps]):
                (corpus / f"{number}-{other}").write_bytes(b"\x20\xff\xff\xff" + head + tail)
        atheris.Setup(
            [sys.argv[0], str(corpus), f"-dict={words}", f"-max_total_time={chosen.seconds}", "-max_len=1500",
             "-timeout=20", "-print_final_stats=1", f"-artifact_prefix={tempfile.gettempdir()}/"],
            checked,
        )  # fmt: skip
        atheris.Fuzz()


if __name__ == "__main__":
    main()
