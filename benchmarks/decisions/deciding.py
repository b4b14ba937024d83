"""Days until a comparison decides, by method, and GrowthBook's sequential rule on the same sums."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measuring.claims import claim_of
from measuring.environments import make_environment

__all__ = ["DAYS", "WATCHED_ON", "Waits", "growthbook_days", "time_claim", "time_rows", "until_decided"]

Floats = NDArray[np.float64]
Waits = Mapping[str, Floats]
"""Of each method, the day of the decision in each run, from one; infinite where there was none."""

DAYS = 60
"""How long a comparison is watched."""
WATCHED_ON = 400
"""How long, where half of the runs of any method do not decide in time."""
_DRAWS = 4_000


def until_decided(wait: Callable[[int, int], Waits], runs: int, later_runs: int) -> list[tuple[int, Waits]]:
    """The days to decide within :data:`DAYS` and, where any median is beyond, within :data:`WATCHED_ON`.

    Args:
        wait: simulates so many runs with an end after so many days.
        runs: how many runs.
        later_runs: how many of the longer ones.

    Returns:
        One or two pairs of the days that were watched and what was found.
    """
    found = [(DAYS, wait(runs, DAYS))]
    if not all(np.isfinite(np.median(each)) for each in found[0][1].values()):
        found.append((WATCHED_ON, wait(later_runs, WATCHED_ON)))
    return found


def time_rows(case: str, found: list[tuple[int, Waits]]) -> list[dict[str, Any]]:
    """A line for each method and end: the median day, the share that decides, and the mean days that are waited."""
    return [
        {
            "what": "days to decide",
            "case": case,
            "method": method,
            "runs": len(waits),
            "watched": end,
            "median": float(np.median(waits)),
            "decided": round(float(np.isfinite(waits).mean()), 3),
            "mean_waited": round(float(np.minimum(waits, end).mean()), 1),
        }
        for end, methods in found
        for method, waits in methods.items()
    ]


def time_claim(
    name: str, claim: str, most: float, found: list[tuple[int, Waits]], methods: tuple[str, str]
) -> dict[str, Any]:
    """The claim that a method takes at most so many times as long as another.

    Medians are compared where both are finite, by the shorter end if they are there. Else it is the mean days that are
    waited, where a run that does not decide waits to the end. The interval is the bootstrap's (Efron 1979), which draws
    the runs that both had in common.
    """
    if methods[1] not in found[0][1]:
        return claim_of(name, claim, "x", most, None, None, is_most=True, note=f"{methods[1]} is not installed")
    end, waits, has_medians = _compared(found, methods)
    first, second = (np.minimum(waits[each], end) for each in methods)
    centre = np.median if has_medians else np.mean
    if has_medians:
        note = f"medians of {len(first)}: {np.median(first):g} and {np.median(second):g} days"
    else:
        shares = [float(np.isfinite(waits[each]).mean()) for each in methods]
        note = f"mean days waited of {end}, {len(first)} runs: {shares[0]:.0%} and {shares[1]:.0%} of the runs decide"
    runs = np.random.default_rng(7).integers(0, len(first), (_DRAWS, len(first)))
    ratios = centre(first[runs], axis=-1) / centre(second[runs], axis=-1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    ratio = float(centre(first) / centre(second))
    return claim_of(name, claim, "x", most, ratio, (float(low), float(high)), is_most=True, note=note)


def _compared(found: list[tuple[int, Waits]], methods: tuple[str, str]) -> tuple[int, Waits, bool]:
    """The end and the days that are compared, and whether it is by medians."""
    for end, waits in found:
        if all(np.isfinite(np.median(waits[each])) for each in methods):
            return end, waits, True
    return *found[-1], False


def growthbook_days(arms: list[tuple[Floats, Floats]], min_days: int) -> Floats | None:
    """The days at which GrowthBook's rule finds the second arm's mean smaller; ``None`` where it cannot be installed.

    Args:
        arms: of each run and arm the units, their sum and their sum of squares after each day, shape ``(days, 3)``.
        min_days: no decision before.
    """
    environment = make_environment("growthbook", ("gbstats==0.8.0", "setuptools<81"))
    if environment.python is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        sums, out = Path(name) / "sums.npz", Path(name) / "out.npy"
        looks = slice(min_days - 1, None)
        first, second = (np.stack([run[arm][looks] for run in arms]) for arm in (0, 1))
        np.savez(sums, first=first, second=second)
        script = Path(__file__).with_name("growthbook_app.py")
        subprocess.run([str(environment.python), str(script), str(sums), str(out)], check=True, timeout=1_800)
        found = np.load(out)
    return np.where(found < 0, np.inf, found + min_days)
