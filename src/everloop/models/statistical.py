"""Each kind of demand by the statistical method that forecast it best, and new series by their siblings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.models.coldstart import ColdStart, NewSeries
from everloop.models.demand_kinds import KINDS, kinds_of
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from everloop.models.intermittent import adida, aligned, croston, imapa, tsb
from everloop.models.intervals import PastErrors, error_unit, no_errors
from everloop.models.profiles import Profiles, season_of
from everloop.models.recomputed import RecomputedForecaster, block_sizes, seasonal_mean
from everloop.models.state import load_arrays, load_head, save_arrays, save_head
from everloop.models.theta_method import fit_theta

__all__ = ["StatisticalForecaster"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Method = Callable[[Doubles, int], Doubles]

_JUDGED_FORECASTS = 8000
"""At so many origins, of all series, methods are judged at most."""
_YEAR_US = 365.25 * 86_400 * 1_000_000
_SHORT_SEASONS = 8
_MEAN_PERIODS = 56
_LEAST_CASES = 30
"""A kind with fewer forecasts to judge by has the method that was best over all kinds."""


def _mean(y: Doubles, horizon: int) -> Doubles:
    del horizon
    newest = aligned(y)[:, -_MEAN_PERIODS:]
    is_there = ~np.isnan(newest)
    return np.asarray(np.where(is_there, newest, 0.0).sum(axis=1) / np.maximum(is_there.sum(axis=1), 1))[:, None]


METHODS: dict[str, Method] = {
    "mean": _mean,
    "smoothing": lambda y, h: fit_theta(y, share=0.0, low=0.02, high=0.5).ahead(1),
    "croston": lambda y, h: croston(y, 0.1, is_corrected=True)[:, None],
    "tsb": lambda y, h: tsb(y, 0.1, 0.05)[:, None],
    "adida": lambda y, h: adida(y)[:, None],
    "imapa": lambda y, h: imapa(y)[:, None],
    "theta": lambda y, h: fit_theta(y, low=0.02, high=0.5).ahead(h),
}
COMBINED = "combined"
"""The mean of all methods."""


class StatisticalForecaster(RecomputedForecaster):
    """A statistical method for each kind of demand; see :data:`METHODS`.

    Each series is put into a kind by what came before (Syntetos, Boylan and Croston 2005); a series of less than eight
    seasons is short. On horizons before the end all methods, and their mean, forecast from what was known then, and
    each kind gets the method of least squared error, in units of the root of the series' mean and pooled over the
    kind's series. The choice stands in :meth:`learned`. A series that is new, or has no history, is answered from
    launches of its siblings (:mod:`everloop.models.coldstart`).

    Args:
        history: how many of the last periods count.
        windows: on how many horizons of the last year, at most, methods and intervals are judged.
    """

    def __init__(self, history: int = 400, *, windows: int = 13) -> None:
        self.history = history
        self.windows = windows

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Choose a method for each kind, and learn profiles, past errors and launches.

        Raises:
            ModelError: the history is not positive.
        """
        self.least_ = _SHORT_SEASONS * min(season_of(panel), 7)
        self.chosen_ = dict.fromkeys(KINDS, COMBINED)
        self.judged_: dict[str, Any] = {}
        self.cold_ = ColdStart.learn(panel, horizon=context.horizon, seed=context.seed)
        return super().fit(panel, context)

    def levels(self, y: Doubles, horizon: int) -> Doubles:
        """The forecasts of each series by the method of its kind."""
        kinds = kinds_of(y, self.least_)
        found = np.zeros((len(y), horizon))
        for number, kind in enumerate(KINDS):
            rows = np.flatnonzero(kinds == number)
            if len(rows):
                found[rows] = _by(self.chosen_[kind], y[rows], horizon)
        return found

    def forecast(self, request: ForecastRequest) -> Forecast:
        """The forecasts that ``fit`` or ``update`` computed, those of new series from their siblings."""
        return self.cold_.answer(super().forecast(request), self.new_)

    def learned(self) -> dict[str, Any]:
        """The method of each kind with the errors that chose it, and what launches taught."""
        return {"methods": self.chosen_, "errors": self.judged_, "cold_start": self.cold_.learned()}

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        return {"history": self.history, "windows": self.windows}

    def save(self, folder: Path) -> None:
        """Write all of the state."""
        super().save(folder)
        (folder / "choice").mkdir()
        save_head(folder / "choice", {"chosen": self.chosen_, "judged": self.judged_, "least": self.least_})
        self.cold_.save(folder / "coldstart")
        new = {"series": self.new_.series, "mean": self.new_.mean, "age_class": self.new_.age_class}
        save_arrays(folder / "new", new)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        model = super().load(folder)
        head = load_head(folder / "choice")
        model.chosen_, model.judged_, model.least_ = head["chosen"], head["judged"], head["least"]
        model.cold_ = ColdStart.load(folder / "coldstart")
        model.new_ = NewSeries(**load_arrays(folder / "new", ["series", "mean", "age_class"]))
        return model

    def _take_over(self, other: Self) -> None:
        super()._take_over(other)
        self.chosen_, self.judged_, self.least_, self.cold_ = other.chosen_, other.judged_, other.least_, other.cold_

    def _look_ahead(self) -> None:
        super()._look_ahead()
        self.new_ = self.cold_.prepare(self.panel_)

    def _past_errors(self, panel: Panel, context: FitContext, lowest: float, seed: int) -> PastErrors:
        """Choose the methods, and give the errors at each window of what the other windows would have chosen."""
        trials = _trials(panel, self, context.horizon, lowest, seed)
        if not trials:
            return no_errors()
        losses = np.stack([trial.losses(lowest) for trial in trials])
        cases = np.stack([np.bincount(trial.kinds, minlength=len(KINDS)) for trial in trials])
        self.chosen_ = dict(zip(KINDS, _best(losses, cases), strict=True))
        self.judged_ = _told(losses.sum(axis=0), cases.sum(axis=0))
        parts = []
        for number, trial in enumerate(trials):
            others = np.arange(len(trials)) != number if len(trials) > 1 else np.ones(1, dtype=np.bool_)
            chosen = _best(losses[others], cases[others])
            parts.append(trial.errors([_NAMES.index(name) for name in chosen], lowest))
        return PastErrors(*(np.concatenate(each) for each in zip(*parts, strict=True)))


