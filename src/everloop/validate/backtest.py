"""Cross-validation in time: at each of several past cutoffs, forecast with what was known then.

A window is one cutoff and the ``horizon`` periods after it, whose actual values are known by now. The panel given
to a forecaster ends at the cutoff; what was known ahead is all that it sees of the time after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.core.settings.whole import Settings
from everloop.data.panel import Panel
from everloop.experiment.training import fit_model
from everloop.models.asking import ask
from everloop.models.forecaster import FitContext, Forecast, Forecaster, ForecastRequest
from everloop.validate.metrics import past_scale

__all__ = ["Backtest", "BacktestPlan", "Fold", "Progress", "cutoffs", "folds_at", "run_backtest"]

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with the windows done and all of them."""


@dataclass(frozen=True, slots=True)
class BacktestPlan:
    """Which windows a backtest has.

    Attributes:
        windows: how many.
        horizon: how many periods each forecasts.
        step: the distance between two cutoffs, in periods.
        mode: ``"refit"`` fits anew at each cutoff; ``"update"`` fits at the first and brings it up to date later,
            as the server does between two trainings.
    """

    windows: int
    horizon: int
    step: int
    mode: Literal["refit", "update"] = "refit"

    @classmethod
    def of(cls, settings: Settings) -> BacktestPlan:
        """The plan that the settings ask for."""
        validation, horizon = settings.validation, settings.forecast.horizon
        return cls(validation.windows, horizon, validation.step or horizon, validation.mode)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"windows": self.windows, "horizon": self.horizon, "step": self.step, "mode": self.mode}


@dataclass(frozen=True, slots=True)
class Fold:
    """One window, forecasts beside what happened; ``n`` series, ``h`` steps.

    Attributes:
        cutoff: the grid index of the last period that was known.
        positions: the number of each series in the whole panel, shape ``(n,)``.
        actual: shape ``(n, h)``, NaN where there is no row.
        mean: the forecast, shape ``(n, h)``.
        lower: by level, shape ``(n, h)``; NaN where the forecaster gave no interval.
        upper: likewise.
        mase_scale: mean absolute seasonal difference of each series' past, shape ``(n,)``.
        rmsse_scale: mean squared one-step difference of each series' past, shape ``(n,)``.
        fit_seconds: time spent in ``fit`` or ``update``.
        forecast_seconds: time spent in ``forecast``.
        notes: what the forecaster said.
    """

    cutoff: int
    positions: NDArray[np.int64]
    actual: Floats
    mean: Floats
    lower: dict[float, Floats]
    upper: dict[float, Floats]
    mase_scale: Floats
    rmsse_scale: Floats
    fit_seconds: float
    forecast_seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backtest:
    """All windows of a candidate, oldest first."""

    plan: BacktestPlan
    levels: tuple[float, ...]
    folds: tuple[Fold, ...]

    @property
    def n_forecasts(self) -> int:
        """How many forecasts have an actual value beside them."""
        return sum(int(np.isfinite(fold.actual).sum()) for fold in self.folds)

    @property
    def seconds(self) -> float:
        """Time spent in the forecaster."""
        return sum(fold.fit_seconds + fold.forecast_seconds for fold in self.folds)


def cutoffs(panel: Panel, plan: BacktestPlan) -> tuple[int, ...]:
    """The cutoffs of a plan, oldest first; the newest window ends where the panel does.

    Before the first cutoff the longest series must have at least a season and one period, and a horizon.

    Raises:
        ModelError: the history is too short.
    """
    reach = plan.horizon + (plan.windows - 1) * plan.step
    least = max(panel.frequency.season + 1, plan.horizon)
    longest = int(panel.lengths.max()) if panel.n_series else 0
    if longest < reach + least:
        raise ModelError(
            "history_short",
            f"the backtest needs {reach + least} periods of history; the longest series has {longest}",
            hint=f"{plan.windows} windows of {plan.horizon} steps reach back {reach} periods: lower "
            "validate.windows, validate.step or forecast.horizon, or bring older data",
            path="validate.windows",
        )
    newest = panel.cutoff - plan.horizon
    return tuple(newest - back * plan.step for back in reversed(range(plan.windows)))


