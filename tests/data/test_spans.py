"""Spans of series cut a month into parts that share no series and lose none."""

from __future__ import annotations

import itertools
from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.data.spans import EVERY_SERIES, spans_of

NAMES = ("shop", "item")
key = st.tuples(st.sampled_from(["", "a", "a/b", "b", "é", "Z"]), st.sampled_from(["1", "10", "2", "😀"]))


@settings(max_examples=50, deadline=None)
@given(keys=st.lists(key, min_size=1, max_size=60), rows=st.integers(1, 20), cut=st.integers(0, 60))
def test_every_row_lies_in_one_span(keys: list[tuple[str, str]], rows: int, cut: int) -> None:
    frame = pl.DataFrame(keys, schema=dict.fromkeys(NAMES, pl.String), orient="row")
    spans = spans_of([frame[:cut], frame[cut:]], NAMES, rows)
    parts = [frame.filter(span.holds()).rows() for span in spans]
    assert sorted(itertools.chain.from_iterable(parts)) == sorted(keys)
    ordered = [sorted(set(part)) for part in parts]
    assert all(ordered)  # none is empty
    assert list(itertools.chain.from_iterable(ordered)) == sorted(set(keys))  # one after another
    counts = Counter(keys)
    assert all(len(part) < 2 * rows or max(counts[each] for each in part) >= rows for part in parts)


def test_without_rows_there_is_one_span() -> None:
    assert spans_of([], NAMES, 5) == [EVERY_SERIES]
    assert EVERY_SERIES.is_all
