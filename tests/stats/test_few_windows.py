"""What errors of few windows can tell."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.stats.few_windows import effective_count, shared_part, widening


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.8])
def test_the_shared_part_is_found(shared: float) -> None:
    rng = np.random.default_rng(3)
    window = np.repeat(np.arange(4000), 10)
    common = rng.normal(size=4000)[window]
    scores = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=len(window))
    assert shared_part(scores, window) == pytest.approx(shared, abs=0.03)


def test_nothing_is_shared_where_nothing_can_be() -> None:
    assert shared_part(np.array([1.0, 2.0]), np.array([0, 1])) == 0.0
    assert shared_part(np.zeros(4), np.array([0, 0, 1, 1])) == 0.0
    assert effective_count(3, 3, 0.0) == 3.0


def test_widened_as_students_distribution_is() -> None:
    # t(3, 0.9) = 1.63774 and t(10, 0.975) = 2.22814 by the tables; z = 1.28155 and 1.95996
    assert widening(80.0, 3) == pytest.approx(1.63774 / 1.28155, rel=1e-4)
    assert widening(95.0, 10) == pytest.approx(2.22814 / 1.95996, rel=1e-4)
    assert np.isnan(widening(80.0, 0.5))
