import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.ledger.frames import FRAME, MARK, Damage, Frame, frame_of, read_frames

BODIES = [b"first", b"", b"third " * 50, MARK + b" in a body"]
DATA = b"".join(frame_of(n, body) for n, body in enumerate(BODIES))


def sound(data: bytes) -> list[tuple[int, bytes]]:
    return [(item.sequence, item.body) for item in read_frames(data) if isinstance(item, Frame)]


def damaged(data: bytes) -> list[Damage]:
    return [item for item in read_frames(data) if isinstance(item, Damage)]


def test_frames_come_back_as_they_were_written():
    assert sound(DATA) == list(enumerate(BODIES))
    assert damaged(DATA) == []


@pytest.mark.parametrize("length", range(1, len(DATA)))
def test_wherever_a_log_is_cut_the_frames_before_are_whole_and_the_rest_is_torn(length):
    cut = DATA[:length]
    whole = sound(cut)
    assert whole == list(enumerate(BODIES))[: len(whole)]
    end = sum(FRAME.size + len(body) for _, body in whole)
    assert damaged(cut) == ([Damage(end, length, torn=True)] if end < length else [])


@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
def test_whichever_bit_flips_it_is_noticed_and_only_one_frame_is_lost(place, bit):
    data = bytearray(DATA)
    data[place] ^= 1 << bit
    assert len(sound(bytes(data))) == len(BODIES) - 1
    assert len(damaged(bytes(data))) == 1


def test_damage_in_the_middle_is_not_taken_for_a_torn_end():
    data = DATA.replace(b"third", b"Third")
    (damage,) = damaged(data)
    assert not damage.torn
    assert [sequence for sequence, _ in sound(data)] == [0, 1, 3]


def test_a_last_frame_of_full_length_with_a_wrong_checksum_is_damage_for_its_write_did_end():
    (damage,) = damaged(DATA[:-1] + b"?")
    assert not damage.torn


def test_zeros_that_a_power_loss_left_at_the_end_are_a_torn_end():
    assert damaged(DATA + bytes(4096)) == [Damage(len(DATA), len(DATA) + 4096, torn=True)]


def test_a_frame_moved_to_another_place_in_the_order_still_says_its_own_number():
    swapped = frame_of(2, b"two") + frame_of(1, b"one")
    assert sound(swapped) == [(2, b"two"), (1, b"one")]


def test_a_frame_whose_number_was_changed_is_damage():
    data = bytearray(frame_of(7, b"body"))
    data[12] ^= 1
    assert sound(bytes(data)) == []


@pytest.mark.parametrize("body", [b"the last one", b"ends in zeros\0\0"])
def test_whichever_bit_of_the_last_frame_flips_it_is_damage_and_not_a_write_that_broke_off(body):
    whole = frame_of(1, b"before") + frame_of(2, body)
    begin = len(frame_of(1, b"before"))
    for bit in range(begin * 8, len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        (damage,) = damaged(bytes(data))
        assert not damage.torn, bit
