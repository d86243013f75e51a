"""What is asked of storage: in order, and several at once only where that waits for a network."""

import threading

import pytest

from sansfilm.objects import AT_ONCE, each


class Place:
    def __init__(self, url):
        self.url = url


@pytest.mark.parametrize(("url", "at_once"), [("/data/archive", 1), ("s3://bucket/a", AT_ONCE)])
def test_calls_overlap_where_there_is_a_network(url, at_once):
    together = threading.Barrier(at_once)

    def call(number):
        together.wait(timeout=10)  # each waits until so many have begun
        return number**2, threading.current_thread() is threading.main_thread()

    found = each(Place(url), call, range(2 * at_once))
    assert [square for square, _ in found] == [n**2 for n in range(2 * at_once)]
    assert {here for _, here in found} == {at_once == 1}


@pytest.mark.parametrize("url", ["/data/archive", "s3://bucket/a"])
def test_an_error_reaches_who_asked(url):
    with pytest.raises(ZeroDivisionError):
        each(Place(url), lambda n: 1 / n, [2, 1, 0])


def test_nothing_is_asked_for_nothing():
    assert each(Place("s3://bucket/a"), abs, []) == []
