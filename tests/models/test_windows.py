"""Window sums equal plain ones, and depend on their window alone, bit for bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from everloop.models.windows import window_means, window_sums

VALUES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 60)),
    elements=st.floats(-1e6, 1e6) | st.just(float("nan")),
)


@given(VALUES, st.integers(1, 70), st.integers(1, 4))
def test_means_equal_the_plain_definition(block: np.ndarray, window: int, stride: int) -> None:
    means = window_means(block, [window], stride=stride)[window]
    for row in range(block.shape[0]):
        for column in range(block.shape[1]):
            terms = block[row, column::-stride][:window]
            terms = terms[~np.isnan(terms)]
            if len(terms):
                np.testing.assert_allclose(means[row, column], terms.mean(), rtol=1e-9, atol=1e-9)
            else:
                assert np.isnan(means[row, column])


@given(VALUES, st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 50))
def test_the_last_column_has_the_same_bits_in_a_tail(
    block: np.ndarray, windows: list[int], stride: int, extra: int
) -> None:
    whole = window_means(block, windows, stride=stride)
    tail = block[:, -(max(windows) * stride + extra) :]
    for window, means in window_means(tail, windows, stride=stride).items():
        assert means[:, -1].tobytes() == whole[window][:, -1].tobytes()


def test_a_running_sum_would_fail_that() -> None:
    values = np.array([[1e16, 1.0, 1.0, 1.0]])
    running = np.cumsum(values, axis=1)
    assert running[0, 3] - running[0, 0] != 3.0
    assert window_sums(values, [3])[3][0, 3] == 3.0
