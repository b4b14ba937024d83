"""Past windows summed to totals: the forecasts of a backtest beside what came, for the intervals of totals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import NotFoundError
from everloop.data.panel import Panel, join_key
from everloop.data.totals import Grouping, total_panel
from everloop.models.total_errors import PastTotals, usual_change
from everloop.validate.backtest import Backtest

__all__ = ["PastWindows", "read_windows", "units", "units_memory"]

Floats = NDArray[np.float64]

_UNIT_SEASONS, _UNIT_PERIODS = 4, 224


@dataclass(frozen=True, slots=True)
class PastWindows:
    """Forecasts beside what came, for all series of a panel.

    Attributes:
        cutoffs: the grid index of the last known period of each window, rising; shape ``(windows,)``.
        actual: shape ``(windows, n_series, steps)``; NaN where nothing is known or the series had not begun.
        mean: likewise.
    """

    cutoffs: NDArray[np.int64]
    actual: Floats
    mean: Floats

    @classmethod
    def of(cls, backtest: Backtest, panel: Panel) -> PastWindows:
        """The windows of a backtest of this panel."""
        shape = (len(backtest.folds), panel.n_series, backtest.plan.horizon)
        actual, mean = np.full(shape, np.nan), np.full(shape, np.nan)
        for number, fold in enumerate(backtest.folds):
            actual[number, fold.positions], mean[number, fold.positions] = fold.actual, fold.mean
        return cls(np.array([fold.cutoff for fold in backtest.folds], dtype=np.int64), actual, mean)

    def first(self, steps: int) -> PastWindows:
        """The first steps of every window."""
        return PastWindows(self.cutoffs, self.actual[..., :steps], self.mean[..., :steps])

    def totals(self, panel: Panel, level: Grouping) -> PastTotals:
        """The windows summed to the totals of a level.

        A total holds those members whose actual value is known, in the forecast as in what came.
        """
        known = np.isfinite(self.actual) & np.isfinite(self.mean)
        members = np.stack([level.sums(each) for each in known])
        actual, mean = (
            np.where(
                members > 0, np.stack([level.sums(np.where(is_known, each, 0.0)) for each, is_known in pairs]), np.nan
            )
            for pairs in (zip(self.actual, known, strict=True), zip(self.mean, known, strict=True))
        )
        drops = [panel.cutoff - int(cutoff) for cutoff in self.cutoffs]
        return PastTotals(actual, mean, units(panel, level, drops))


def units_memory(season: int) -> int:
    """How many periods before a cutoff the units are learnt from."""
    return max(_UNIT_SEASONS * season, _UNIT_PERIODS) + season


def units(panel: Panel, level: Grouping, drops: list[int]) -> Floats:
    """The unit of each total's errors as it was so many periods ago, shape ``(drops, totals)``."""
    totals = total_panel(panel, level)
    season = panel.frequency.season
    periods = units_memory(season) - season
    if not drops:
        return np.zeros((0, totals.n_series))
    return np.stack([usual_change(totals.y, totals.offsets, season, periods=periods, drop=drop) for drop in drops])


def read_windows(folder: Path, panel: Panel) -> PastWindows:
    """The windows of the backtest that a release holds; series that the panel lacks are left out.

    Args:
        folder: the release's.
        panel: the series that are wanted.

    Raises:
        NotFoundError: the release holds no backtest.
    """
    import polars as pl  # who only scores a backtest reads no file

    path = folder / "evidence" / "backtest.parquet"
    if not path.is_file():
        raise NotFoundError(
            "backtest_missing",
            "the release holds no backtest, so nothing is known of the errors of its totals",
            hint="make a release anew: everloop run",
            path=str(path),
        )
    names = pl.DataFrame({"series": [join_key(key) for key in panel.keys], "row": np.arange(panel.n_series)})
    frame = pl.read_parquet(path, columns=["fold", "series", "time", "step", "actual", "forecast"])
    begins = frame.group_by("fold").agg(pl.col("time").min()).sort("fold")
    frame = frame.join(names, on="series")
    shape = (begins.height, panel.n_series, int(np.asarray(frame["step"]).max(initial=0)))
    place = (frame["fold"].to_numpy(), frame["row"].to_numpy(), frame["step"].to_numpy() - 1)
    actual, mean = np.full(shape, np.nan), np.full(shape, np.nan)
    actual[place], mean[place] = frame["actual"].to_numpy(), frame["forecast"].to_numpy()
    return PastWindows(panel.frequency.index(begins["time"].to_numpy()) - 1, actual, mean)
