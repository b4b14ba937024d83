from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from everloop.core.errors import ModelError, SettingsError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from everloop.validate.backtest import BacktestPlan, cutoffs, run_backtest
from everloop.validate.scores import score_backtest

PLAN = BacktestPlan(windows=3, horizon=14, step=14)
CONTEXT = FitContext(horizon=14, levels=(80.0,))


class Recorder:
    """Forecasts zero, and remembers every panel that it was shown."""

    memory = 10

    def __init__(self, seen: list[tuple[str, Panel]] | None = None) -> None:
        self.seen = [] if seen is None else seen

    def fit(self, panel: Panel, context: FitContext) -> Self:
        return self._look("fit", panel)

    def update(self, panel: Panel) -> Self:
        return type(self)(self.seen)._look("update", panel)

    def _look(self, word: str, panel: Panel) -> Self:
        self.seen.append((word, panel))
        self.panel_ = panel
        return self

    def forecast(self, request: ForecastRequest) -> Forecast:
        mean = np.zeros((len(request.series), request.horizon))
        ends = dict.fromkeys(request.levels, mean)
        return Forecast(request.series, self.panel_.cutoff, mean, ends, ends, ("zero",))

    def series_panel(self) -> Panel:
        return self.panel_

    def parameters(self) -> dict[str, Any]:
        return {}

    def save(self, folder: Path) -> None:
        (folder / "nothing").write_text("")

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls()


class TestCutoffs:
    def test_the_newest_window_ends_with_the_data(self, make_panel: Callable[..., Panel]) -> None:
        panel = make_panel()
        assert cutoffs(panel, PLAN) == (panel.cutoff - 42, panel.cutoff - 28, panel.cutoff - 14)
        assert cutoffs(panel, replace(PLAN, step=1)) == (panel.cutoff - 16, panel.cutoff - 15, panel.cutoff - 14)

    def test_too_little_history_says_how_much_is_needed(self, make_panel: Callable[..., Panel]) -> None:
        cutoffs(make_panel(periods=56), PLAN)
        with pytest.raises(ModelError, match="needs 56 periods of history; the longest series has 55") as caught:
            cutoffs(make_panel(periods=55), PLAN)
        assert caught.value.code == "history_short"
        assert "validate.windows" in caught.value.hint

    def test_the_plan_follows_the_settings(self, make_project: Callable[..., Project]) -> None:
        assert BacktestPlan.of(make_project().settings) == BacktestPlan(2, 14, 14, "refit")
        overrides = ("validate.step=7", "validate.mode=update")
        assert BacktestPlan.of(make_project(*overrides).settings) == BacktestPlan(2, 14, 7, "update")