_NAMES = (*METHODS, COMBINED)


@dataclass(frozen=True, slots=True)
class _Trial:
    """What every method said at one origin.

    Attributes:
        kinds: of each series, shape ``(n,)``.
        truth: shape ``(n, horizon)``.
        mean: by method, shape ``(methods, n, horizon)``.
        scale: the mean absolute value of each series before the origin.
        deviation: its standard deviation.
    """

    kinds: Ints
    truth: Doubles
    mean: Doubles
    scale: Doubles
    deviation: Doubles

    def losses(self, lowest: float) -> Doubles:
        """The sums of squared errors in units of the series' size, shape ``(kinds, methods)``."""
        unit = error_unit(self.scale, self.scale, self.deviation, lowest)
        squares = np.nan_to_num(((self.truth - self.mean) / np.where(unit > 0, unit, 1.0)[:, None]) ** 2).sum(axis=2)
        return np.stack([np.bincount(self.kinds, each, len(KINDS)) for each in squares], axis=1)

    def errors(self, chosen: list[int], lowest: float) -> tuple[NDArray[Any], ...]:
        """Truth, forecast, unit and step of the methods chosen for each kind."""
        mean = self.mean[np.array(chosen)[self.kinds], np.arange(len(self.kinds))]
        unit = error_unit(mean, self.scale[:, None], self.deviation[:, None], lowest)
        step = np.broadcast_to(np.arange(1, mean.shape[1] + 1), mean.shape)
        return self.truth.ravel(), mean.ravel(), unit.ravel(), step.ravel()


