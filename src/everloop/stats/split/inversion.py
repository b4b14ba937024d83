"""Bounds on a ratio's effect by turning its test round: all effects that the test does not refute.

A ratio's standard error within few units of one arm is too small, since its ratio leans towards its largest units. The
test itself does not suffer from that, as its ratio is that over all arms. So the bounds of a ratio are found by testing
many effects, each on sums from which it was taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.stats.split.draws import arm_means, statistic
from everloop.stats.split.intervals import Bounds
from everloop.stats.split.metrics import UnitMetric, at_effect, unit_values

__all__ = ["inverted_bounds"]

Floats = NDArray[np.float64]

_TESTED = 41
_BEND = 6.0
_WIDEST_LOG = 2.5
_WIDEST_ERRORS = 40.0


def inverted_bounds(
    metric: UnitMetric,
    present: NDArray[np.bool_],
    arm: NDArray[np.integer[Any]],
    estimates: Floats,
    critical: tuple[Floats, Floats],
) -> list[Bounds]:
    """The bounds of each challenger at every look.

    Args:
        metric: a ratio.
        present: which units have entered by each look, shape ``(units, days)``.
        arm: the arm of each unit.
        estimates: the estimated improvements, shape ``(arms - 1, days)``; NaN where there is none.
        critical: the critical values for better and worse, shape ``(days,)`` each.
    """
    arms, sign = len(estimates) + 1, 1 if metric.better == "higher" else -1
    bounds = []
    for number, effect in enumerate(estimates, start=1):
        tested = _tested(metric, present, arm == number, effect)
        scores = (
            np.stack(
                [
                    statistic(arm_means([unit_values(at_effect(metric, arm, each), present)], present, arm, arms))
                    for each in tested
                ]
            )[:, number - 1, 0]
            * sign
        )
        lower, upper = _between(tested, scores - critical[0]), -_between(-tested[::-1], -scores[::-1] - critical[1])
        is_known = np.isfinite(effect) & (scores != 0).any(axis=0)
        bounds.append(Bounds(effect, np.where(is_known, lower, -np.inf), np.where(is_known, upper, np.inf)))
    return bounds


def _tested(metric: UnitMetric, present: NDArray[np.bool_], is_own: NDArray[np.bool_], effect: Floats) -> Floats:
    """Effects to be tested, ascending, closest to each other around the last estimate."""
    steps = np.sinh(_BEND * np.linspace(-1, 1, _TESTED)) / np.sinh(_BEND)
    last = float(effect[-1]) if np.isfinite(effect[-1]) else 0.0
    if metric.scale == "absolute":
        spread = unit_values(metric, present)[:, -1]
        error = float(spread.std()) / np.sqrt(max(int(is_own.sum()), 1)) or 1.0
        shifted: Floats = last + _WIDEST_ERRORS * error * steps
        return shifted
    sign = 1 if metric.better == "higher" else -1
    ratio = max(1 + sign * last, 1e-3)
    scaled: Floats = sign * (ratio * np.exp(_WIDEST_LOG * steps) - 1)
    return np.sort(scaled)


def _between(tested: Floats, excess: Floats) -> Floats:
    """Up to where the tested effects are all refuted, by a straight line between the last one and the next.

    ``excess`` has the shape ``(tested, days)``, above zero where an effect is refuted from below.
    """
    stands = ~(excess > 0)
    first = np.argmax(stands, axis=0)
    place = np.maximum(first, 1)
    day = np.arange(excess.shape[1])
    above, under = excess[place - 1, day], excess[place, day]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.nan_to_num(above / (above - under), nan=0.0), 0.0, 1.0)
    found = tested[place - 1] + share * (tested[place] - tested[place - 1])
    found = np.where(stands.any(axis=0), found, tested[-1])
    bound: Floats = np.where(stands[0], -np.inf, found)
    return bound