def run_backtest(
    make: Callable[[], Forecaster],
    panel: Panel,
    plan: BacktestPlan,
    context: FitContext,
    *,
    name: str = "the candidate",
    progress: Progress | None = None,
) -> Backtest:
    """Backtest a forecaster.

    Args:
        make: makes it, unfitted.
        panel: the data.
        plan: which windows.
        context: what each fit is given.
        name: what it is called in messages.
        progress: told after each window.

    Raises:
        ModelError: the history is too short, or the forecaster fails.
    """
    chosen = cutoffs(panel, plan)
    return Backtest(plan, context.levels, folds_at(chosen, make, panel, plan, context, name=name, progress=progress))


def folds_at(
    chosen: Sequence[int],
    make: Callable[[], Forecaster],
    panel: Panel,
    plan: BacktestPlan,
    context: FitContext,
    *,
    name: str = "the candidate",
    progress: Progress | None = None,
) -> tuple[Fold, ...]:
    """Some windows of a backtest; those of a plan that refits do not depend on each other.

    Args:
        chosen: their cutoffs, oldest first; of a plan that updates, all that there are.
        make: makes the forecaster, unfitted.
        panel: the data.
        plan: the backtest's.
        context: what each fit is given.
        name: what the forecaster is called in messages.
        progress: told after each window.

    Raises:
        ModelError: the forecaster fails.
    """
    folds: list[Fold] = []
    before: Forecaster | None = None
    for cutoff in chosen:
        # what a window held is let go before the next one takes as much
        fold, model = _window(panel, cutoff, make, before, plan, context, name=name)
        folds.append(fold)
        before = model if plan.mode == "update" else None
        del model
        if progress is not None:
            progress(len(folds), len(chosen))
    return tuple(folds)


def _window(
    panel: Panel,
    cutoff: int,
    make: Callable[[], Forecaster],
    before: Forecaster | None,
    plan: BacktestPlan,
    context: FitContext,
    *,
    name: str,
) -> tuple[Fold, Forecaster]:
    """One window, and the model at its cutoff: one of before brought up to date, or made and fitted there."""
    past = panel.until(cutoff, horizon=plan.horizon)
    started = time.perf_counter()
    if before is None:
        model = fit_model(make(), past, context, name=name)
    else:
        model = before.update(past.tail(max(before.memory, 1)))
    fitted = time.perf_counter()
    forecast = ask(model, ForecastRequest(plan.horizon, context.levels))
    asked = time.perf_counter()
    return _fold(panel, past, forecast, context.levels, (fitted - started, asked - fitted)), model


def _fold(
    panel: Panel, past: Panel, forecast: Forecast, levels: tuple[float, ...], seconds: tuple[float, float]
) -> Fold:
    horizon = forecast.mean.shape[1]
    drop = panel.cutoff - past.cutoff
    kept = np.flatnonzero(panel.lengths > drop)
    if len(forecast.mean) != len(kept) or forecast.cutoff != past.cutoff:
        raise ModelError(
            "forecast_shape",
            f"the forecaster gave {len(forecast.mean)} series from period {forecast.cutoff}; "
            f"asked were {len(kept)} from {past.cutoff}",
            hint="everloop.models.checks tells which law a forecaster breaks",
        )
    ahead = (panel.offsets[1:][kept] - drop)[:, None] + np.arange(horizon)[None, :]
    blank = np.full(forecast.mean.shape, np.nan)
    return Fold(
        cutoff=past.cutoff,
        positions=kept,
        actual=panel.scored()[ahead].astype(np.float64),
        mean=forecast.mean,
        lower={level: forecast.lower.get(level, blank) for level in levels},
        upper={level: forecast.upper.get(level, blank) for level in levels},
        mase_scale=past_scale(past.y, past.offsets, panel.frequency.season),
        rmsse_scale=past_scale(past.y, past.offsets, 1, is_squared=True),
        fit_seconds=seconds[0],
        forecast_seconds=seconds[1],
        notes=forecast.notes,
    )
