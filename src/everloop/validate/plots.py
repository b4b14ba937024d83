"""The plots of a run: forecasts beside what happened, error by step, coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from everloop.data.panel import Panel, join_key

if TYPE_CHECKING:
    from everloop.validate.examination import Examination

__all__ = ["draw_plots"]

_ACTUAL, _MINE, _OTHER = "#222222", "#0b62a4", "#b36b00"
_SHOWN_SERIES = 4


def draw_plots(examination: Examination, panel: Panel) -> dict[str, Figure]:
    """All plots of a backtest by name; no global state of matplotlib is touched."""
    plots: dict[str, Callable[[Examination, Panel], Figure]] = {
        "backtest": _draw_backtest,
        "error_by_step": _draw_error,
    }
    if examination.backtest.levels:
        plots["coverage"] = _draw_coverage
    return {name: draw(examination, panel) for name, draw in plots.items()}


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_backtest(examination: Examination, panel: Panel) -> Figure:
    """The last window of the largest series, the smallest, and two between, by actual sum."""
    fold = examination.backtest.folds[-1]
    size = np.nansum(np.abs(fold.actual), axis=1)
    order = np.argsort(-size, kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, _SHOWN_SERIES).astype(int))]
    horizon = examination.plan.horizon
    context = min(2 * horizon, 60)
    past = panel.until(fold.cutoff)
    history = past.last(context)
    times = panel.frequency.times(fold.cutoff - context + 1 + np.arange(context + horizon))
    ahead = times[context:]
    figure = _figure(9, 2.1 * len(rows))
    level = max(fold.lower, default=None)
    for axes, row in zip(np.atleast_1d(figure.subplots(len(rows), sharex=True)), rows, strict=True):
        known = np.concatenate([history[row], fold.actual[row].astype(np.float32)])
        axes.plot(times, known, color=_ACTUAL, linewidth=1, label="actual")
        axes.plot(ahead, fold.mean[row], color=_MINE, linewidth=1.5, label=examination.candidate)
        if level is not None:
            axes.fill_between(
                ahead, fold.lower[level][row], fold.upper[level][row], color=_MINE, alpha=0.2, label=f"{level:g} %"
            )
        axes.set_title(join_key(panel.keys[fold.positions[row]]), fontsize=9, loc="left")
    figure.axes[0].legend(fontsize=8, ncols=3, loc="upper left")
    figure.suptitle(f"{examination.candidate}: last window, cutoff {panel.frequency.label(times[context - 1])} (UTC)")
    return figure


def _draw_error(examination: Examination, panel: Panel) -> Figure:
    evaluation = examination.evaluation
    metric = examination.metric
    figure = _figure(7, 3.5)
    axes = figure.subplots()
    for scores, label, color in [
        (evaluation.scores, examination.candidate, _MINE),
        (evaluation.baseline, "seasonal naive", _OTHER),
    ]:
        values = [float("nan") if each[metric].value is None else each[metric].value for each in scores.by_step]
        axes.plot(np.arange(1, len(values) + 1), np.array(values, float), color=color, marker=".", label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"steps ahead ({panel.frequency.text})")
    axes.set_ylabel(metric)
    axes.set_title(f"{metric} by step ahead, n = {examination.backtest.n_forecasts}")
    axes.legend()
    return figure


def _draw_coverage(examination: Examination, panel: Panel) -> Figure:
    scores = examination.evaluation.scores
    figure = _figure(7, 3.5)
    axes = figure.subplots()
    steps = np.arange(1, len(scores.by_step) + 1)
    for place, level in enumerate(examination.backtest.levels):
        name = f"coverage_{level:g}"
        values: list[Any] = [each[name].value for each in scores.by_step]
        shares = np.array([float("nan") if value is None else 100 * value for value in values])
        color = f"C{place}"
        axes.plot(steps, shares, color=color, marker=".", label=f"{level:g} % intervals")
        axes.axhline(level, color=color, linestyle="--", linewidth=1)
    axes.set_ylim(0, 102)
    axes.set_xlabel(f"steps ahead ({panel.frequency.text})")
    axes.set_ylabel("actuals within, percent")
    axes.set_title(f"coverage by step ahead, n = {examination.backtest.n_forecasts}")
    axes.legend()
    return figure
