"""An ensemble's backtest put together from those of its members: the same numbers, without fitting them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.training import make_candidate
from everloop.models.catalog import make_forecaster
from everloop.models.ensemble import ENSEMBLE, EnsembleForecaster, average
from everloop.models.forecaster import Forecast
from everloop.validate.backtest import Backtest, Fold
from everloop.validate.examination import Examination, Reference
from everloop.validate.scores import score_as_set

__all__ = ["blend", "blended"]


def blended(project: Project, panel: Panel, candidate: str, done: Sequence[Examination]) -> Reference | None:
    """The backtest of an ensemble all of whose members were examined with the options that they have in it.

    Returns:
        ``None`` where the candidate is no ensemble, or a member was not examined so.
    """
    if candidate != ENSEMBLE:
        return None
    model = make_candidate(project, candidate)
    if not isinstance(model, EnsembleForecaster):
        return None
    options = model.options or {}
    found = []
    for name in model.members:
        wanted = make_forecaster(name, options.get(name)).parameters()
        found += [each.backtest for each in done if each.candidate == name and each.options == wanted][:1]
    if len(found) < len(model.members):
        return None
    backtest = blend(found)
    return Reference(candidate, model.parameters(), backtest, score_as_set(backtest, panel, project.settings))


def blend(backtests: Sequence[Backtest]) -> Backtest:
    """The backtest of the mean of several forecasters, on the windows that all of them were backtested on."""
    first = backtests[0]
    windows = zip(*(each.folds for each in backtests), strict=True)
    return replace(first, folds=tuple(_mean(folds) for folds in windows))


def _mean(folds: Sequence[Fold]) -> Fold:
    first = folds[0]
    answers = [
        Forecast(np.arange(len(each.mean)), each.cutoff, each.mean, each.lower, each.upper, each.notes)
        for each in folds
    ]
    found = average(answers)
    return replace(
        first,
        mean=found.mean,
        lower=found.lower,
        upper=found.upper,
        fit_seconds=sum(each.fit_seconds for each in folds),
        forecast_seconds=sum(each.forecast_seconds for each in folds),
        notes=found.notes,
    )
