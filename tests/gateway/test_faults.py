"""Whatever goes wrong while calls are made, the ledger's sum is the provider's bill, and so is each call of it."""

import asyncio
import random
import shutil
import struct
import subprocess
from datetime import timedelta

import pytest
from tests.gateway.conftest import SANDBOX, Server
from tests.gateway.soak import Fire, Found, burn

from penstock.ledger.store import Ledger

SETTINGS = f'[ledger]\nfsync = "always"\ncompact_seconds = 0.5\n{SANDBOX}'
MISHAPS = (
    "", "error=429;retry_after=0", "error=500;retry_after=0", "error=400", "cut=head", "cut=stream;after=2",
    "stall=0.2;after=2", "first_ms=300",
)  # fmt: skip


def exact(found: Found) -> bool:
    """Tell whether nothing is missing, on either side."""
    assert found.problems == []
    assert found.lost == []
    assert found.acknowledged > 20
    return found.ledger == found.bill > 0


def test_what_a_provider_that_fails_has_billed_is_what_was_booked(tmp_path):
    fire = Fire(Server(tmp_path, SETTINGS, "--workers", "2"), random.Random(3), MISHAPS)
    assert exact(burn(fire, asyncio.sleep(2.0)))


CLOCK = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *ahead;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("CLOCK_AHEAD"), O_RDONLY);
    void *mapped = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    ahead = mapped == MAP_FAILED ? 0 : mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME && ahead) now->tv_sec += *ahead;
    return failed;
}
"""
"""The time of day, as many seconds ahead as a file says: what an administrator or a time server does to a clock."""


def test_a_clock_that_is_set_back_and_forward_under_load_changes_no_sum(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here to make a clock with")
    (tmp_path / "clock.c").write_text(CLOCK)
    library, ahead = tmp_path / "clock.so", tmp_path / "ahead"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c"], check=True)

    def step(seconds: int) -> None:
        with ahead.open("r+b" if ahead.exists() else "wb") as file:
            file.write(struct.pack("l", seconds))

    step(0)
    clock = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(ahead)}
    server = Server(tmp_path, SETTINGS, "--workers", "2", environment=clock)
    fire = Fire(server, random.Random(3))

    async def steps() -> None:
        for seconds in (-3600, 7200, -86_400, 0):
            step(seconds)
            await asyncio.sleep(0.6)

    assert exact(burn(fire, steps()))
    with Ledger.open(server.data) as ledger:
        times = [event.at for event in ledger.events()]
    assert max(times) - min(times) > timedelta(days=1)  # the clock was set, and calls were made meanwhile