def _ahead(y: Doubles, *, method: Method, horizon: int) -> Doubles:
    return method(y, horizon)


def _by(name: str, y: Doubles, horizon: int) -> Doubles:
    if name != COMBINED:
        return METHODS[name](y, horizon)
    total = np.zeros((len(y), horizon))
    for method in METHODS.values():
        total += method(y, horizon)
    return total / len(METHODS)


def _trials(panel: Panel, model: StatisticalForecaster, horizon: int, lowest: float, seed: int) -> list[_Trial]:
    """All methods at origins spread over the last year, on some series that were not new then."""
    backs = _windows_back(panel, model.windows, horizon)
    if not backs:
        return []
    span = backs[0]
    block = panel.last(model.memory + span)
    cut = panel.cutoff - span
    profiles = Profiles.learn(panel, block[:, :-span], cut, is_ratio=bool(np.isfinite(lowest)))
    order = np.random.default_rng(derive_seed(seed, "judged")).permutation(panel.n_series)
    rows = np.sort(order[: _JUDGED_FORECASTS // len(backs)])
    block, member = block[rows], profiles.member(panel)[rows]
    trials = []
    for back in backs:
        origin, upto = panel.cutoff - back, block.shape[1] - back
        before = block[:, upto - model.memory : upto]
        is_old = (np.nan_to_num(before[:, : -model.cold_.young]) != 0).any(axis=1)
        if is_old.any():
            before, truth = before[is_old], block[is_old, upto : upto + horizon].astype(np.float64)
            trials.append(_trial(before, truth, profiles.of(before, member[is_old], origin), model.least_, lowest))
    return trials


def _windows_back(panel: Panel, windows: int, horizon: int) -> list[int]:
    """How far each origin lies before the cutoff, the farthest first: windows of each season of the year.

    Windows of one season say nothing of the errors of another. Half of the past is left before them.
    """
    year = round(_YEAR_US / panel.frequency.step_us)
    longest = int(panel.lengths.max())
    available = min(year, longest // 2) // horizon
    count = min(windows, available)
    places = np.round(np.linspace(available, 1, count)) if count > 1 else np.ones(count)
    return [int(place) * horizon for place in places]


def _trial(before: NDArray[np.floating], truth: Doubles, profile: Doubles, least: int, lowest: float) -> _Trial:
    horizon, is_ratio = truth.shape[1], bool(np.isfinite(lowest))
    means = []
    for method in METHODS.values():
        ahead = partial(_ahead, method=method, horizon=horizon)
        means.append(np.maximum(seasonal_mean(before, profile, horizon, ahead, is_ratio=is_ratio), lowest))
    means.append(sum(means[1:], means[0]) / len(means))
    past = np.tile(profile, before.shape[1] // profile.shape[1])
    flat = before / past if is_ratio else before - past
    return _Trial(kinds_of(flat, least), truth, np.stack(means), *block_sizes(before))


def _best(losses: Doubles, cases: Ints) -> list[str]:
    """The method of least loss for each kind, that of all kinds where there are too few cases."""
    total, held = losses.sum(axis=0), cases.sum(axis=0)
    overall = int(total.sum(axis=0).argmin())
    return [
        _NAMES[int(row.argmin()) if count >= _LEAST_CASES else overall] for row, count in zip(total, held, strict=True)
    ]


def _told(losses: Doubles, cases: Ints) -> dict[str, Any]:
    """The root of each method's loss relative to the best of its kind, by kind, with the number of forecasts."""
    told = {}
    for kind, row, count in zip(KINDS, losses, cases.tolist(), strict=True):
        if count:
            least = max(float(row.min()), 1e-300)
            told[kind] = {"forecasts": count} | {
                name: round(float(np.sqrt(value / least)), 4) for name, value in zip(_NAMES, row, strict=True)
            }
    return told
