"""Past windows summed to totals, read back from a release, and what may not leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everloop.core.errors import NotFoundError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.data.totals import grouping
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext
from everloop.validate.backtest import BacktestPlan, run_backtest
from everloop.validate.reconciling import Reconciliation, stacked
from everloop.validate.totals import PastWindows, read_windows, units, units_memory
from releasing import release_once

PLAN = BacktestPlan(windows=3, horizon=14, step=14)


def windows_of(panel: Panel) -> PastWindows:
    context = FitContext(horizon=14, levels=(80.0,))
    return PastWindows.of(run_backtest(lambda: make_forecaster("seasonal_naive"), panel, PLAN, context), panel)


def with_gaps(panel: Panel) -> Panel:
    """Some rows of the last weeks are missing, and a whole day of one store."""
    y = panel.y.copy()
    y[panel.offsets[1] - 5] = np.nan
    closed = np.array([key[0] == "S1" for key in panel.keys])[panel.series_of_rows()]
    y[closed & (panel.index_of_rows() == panel.cutoff - 8)] = np.nan
    return replace(panel, y=y)


def test_a_total_holds_the_members_that_are_known(make_panel: Callable[..., Panel]) -> None:
    panel = with_gaps(make_panel(late=140))
    windows = windows_of(panel)
    level = grouping(panel, ["store"])
    found = windows.totals(panel, level)
    for window, number, step in np.ndindex(*found.mean.shape):
        rows = [
            row
            for row in np.flatnonzero(level.codes == number)
            if np.isfinite(windows.actual[window, row, step]) and np.isfinite(windows.mean[window, row, step])
        ]
        if not rows:
            assert np.isnan(found.actual[window, number, step])
            continue
        assert found.actual[window, number, step] == pytest.approx(windows.actual[window, rows, step].sum())
        assert found.mean[window, number, step] == pytest.approx(windows.mean[window, rows, step].sum())
    assert np.isnan(found.actual).sum() == 1, "the day of the store without any"


def test_a_release_holds_the_windows_of_its_backtest(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel], tmp_path: Path
) -> None:
    panel = with_gaps(make_panel(late=140))
    release = release_once(make_project("validate.windows=3"), panel)
    found, expected = read_windows(release.folder, panel), windows_of(panel)
    assert found.cutoffs.tolist() == expected.cutoffs.tolist()
    assert found.actual == pytest.approx(expected.actual, nan_ok=True, rel=1e-6)
    assert found.mean == pytest.approx(expected.mean, nan_ok=True, rel=1e-6)
    assert found.first(3).mean.shape == (3, 12, 3)
    some = replace(panel, keys=panel.keys[:-1], offsets=panel.offsets[:-1], y=panel.y[: panel.offsets[-2]])
    fewer = read_windows(release.folder, some)
    assert fewer.mean == pytest.approx(found.mean[:, :-1], nan_ok=True)
    with pytest.raises(NotFoundError, match="no backtest"):
        read_windows(tmp_path, panel)


def test_units_know_the_past_alone_and_need_no_more_than_their_memory(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(periods=400)
    level = grouping(panel, ["store"])
    y = panel.y.copy()
    y[panel.index_of_rows() > panel.cutoff - 30] *= 9
    changed = replace(panel, y=y)
    assert units(changed, level, [30]) == pytest.approx(units(panel, level, [30]))
    assert (units(changed, level, [0]) > 2 * units(panel, level, [0])).all()
    short = panel.tail(30 + units_memory(7))
    assert units(short, level, [30]) == pytest.approx(units(panel, level, [30]))
    assert units(panel, level, []).shape == (0, 3)


def test_a_window_does_not_teach_its_own_weights(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    panel = make_panel()
    project = make_project(
        'forecast.reconcile="wls_var"', "forecast.totals=[[]]", 'forecast.totals_candidate="statistical"'
    )
    windows, level = windows_of(panel), [grouping(panel, [])]
    now = windows.mean[-1]
    plain = Reconciliation.make(project, panel, windows, now, level)
    actual = windows.actual.copy()
    actual[1] += 50
    other = Reconciliation.make(project, panel, replace(windows, actual=actual), now, level)
    assert other.windows.mean[1] == pytest.approx(plain.windows.mean[1], abs=1e-9)
    assert np.abs(other.windows.mean[0] - plain.windows.mean[0]).max() > 0.01
    assert np.abs(other.mean - plain.mean).max() > 0.01
    assert np.isfinite(plain.mean).all()
    assert plain.mean.min() >= 0


def test_all_levels_are_one_panel(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(late=40)
    levels = [grouping(panel, columns) for columns in ([], ["store"], ["item"])]
    found = stacked(panel, levels)
    assert found.n_series == 1 + 3 + 12
    assert list(found.keys) == sorted(found.keys)
    assert found.lengths.tolist().count(120) == 1
    every = found.last(40).astype(float)
    assert every[1:4].sum(axis=0) == pytest.approx(every[0])
    assert every[4:].sum(axis=0) == pytest.approx(every[0])
