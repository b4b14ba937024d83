from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from everloop.core.clock import SystemClock
from everloop.core.errors import IntegrityError, ModelError
from everloop.core.project import Project
from everloop.data.ingest import ingest
from everloop.data.loading import load_panel
from everloop.experiment.training import fit_context, make_candidate
from everloop.validate.backtest import Backtest, BacktestPlan, run_backtest
from everloop.validate.examination import backtest_candidate
from everloop.validate.windows import Recipe, compute_ahead


def flat(value: Any) -> Any:
    """A fold without its timings, as bytes."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return {key: flat(each) for key, each in value.items()} if isinstance(value, dict) else value


def content(backtest: Backtest) -> Any:
    names = [field.name for field in fields(backtest.folds[0]) if not field.name.endswith("_seconds")]
    return [{name: flat(getattr(fold, name)) for name in names} for fold in backtest.folds]


def filled(make_kiosk: Callable[..., Project], *overrides: str) -> Project:
    project = make_kiosk(*overrides, days=120)
    ingest(project, SystemClock())
    return project


def in_process(project: Project, candidate: str, options: dict[str, Any] | None = None) -> Backtest:
    panel, _ = load_panel(project, horizon=7)
    return run_backtest(
        lambda: make_candidate(project, candidate, options=options),
        panel,
        BacktestPlan.of(project.settings),
        fit_context(project),
    )


@pytest.mark.parametrize("mode", ["refit", "update"])
def test_windows_by_workers_are_those_of_one_process(make_kiosk: Callable[..., Project], mode: str) -> None:
    project = filled(make_kiosk, "engine.workers=2", "validate.windows=3", f"validate.mode={mode}")
    panel, dataset = load_panel(project, horizon=7)
    for candidate, options in (("toy:MeanOfWeeks", {"weeks": 2}), ("lightgbm", {"trees": 10})):
        made = backtest_candidate(project, panel, candidate, options=options, dataset=dataset).backtest
        assert content(made) == content(in_process(project, candidate, options))
    assert len(list((project.home / "pieces").glob("??/*"))) == (6 if mode == "refit" else 2)


def test_what_was_computed_ahead_is_found_until_the_candidates_code_changes(
    make_kiosk: Callable[..., Project],
) -> None:
    project = filled(make_kiosk, "engine.workers=2")
    panel, dataset = load_panel(project, horizon=7)
    compute_ahead(project, panel, dataset, [Recipe("seasonal_naive", {}), Recipe("toy:MeanOfWeeks")])
    shelf = project.home / "pieces"
    before = {path.name for path in shelf.glob("??/*")}
    assert len(before) == 4
    backtest_candidate(project, panel, "toy:MeanOfWeeks", dataset=dataset)
    assert {path.name for path in shelf.glob("??/*")} == before
    (project.root / "toy.py").write_text((project.root / "toy.py").read_text() + "\n# changed\n")
    backtest_candidate(project, panel, "toy:MeanOfWeeks", dataset=dataset)
    assert len(list(shelf.glob("??/*"))) == 6


def test_another_panel_than_the_tables_is_refused(make_kiosk: Callable[..., Project]) -> None:
    project = filled(make_kiosk, "engine.workers=2")
    panel, dataset = load_panel(project, horizon=7)
    panel.y[3] += 1
    with pytest.raises(IntegrityError) as raised:
        backtest_candidate(project, panel, "seasonal_naive", dataset=dataset)
    assert raised.value.code == "engine_panel"


def test_a_candidate_that_fails_in_a_worker_fails_as_it_does_here(make_kiosk: Callable[..., Project]) -> None:
    project = filled(make_kiosk, "engine.workers=2")
    (project.root / "broken.py").write_text(
        "from toy import MeanOfWeeks\n\n\nclass Broken(MeanOfWeeks):\n"
        "    def fit(self, panel, context):\n        raise ValueError('no')\n"
    )
    panel, dataset = load_panel(project, horizon=7)
    with pytest.raises(ModelError, match="ValueError: no") as raised:
        backtest_candidate(project, panel, "broken:Broken", dataset=dataset)
    assert raised.value.code == "fit_failed"
