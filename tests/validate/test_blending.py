"""An ensemble's backtest from those of its members is the one that fitting it gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.release.manifest import Dataset
from everloop.validate.blending import blended
from everloop.validate.candidates import examine_candidates
from everloop.validate.examination import Examination, backtest_candidate

MEMBERS = 'train.options={ensemble={members=["seasonal_naive", "lightgbm"]}, lightgbm={trees=10}}'


def examined(project: Project, panel: Panel) -> list[Examination]:
    """All candidates of a project, best first."""
    return examine_candidates(
        project,
        panel,
        Dataset(version=1, digest="d" * 64, rows=1920),
        tracker=open_tracker(project),
        lineage=collect_lineage(project),
        on_failure=lambda name, error: None,
    )


def test_members_windows_make_those_of_their_ensemble(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project, panel = make_project('train.candidates=["seasonal_naive", "lightgbm"]', MEMBERS), make_panel()
    members = examined(project, panel)
    found = blended(project, panel, "ensemble", members)
    fitted = backtest_candidate(project, panel, "ensemble")
    assert found is not None
    assert found.options == fitted.options
    for mine, other in zip(found.backtest.folds, fitted.backtest.folds, strict=True):
        np.testing.assert_array_equal(mine.mean, other.mean)
        for level in found.backtest.levels:
            np.testing.assert_array_equal(mine.lower[level], other.lower[level])
            np.testing.assert_array_equal(mine.upper[level], other.upper[level])
    assert found.scores.overall["wape"] == fitted.scores.overall["wape"]
    assert found.backtest.seconds > 0
    assert blended(project, panel, "lightgbm", members) is None
    assert blended(project, panel, "ensemble", members[:1]) is None
    other_options = make_project(MEMBERS.replace("trees=10", "trees=11"))
    assert blended(other_options, panel, "ensemble", members) is None


def test_an_ensemble_is_examined_with_its_members(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project = make_project('train.candidates=["seasonal_naive", "lightgbm", "ensemble"]', MEMBERS)
    found = {each.candidate: each for each in examined(project, make_panel())}
    assert set(found) == {"seasonal_naive", "lightgbm", "ensemble"}
    between = [found[name].backtest.folds[0].mean for name in ("seasonal_naive", "lightgbm")]
    np.testing.assert_array_equal(found["ensemble"].backtest.folds[0].mean, (between[0] + between[1]) / 2)
    assert found["ensemble"].options["options"] == {"lightgbm": {"trees": 10}}
