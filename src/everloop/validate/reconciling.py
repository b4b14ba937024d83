"""Totals that are forecast themselves, and series made to agree with them, with weights learnt from past windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.data.totals import Grouping, total_panel
from everloop.experiment.training import fit_context, fit_model, make_candidate
from everloop.models.asking import ask
from everloop.models.forecaster import ForecastRequest
from everloop.models.reconciliation import reconciled
from everloop.validate.totals import PastWindows

__all__ = ["Reconciliation", "stacked"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Forecasts of series, changed by what the totals' own forecasts say.

    Attributes:
        windows: the past windows, each changed by weights that were learnt from the others.
        mean: the forecast, shape ``(n_series, steps)``.
    """

    windows: PastWindows
    mean: Floats

    @classmethod
    def make(
        cls, project: Project, panel: Panel, windows: PastWindows, mean: Floats, levels: Sequence[Grouping]
    ) -> Reconciliation:
        """Forecast the totals of some levels by ``forecast.totals_candidate``, and reconcile.

        The candidate is fitted to the totals at each window's cutoff and at the panel's, as in a backtest by refitting.

        Args:
            project: the project, whose ``forecast.reconcile`` says how.
            panel: the series' history up to the cutoff of ``mean``.
            windows: past forecasts of the series beside what came.
            mean: their forecast now.
            levels: whose totals are forecast.

        Raises:
            UsageError: there is no such candidate.
            ModelError: the history is too short for it, or it fails.
        """
        lowest = 0.0 if not np.nanmin(panel.y, initial=np.inf) < 0 else -np.inf
        totals = stacked(panel, levels)
        steps = mean.shape[1]
        now = _own(project, totals, panel.cutoff, _summed(mean, levels))
        past = np.stack(
            [
                _own(project, totals, int(cutoff), _summed(each, levels))
                for cutoff, each in zip(windows.cutoffs, windows.mean, strict=True)
            ]
        )[..., :steps]
        actual = np.concatenate([windows.totals(panel, level).actual for level in levels], axis=1)
        below, above = windows.actual - windows.mean, actual - past

        def changed(series: Floats, own: Floats, learnt: NDArray[np.bool_]) -> Floats:
            return reconciled(
                series,
                own,
                levels,
                method=project.settings.forecast.reconcile,
                errors=(_flat(below[learnt]), _flat(above[learnt])),
                lowest=lowest,
            )

        every = np.arange(len(windows.cutoffs))
        means = [
            np.where(np.isfinite(each), changed(np.nan_to_num(each), past[number], every != number), np.nan)
            for number, each in enumerate(windows.mean)
        ]
        return cls(replace(windows, mean=np.stack(means)), changed(mean, now, every >= 0))


def stacked(panel: Panel, levels: Sequence[Grouping]) -> Panel:
    """The totals of all levels as the series of one panel, level after level, named by numbers."""
    parts = [total_panel(panel, level) for level in levels]
    lengths = np.concatenate([each.lengths for each in parts])
    return replace(
        parts[0],
        series_columns=("level", "total"),
        keys=tuple((f"{at:03d}", f"{row:09d}") for at, each in enumerate(parts) for row in range(each.n_series)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        y=np.concatenate([each.y for each in parts]),
    )


def _own(project: Project, totals: Panel, cutoff: int, otherwise: Floats) -> Floats:
    """The totals' own forecasts from a cutoff; the sum of the series where a total had not begun by then."""
    past = totals.until(cutoff)
    found = otherwise.copy()
    if not past.n_series:
        return found
    name = project.settings.forecast.totals_candidate
    context = replace(fit_context(project, seed_names=("totals",)), horizon=otherwise.shape[1], levels=())
    model = fit_model(make_candidate(project, name), past, context, name=name)
    forecast = ask(model, ForecastRequest(otherwise.shape[1]))
    rows = np.flatnonzero(totals.lengths > totals.cutoff - cutoff)
    found[rows] = forecast.mean
    return found


def _summed(mean: Floats, levels: Sequence[Grouping]) -> Floats:
    return np.concatenate([each.sums(np.nan_to_num(mean)) for each in levels])


def _flat(errors: Floats) -> Floats:
    """Errors of windows side by side, shape ``(rows, windows * steps)``."""
    return np.ascontiguousarray(np.moveaxis(errors, 0, 1)).reshape(errors.shape[1], -1)