class TestWhatIsShown:
    def test_nothing_after_the_cutoff_is_shown_but_what_was_known_ahead(self, make_panel: Callable[..., Panel]) -> None:
        """A leak planted after each cutoff changes nothing that a forecaster sees."""
        panel = make_panel()
        for cutoff in cutoffs(panel, PLAN):
            poisoned_y = panel.y.copy()
            poisoned_y[panel.index_of_rows() > cutoff] = 1e9
            clean, poisoned = Recorder(), Recorder()
            plan = BacktestPlan(1, 14, 14)
            until = panel.until(cutoff + 14, horizon=0)
            bad = replace(panel, y=poisoned_y).until(cutoff + 14, horizon=0)
            run_backtest(lambda it=clean: it, until, plan, CONTEXT)
            run_backtest(lambda it=poisoned: it, bad, plan, CONTEXT)
            seen, other = clean.seen[0][1], poisoned.seen[0][1]
            assert seen.cutoff == cutoff
            np.testing.assert_array_equal(seen.y, other.y)
            assert seen.y.max() < 1e9
            assert seen.future.steps == 14

    def test_actuals_are_those_of_the_window(self, make_panel: Callable[..., Panel]) -> None:
        panel = make_panel()
        backtest = run_backtest(Recorder, panel, PLAN, CONTEXT)
        assert len(backtest.folds) == 3
        for fold in backtest.folds:
            for row, series in enumerate(fold.positions):
                own = panel.y[panel.offsets[series] : panel.offsets[series + 1]]
                start = len(own) - (panel.cutoff - fold.cutoff)
                np.testing.assert_array_equal(fold.actual[row], own[start : start + 14])
        assert backtest.folds[0].notes == ("zero",)

    def test_a_series_that_had_not_begun_is_not_in_the_window(self, make_panel: Callable[..., Panel]) -> None:
        panel = make_panel(late=125)
        backtest = run_backtest(Recorder, panel, PLAN, CONTEXT)
        assert [len(fold.positions) for fold in backtest.folds] == [11, 12, 12]
        assert backtest.n_forecasts == 35 * 14

    def test_refit_fits_each_time_and_update_fits_once(self, make_panel: Callable[..., Panel]) -> None:
        refit, update = Recorder(), Recorder()
        told: list[tuple[int, int]] = []
        run_backtest(lambda: refit, make_panel(), PLAN, CONTEXT, progress=lambda done, all_: told.append((done, all_)))
        run_backtest(lambda: update, make_panel(), replace(PLAN, mode="update"), CONTEXT)
        assert [word for word, _ in refit.seen] == ["fit"] * 3
        assert [word for word, _ in update.seen] == ["fit", "update", "update"]
        assert update.seen[1][1].lengths.max() == Recorder.memory
        assert told == [(1, 3), (2, 3), (3, 3)]

    def test_update_equals_refit_where_nothing_is_learnt(self, make_panel: Callable[..., Panel]) -> None:
        panel = make_panel()

        def means(mode: Any) -> list[np.ndarray]:
            plan = replace(PLAN, mode=mode)
            return [f.mean for f in run_backtest(lambda: make_forecaster("seasonal_naive"), panel, plan, CONTEXT).folds]

        for refit, update in zip(means("refit"), means("update"), strict=True):
            np.testing.assert_array_equal(refit, update)

    def test_a_forecaster_that_fails_is_told_by_name(self, make_panel: Callable[..., Panel]) -> None:
        class Broken(Recorder):
            def fit(self, panel: Panel, context: FitContext) -> Self:
                raise ZeroDivisionError("oops")

        with pytest.raises(ModelError, match="mine cannot be fitted: ZeroDivisionError: oops"):
            run_backtest(Broken, make_panel(), PLAN, CONTEXT, name="mine")


class TestScores:
    def test_windows_steps_and_slices_add_up(self, make_panel: Callable[..., Panel]) -> None:
        panel = make_panel(late=125)
        backtest = run_backtest(lambda: make_forecaster("seasonal_naive"), panel, PLAN, CONTEXT)
        scores = score_backtest(backtest, panel, slices=["dept", "store"])
        total = scores.overall["wape"]
        assert total.n == backtest.n_forecasts
        assert sum(each["wape"].n for each in scores.by_fold) == total.n
        assert sum(each["wape"].n for each in scores.by_step) == total.n
        assert set(scores.by_slice["dept"]) == {"food", "toys"}
        assert set(scores.by_slice["store"]) == {"S0", "S1", "S2"}
        assert sum(each["wape"].n for each in scores.by_slice["store"].values()) == total.n
        food = [panel.static["dept"][fold.positions] == 0 for fold in backtest.folds]
        errors = [np.abs(f.mean - f.actual)[rows].sum() for f, rows in zip(backtest.folds, food, strict=True)]
        demand = [f.actual[rows].sum() for f, rows in zip(backtest.folds, food, strict=True)]
        assert scores.by_slice["dept"]["food"]["wape"].value == pytest.approx(sum(errors) / sum(demand))

    def test_an_unknown_slice_is_refused_with_a_hint(self, make_panel: Callable[..., Panel]) -> None:
        panel = make_panel()
        backtest = run_backtest(Recorder, panel, PLAN, CONTEXT)
        with pytest.raises(SettingsError, match="'dpet' is neither") as caught:
            score_backtest(backtest, panel, slices=["dpet"])
        assert caught.value.hint == "did you mean 'dept'?"

    def test_three_thousand_series_cost_little_beside_the_model(self, make_panel: Callable[..., Panel]) -> None:
        """Generous, since the machine may be busy; alone it is about half a second."""
        panel = make_panel(3049, 400)
        started = time.process_time()
        backtest = run_backtest(Recorder, panel, BacktestPlan(3, 28, 28), FitContext(28, (80.0, 95.0)))
        score_backtest(backtest, panel, slices=["dept"])
        assert time.process_time() - started < 6
