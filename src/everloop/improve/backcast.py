"""What another release would have said: its forecasts from the data of each past day, beside the truth known by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.data.panel import join_key
from everloop.improve.refresh import LoadedReleases
from everloop.models.asking import ask
from everloop.models.forecaster import ForecastRequest
from everloop.monitor.joining import JoinedForecast
from everloop.store.deployments import find_state
from everloop.store.engine import Store
from everloop.store.facts import find_prediction

__all__ = ["Backcast", "backcast"]

_MOST = 8


@dataclass(frozen=True, slots=True)
class Backcast:
    """The errors of two releases on the same forecasts.

    Attributes:
        other: the absolute error of the other release from each origin, over the sales, shape ``(k,)``.
        own: that of the release whose batches they are.
        n: forecast values that were compared.
    """

    other: NDArray[np.float64]
    own: NDArray[np.float64]
    n: int

    @property
    def ratio(self) -> float | None:
        """The other's error over the own one, all origins together; ``None`` where nothing was compared."""
        own = float(self.own.sum())
        return float(self.other.sum()) / own if own > 0 else None

    @property
    def wins(self) -> int:
        """From how many origins the other one was better."""
        return int((self.other < self.own).sum())


def backcast(
    project: Project,
    store: Store,
    release: str,
    batches: Sequence[JoinedForecast],
    *,
    loaded: LoadedReleases,
) -> Backcast:
    """Make the forecasts that a release would have made in place of some batches.

    It sees the dataset version that each batch was made from, so nothing that came later.

    Args:
        project: the project.
        store: its store.
        release: the digest of the release that was not asked.
        batches: another release's batches beside the truth, in the order they were made; up to eight of those with
            truth are taken, spread over their time.
        loaded: releases opened so far.

    Raises:
        NotFoundError: a dataset version is gone.
        IntegrityError: the release's bundle was changed.
        ModelError: its model fails on the data.
    """
    told = [each for each in batches if each.kind == "batch" and np.isfinite(each.actual).any()]
    chosen = (
        [told[place] for place in sorted({*np.linspace(0, len(told) - 1, _MOST).round().astype(int)})] if told else []
    )
    others, owns, n = [], [], 0
    for batch in chosen:
        mean = _would_say(project, store, release, batch, loaded)
        if mean is None:
            continue
        known = np.isfinite(batch.actual) & np.isfinite(mean) & np.isfinite(batch.mean)
        sales = float(np.abs(batch.actual[known]).sum())
        if sales > 0:
            n += int(known.sum())
            others.append(float(np.abs(mean - batch.actual)[known].sum()) / sales)
            owns.append(float(np.abs(batch.mean - batch.actual)[known].sum()) / sales)
    return Backcast(np.array(others), np.array(owns), n)


def _would_say(
    project: Project, store: Store, release: str, batch: JoinedForecast, loaded: LoadedReleases
) -> NDArray[np.float64] | None:
    """The forecast laid out as the batch is, NaN where there is none; ``None`` for a batch without a state."""
    with store.read() as tx:
        state = find_prediction(tx, batch.prediction).state
        version = find_state(tx, state).dataset_version if state else None
    if version is None:
        return None
    model = loaded.get(release)[1]
    horizon = project.settings.forecast.horizon
    panel, _ = load_panel(project, version=version, history=model.memory, horizon=horizon)
    forecast = ask(model.update(panel), ForecastRequest(horizon, ()))
    frequency = Frequency.parse(project.settings.data.frequency)
    index = frequency.index(panel.frequency.times(forecast.cutoff + 1 + np.arange(horizon)))
    column = {int(each): place for place, each in enumerate(index)}
    row = {join_key(panel.keys[number]): place for place, number in enumerate(forecast.series.tolist())}
    mean = np.full(batch.mean.shape, np.nan)
    rows = np.array([row.get(key, -1) for key in batch.series])
    columns = np.array([column.get(int(each), -1) for each in batch.index])
    here = np.ix_(np.flatnonzero(rows >= 0), np.flatnonzero(columns >= 0))
    mean[here] = forecast.mean[np.ix_(rows[rows >= 0], columns[columns >= 0])]
    return mean
