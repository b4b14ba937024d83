"""What a model makes of each column, read from the trees of a release."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.monitor.drift.importances import importances_of
from everloop.release.bundle import MODEL_FOLDER
from everloop.store.deployments import ReleaseRow

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RELEASE = ReleaseRow("ab" * 32, "cd" * 32, "lightgbm", "", 0, "", NOW, NOW, {}, [])


def test_shares_are_by_column_and_what_is_of_the_date_is_nobodys(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project, panel = make_project(), make_panel()
    model = LightGBMForecaster(trees=20, leaf_rows=20).fit(panel, FitContext(14, (80.0,), threads=1))
    folder = project.releases / RELEASE.digest / MODEL_FOLDER
    folder.mkdir(parents=True)
    model.save(folder)
    shares = importances_of(project, RELEASE)
    assert shares is not None
    assert set(shares) == {"units", "price", "dept"}
    assert shares["price"] > 0.01, "sales follow the price"
    assert shares["units"] > shares["dept"]
    assert 0.5 < sum(shares.values()) <= 1 + 1e-9


def test_a_model_without_trees_tells_none(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project = make_project()
    folder = project.releases / RELEASE.digest / MODEL_FOLDER
    folder.mkdir(parents=True)
    SeasonalNaiveForecaster().fit(make_panel(), FitContext(14)).save(folder)
    assert importances_of(project, RELEASE) is None


@pytest.mark.parametrize("text", ["", "no trees", "tree\nsplit_gain=1"])
def test_a_file_that_is_no_booster_tells_none(make_project: Callable[..., Project], text: str) -> None:
    project = make_project()
    folder = project.releases / RELEASE.digest / MODEL_FOLDER
    folder.mkdir(parents=True)
    (folder / "booster.txt").write_text(text, encoding="utf-8")
    assert importances_of(project, RELEASE) is None
