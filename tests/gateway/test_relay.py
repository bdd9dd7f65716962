"""A stream that may be cut: how often it is looked at, and where it ends."""

import pytest

from penstock.gateway.relay import CountedRelay
from penstock.gateway.upstream import UpstreamError
from penstock.metering.readers import stream_reader

CUT = UpstreamError("budget_cut", "cut", sent=True)


class Client:
    closed = False

    def __init__(self) -> None:
        self.got = bytearray()

    def write_chunk(self, data: bytes) -> None:
        self.got += data

    write_raw = write_chunk


class Line:
    """The connection of an exchange, and the exchange."""

    def __init__(self) -> None:
        self.connection, self.exchange = self, self
        self.aborted: list[UpstreamError] = []

    def abort(self, error: UpstreamError) -> None:
        self.exchange = None
        self.aborted.append(error)


def relay_of(look, *, plain: bool = True, tokens: int = 0) -> tuple[CountedRelay, Client, Line]:
    client, line = Client(), Line()
    reader = stream_reader("openai.chat")
    return CountedRelay(client, line, reader, chunked=True, plain=plain, tokens=tokens, look=look), client, line


@pytest.mark.parametrize("size", [4, 30, 250])
@pytest.mark.parametrize("reserved", [1000, 20_000])
def test_a_stream_is_counted_a_few_times_however_many_bytes_its_tokens_have(size, reserved):
    looks = []

    def look(relay: CountedRelay) -> None:
        tokens = relay.passed // size
        looks.append(tokens)
        if tokens <= reserved:
            relay.go_on(relay.passed, tokens, reserved)
        else:
            relay.cut(CUT)

    relay, client, line = relay_of(look, tokens=reserved)
    for _ in range(2 * reserved):
        relay.write(b"x" * (size - 2) + b"\n\n")
    assert line.aborted == [CUT]
    assert len(looks) <= 6
    # It is late by a twentieth at most, or by 4 KiB where that is more.
    assert reserved < len(client.got) // size <= reserved * 1.06 + 4096 / size + 1


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("at", range(1, 9))
def test_it_ends_behind_a_whole_event_wherever_the_reads_are_torn(end, at):
    relay, client, line = relay_of(lambda _: None)
    first, second = b"data: a" + end, b"data: b" + end
    stream = first + second + b"data: never" + end
    relay.write(stream[:at])
    relay.cut(CUT)
    for n in range(at, len(stream)):
        relay.write(stream[n : n + 1])
    assert client.got == first
    assert line.aborted == [CUT]


def test_what_comes_in_the_same_read_behind_the_cut_is_not_passed_on():
    relay, client, line = relay_of(lambda _: None)
    relay.write(b"data: a")
    relay.cut(CUT)
    relay.write(b"\n\ndata: b\n\ndata: c\n\n")
    assert client.got == b"data: a\n\n"
    assert line.aborted == [CUT]


def test_a_packed_stream_ends_at_once():
    relay, _, line = relay_of(lambda _: None, plain=False)
    relay.write(b"\x1f\x8b\x08")
    relay.cut(CUT)
    assert line.aborted == [CUT]
