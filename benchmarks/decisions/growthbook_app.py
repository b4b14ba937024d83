"""Asks GrowthBook's sequential rule, in an environment of its own: ``python growthbook_app.py SUMS.npz OUT.npy``.

SUMS holds ``first`` and ``second``, shape ``(runs, looks, 3)``: units, sum and sum of squares of each arm so far.
OUT gets at which look the second was found to be smaller, -1 where it never was.
"""

import sys

import numpy as np
from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import SampleMeanStatistic

ALPHA = 0.1  # two-sided, so that each side has five percent


def main() -> None:
    """Ask for every run, look by look, until it decides."""
    sums = np.load(sys.argv[1])
    first, second = sums["first"], sums["second"]
    found = np.full(len(first), -1)
    for run in range(len(first)):
        for look in range(first.shape[1]):
            arms = [
                SampleMeanStatistic(n=int(each[0]), sum=float(each[1]), sum_squares=float(each[2]))
                for each in (first[run, look], second[run, look])
            ]
            config = SequentialConfig(difference_type="absolute", alpha=ALPHA)
            interval = SequentialTwoSidedTTest(*arms, config).compute_result().ci
            if interval[1] < 0:
                found[run] = look
                break
            if interval[0] > 0:
                break
    np.save(sys.argv[2], found)


if __name__ == "__main__":
    main()
