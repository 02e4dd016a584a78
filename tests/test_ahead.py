"""Reading ahead: what is read and in which order, how far, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vipe.ahead import read_ahead


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vipe-read-ahead"]


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(0, 5), max_size=20), room=st.integers(1, 6))
def test_all_comes_in_order(lengths: list[int], room: int) -> None:
    pieces = [[i] * length for i, length in enumerate(lengths)]
    assert list(read_ahead(pieces, room)) == pieces
    assert not readers()


@pytest.mark.parametrize("room", [1, 3, 8])
def test_no_more_is_read_than_there_is_room_for(room: int) -> None:
    read = 0

    def pieces() -> Iterator[str]:
        nonlocal read
        for _ in range(50):
            read += 1
            yield "x"

    ahead = 0
    for taken, _ in enumerate(read_ahead(pieces(), room), 1):
        time.sleep(0.002)
        ahead = max(ahead, read - taken)
    assert read == 50
    assert 1 <= ahead <= room + 1  # one that waits for room


def test_it_reads_while_its_user_is_busy() -> None:
    second = threading.Event()

    def pieces() -> Iterator[str]:
        yield "a"
        second.set()
        yield "b"

    reading = read_ahead(pieces(), 4)
    assert next(reading) == "a"
    assert second.wait(5)
    assert list(reading) == ["b"]


def test_an_error_comes_after_what_was_read_before_it() -> None:
    def pieces() -> Iterator[str]:
        yield from "abc"
        raise OSError("the cable is out")

    reading = read_ahead(pieces(), 2)
    assert [next(reading) for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(OSError, match="the cable is out"):
        next(reading)
    assert not readers()


@pytest.mark.parametrize("how", ["close", "forget"])
def test_closing_early_stops_the_thread_and_closes_the_source(how: str) -> None:
    closed = threading.Event()

    def pieces() -> Iterator[str]:
        try:
            while True:
                yield "x"
        finally:
            closed.set()

    reading = read_ahead(pieces(), 3)
    next(reading)
    assert len(readers()) == 1
    if how == "close":
        reading.close()
    else:
        del reading
    assert closed.is_set()
    assert not readers()


def test_nothing_is_read_before_it_is_wanted() -> None:
    def pieces() -> Iterator[str]:
        pytest.fail("read")
        yield "x"

    read_ahead(pieces(), 3).close()
