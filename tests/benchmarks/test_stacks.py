"""A sampled stack belongs to one part, and the kernel's share is believed to the one who measured it."""

from collections import Counter

import pytest
from benchmarks.instructions import counted
from benchmarks.stacks import part_of, read, weighed

START = "main (penstock/app.py:253);run_worker (penstock/app.py:190);run_forever (loop.c:33192)"
OUTBOX = "Outbox.flush (penstock/gateway/outbox.py:36)"


@pytest.mark.parametrize(
    ("end", "part"),
    [
        (f"{OUTBOX};write (libc.so.6)", "kernel: send"),
        ("LogFile.write (penstock/ledger/logfile.py:42);write (libc.so.6)", "ledger: write to the log"),
        ("epoll_pwait (libc.so.6)", "kernel: wait for sockets"),
        ("uv__read (stream.c:1154)", "event loop: uvloop, libuv"),
        (f"{OUTBOX};_Py_DECREF (object.h:537)", "HTTP: the client's side"),
        ("meter (penstock/metering/meter.py:67);cost_of (penstock/pricing/cost.py:68)", "pricing"),
        ("Gateway._call (penstock/gateway/gateway.py:1);gc_collect_main (libpython3.11.so.1.0)",
         "Python: garbage collection"),
        ("Connection._take (penstock/gateway/upstream.py:248);llhttp__internal__run (llhttp.c:1)",
         "HTTP: httptools, llhttp"),
        ("read_chat (penstock/metering/readers/openai_chat.py:137)", "reading the reply's usage"),
    ],
)  # fmt: skip
def test_a_stack_belongs_to_the_innermost_part_that_is_known(end: str, part: str) -> None:
    assert part_of(f"{START};{end}".split(";")) == part


def test_only_the_loop_s_thread_counts_and_system_calls_stand_by_themselves() -> None:
    profile = read([
        f"{START};{OUTBOX};write (libc.so.6) 3\n",
        f"{START};{OUTBOX} 2\n",
        f"{START};uv__io_poll (linux.c:1) 1\n",
        "_follow (penstock/app.py:266);futex_wait (libc.so.6) 50\n",
    ])  # fmt: skip
    assert profile.samples == 6
    assert profile.kernel_share() == pytest.approx(0.5)
    assert profile.functions == Counter({
        "kernel: send": 3, "Outbox.flush (penstock/gateway/outbox.py)": 2, "event loop": 1,
    })  # fmt: skip
    assert profile.lines[OUTBOX] == 2


def test_shares_add_up_whoever_measured_the_kernel() -> None:
    counts = Counter({"kernel: send": 60, "pricing": 30, "policies": 10})
    assert weighed(counts, None) == pytest.approx({"kernel: send": 0.6, "pricing": 0.3, "policies": 0.1})
    by_perf = weighed(counts, 0.2)
    assert by_perf == pytest.approx({"pricing": 0.6, "kernel: send": 0.2, "policies": 0.2})
    assert next(iter(by_perf)) == "pricing"
    assert weighed(Counter({"pricing": 4}), 0.2) == {"pricing": 1.0}
    assert weighed(Counter(), None) == {}


def test_instructions_are_those_of_the_worker() -> None:
    text = "desc: I1 cache\ncmd: python -m penstock.app worker-1 settings.json /run\nevents: Ir\nsummary: 1234\n"
    assert counted(text) == 1234
    assert counted(text.replace("worker-1", "control")) is None
