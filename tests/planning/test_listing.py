"""A listing gives each file once and sorted, wherever it lies."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansfilm.errors import SansfilmError
from sansfilm.model import FileRef
from sansfilm.planning.listing import Listing

uris = st.text(st.characters(), max_size=3)  # lone surrogates, as names of any bytes have, too
files = st.lists(st.builds(FileRef, uris, st.integers(0, 2**40), st.none() | st.integers(0, 2**62),
                           st.sampled_from(["", "etag"])))  # fmt: skip


@given(files, st.integers(0, 8))
def test_each_once_sorted_the_last_one_counts(files, room):
    listing, expected = Listing(room), {}
    for file in files:
        listing.add(file)
        expected[file.uri] = file
        assert len(listing) == len(expected)
    assert list(listing) == list(listing) == [expected[uri] for uri in sorted(expected)]


def test_what_is_added_between_two_readings_is_there():
    listing = Listing(1)
    for uri in "cbde":
        listing.add(FileRef(uri, 1))
    assert [file.uri for file in listing] == ["b", "c", "d", "e"]
    listing.add(FileRef("a", 1))
    assert [file.uri for file in listing] == ["a", "b", "c", "d", "e"]


def test_it_may_be_counted_while_it_is_read():
    listing = Listing(1)
    for uri in "abcde":
        listing.add(FileRef(uri, 1))
    assert [(file.uri, len(listing)) for file in listing] == [(uri, 5) for uri in "abcde"]


def test_a_full_disk_is_told_with_its_cure():
    listing = Listing(0)
    listing.add(FileRef("a", 1))
    listing._there.execute("PRAGMA max_page_count = 2")
    with pytest.raises(SansfilmError, match="TMPDIR"):
        listing.add(FileRef("b" * 100_000, 1))


def test_its_file_ends_with_it():
    listing = Listing(0)
    listing.add(FileRef("a", 1))
    there = listing._there
    del listing
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        there.execute("SELECT 1")
