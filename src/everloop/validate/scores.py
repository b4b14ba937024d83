"""The table of metrics of a backtest: overall, by window, by step ahead, by slice; beside a baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import SettingsError, nearest
from everloop.core.settings.whole import Settings
from everloop.data.panel import Panel
from everloop.validate.backtest import Backtest, Fold
from everloop.validate.hierarchy import Sums, WeightedError
from everloop.validate.metrics import Cells, Measure, metric_cells, reduce_cells, step_cells
from everloop.validate.ordering import COST, COST_IN_ALL, Ordering, score_orders
from everloop.validate.ranking import TOTALS, total_groupings, wape_of_totals
from everloop.validate.uncertainty import weighted_pinball

__all__ = ["Evaluation", "Scores", "evaluate", "score_as_set", "score_backtest", "skill", "slice_values"]

Measures = dict[str, Measure]


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics by name.

    Attributes:
        overall: over all windows, series and steps.
        by_fold: for each window, oldest first.
        by_step: for each step ahead, the first one first.
        by_slice: for each column asked for, by its values.
    """

    overall: Measures
    by_fold: tuple[Measures, ...]
    by_step: tuple[Measures, ...]
    by_slice: dict[str, dict[str, Measures]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "overall": _plain(self.overall),
            "by_fold": [_plain(each) for each in self.by_fold],
            "by_step": [_plain(each) for each in self.by_step],
            "by_slice": {
                column: {value: _plain(each) for value, each in values.items()}
                for column, values in self.by_slice.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A candidate's scores beside the baseline's of the same windows.

    ``skill`` is, by metric, ``1 - candidate / baseline``: 0.1 means 10 % better than the seasonal naive; ``None``
    where one of the two cannot be told or the baseline is perfect.
    """

    scores: Scores
    baseline: Scores
    skill: dict[str, float | None]


def score_backtest(
    backtest: Backtest,
    panel: Panel,
    *,
    slices: Sequence[str] = (),
    sums: Sums | None = None,
    ordering: Ordering | None = None,
) -> Scores:
    """All metrics of a backtest.

    Args:
        backtest: the forecasts beside what happened.
        panel: the data that it was made on, for the slices' values and the sums' history.
        slices: series or static columns.
        sums: the sums of series whose weighted errors (WRMSSE, and WSPL where there are intervals) are wanted too.
        ordering: how orders are placed whose cost is wanted too.

    Raises:
        SettingsError: a slice is neither.
        UsageError: a column of the sums or of the costs is not there.
    """
    cells = _cells(backtest)
    by_step = tuple(
        _grouped({name: step_cells(each, step) for name, each in cells.items()}, None, 1)[0]
        for step in range(backtest.plan.horizon)
    )
    orders = None if ordering is None else score_orders(ordering, backtest, panel)
    cells |= {} if orders is None else orders.cells()  # of a whole order, not of a step
    series = np.concatenate([fold.positions for fold in backtest.folds])
    by_slice = {}
    for column in slices:
        codes, values = slice_values(panel, column)
        by_slice[column] = dict(zip(values, _grouped(cells, codes[series], len(values)), strict=True))
    windows = len(backtest.folds)
    window = np.repeat(np.arange(windows), [len(fold.positions) for fold in backtest.folds])
    overall, by_fold = _grouped(cells, None, 1)[0], _grouped(cells, window, windows)
    if orders is not None:
        overall[COST_IN_ALL] = orders.in_all()
        for number, measures in enumerate(by_fold):
            measures[COST_IN_ALL] = orders.in_all(window == number)
    for name, found in _window_measures(backtest, panel, sums).items():
        overall[name] = _mean_of(found)
        for measures, measure in zip(by_fold, found, strict=True):
            measures[name] = measure
    return Scores(overall, tuple(by_fold), by_step, by_slice)


def score_as_set(backtest: Backtest, panel: Panel, settings: Settings, *, has_slices: bool = True) -> Scores:
    """The metrics of a backtest that a project's settings ask for.

    Args:
        backtest: the forecasts beside what happened.
        panel: the data that it was made on.
        settings: the slices, the sums and the costs.
        has_slices: whether the slices are wanted.

    Raises:
        SettingsError: a slice is neither a series nor a static column.
        UsageError: a column of the sums or of the costs is not there.
    """
    slices = settings.validation.slices if has_slices else ()
    return score_backtest(backtest, panel, slices=slices, sums=Sums.of(settings), ordering=Ordering.of(settings))


def _cells(backtest: Backtest) -> dict[str, Cells]:
    """What each forecast adds to the metrics that are made of single forecasts."""
    folds = backtest.folds
    return metric_cells(
        np.concatenate([fold.actual for fold in folds]),
        np.concatenate([fold.mean for fold in folds]),
        lower={level: np.concatenate([fold.lower[level] for fold in folds]) for level in backtest.levels},
        upper={level: np.concatenate([fold.upper[level] for fold in folds]) for level in backtest.levels},
        mase_scale=np.concatenate([fold.mase_scale for fold in folds]),
        rmsse_scale=np.concatenate([fold.rmsse_scale for fold in folds]),
    )


def _window_measures(backtest: Backtest, panel: Panel, sums: Sums | None) -> dict[str, list[Measure]]:
    """The metrics that are made of all forecasts of a window together, for each window; overall their mean counts."""
    groupings = total_groupings(panel)
    found = {TOTALS: [wape_of_totals(groupings, fold) for fold in backtest.folds]}
    if sums is None:
        return found
    measured = [(fold, sums.error(panel.until(fold.cutoff), fold.actual, fold.mean)) for fold in backtest.folds]
    found["wrmsse"] = [_of_sums(fold, error, "mean squared one-step differences") for fold, error in measured]
    if backtest.levels:
        errors = zip(backtest.folds, weighted_pinball(sums, backtest, panel), strict=True)
        found["wspl"] = [_of_sums(fold, error, "mean one-step differences") for fold, error in errors]
    return found


def _of_sums(fold: Fold, error: WeightedError, differences: str) -> Measure:
    n = int(np.isfinite(fold.actual).sum())
    return Measure(error.value, n, f"{differences} of the sums", error.reason)


def _mean_of(measures: Sequence[Measure]) -> Measure:
    """The mean of the windows' values, none where one has none."""
    values = [each.value for each in measures if each.value is not None]
    reason = next((each.reason for each in measures if each.value is None), "")
    mean = float(np.mean(values)) if values and not reason else None
    return Measure(mean, sum(each.n for each in measures), measures[0].denominator, reason)


def slice_values(panel: Panel, column: str) -> tuple[NDArray[np.int64], list[str]]:
    """The group of every series by a column's values, and those values; -1 where a value is missing.

    Raises:
        SettingsError: it is neither a series nor a static column.
    """
    if column in panel.series_columns:
        place = panel.series_columns.index(column)
        texts = sorted({key[place] for key in panel.keys})
        code = {text: number for number, text in enumerate(texts)}
        return np.array([code[key[place]] for key in panel.keys], dtype=np.int64), texts
    if column not in panel.static:
        raise SettingsError(
            "slice_unknown",
            f"{column!r} is neither a series nor a static column",
            hint=nearest(column, [*panel.series_columns, *panel.static]),
            path="validate.slices",
        )
    raw = panel.static[column]
    known = np.isfinite(raw)
    found, inverse = np.unique(raw[known], return_inverse=True)
    groups = np.full(len(raw), -1, dtype=np.int64)
    groups[known] = inverse
    names = panel.categories.get(column)
    return groups, [names[int(value)] if names else f"{value:g}" for value in found]


def skill(measure: Measure | None, baseline: Measure | None) -> float | None:
    """How much better than the baseline: ``1 - measure / baseline``, ``None`` where it cannot be told."""
    if measure is None or baseline is None or measure.value is None or not baseline.value:
        return None
    return 1 - measure.value / baseline.value


def evaluate(scores: Scores, baseline: Scores) -> Evaluation:
    """Set a candidate's scores beside the baseline's."""
    names = [
        name for name in ("wape", TOTALS, "mase", "rmsse", "pinball", "wrmsse", "wspl", COST) if name in scores.overall
    ]
    return Evaluation(
        scores, baseline, {name: skill(scores.overall[name], baseline.overall.get(name)) for name in names}
    )


def _grouped(cells: dict[str, Cells], groups: NDArray[np.int64] | None, count: int) -> list[Measures]:
    columns = {name: reduce_cells(each, groups, count) for name, each in cells.items()}
    return [{name: column[number] for name, column in columns.items()} for number in range(count)]


def _plain(measures: Measures) -> dict[str, Any]:
    return {name: measure.to_dict() for name, measure in measures.items()}
