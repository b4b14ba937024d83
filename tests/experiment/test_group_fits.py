"""Models of groups by an engine's workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from everloop.core.clock import SystemClock
from everloop.core.errors import IntegrityError, ModelError
from everloop.core.project import Project
from everloop.data.ingest import ingest
from everloop.data.loading import load_panel
from everloop.experiment.training import fit_candidate

GROUPS = "by='item',least_series=2,models={tea='seasonal_naive'},options={lightgbm={trees=10}}"
BY_ITEM = f"train.options={{partitioned={{{GROUPS}}}}}"


def filled(make_kiosk: Callable[..., Project], *overrides: str) -> Project:
    project = make_kiosk(BY_ITEM, "engine.workers=2", *overrides, days=120)
    ingest(project, SystemClock())
    return project


def pieces(project: Project) -> set[Path]:
    return set((project.home / "pieces").glob("??/*"))


def test_groups_fitted_by_workers_are_those_of_one_process(make_kiosk: Callable[..., Project]) -> None:
    project = filled(make_kiosk)
    panel, dataset = load_panel(project, horizon=7)
    here = fit_candidate(project, panel, "partitioned")
    assert pieces(project) == set()
    there = fit_candidate(project, panel, "partitioned", dataset=dataset)
    assert there.model_digest == here.model_digest
    assert there.options == here.options
    fitted = pieces(project)
    assert len(fitted) == len(here.model.groups(panel)) > 1  # type: ignore[attr-defined]
    again = fit_candidate(project, panel, "partitioned", dataset=dataset)
    assert (again.model_digest, pieces(project)) == (here.model_digest, fitted)


def test_a_group_that_cannot_be_fitted_is_told_as_it_is_here(make_kiosk: Callable[..., Project]) -> None:
    project = filled(make_kiosk, "train.options.partitioned.options.lightgbm.objective='no_such'")
    panel, dataset = load_panel(project, horizon=7)
    told = []
    for version in (None, dataset):
        with pytest.raises(ModelError) as raised:
            fit_candidate(project, panel, "partitioned", dataset=version)
        told.append(raised.value.to_dict())
    assert told[0] == told[1]


def test_another_panel_than_the_tables_is_refused(make_kiosk: Callable[..., Project]) -> None:
    project = filled(make_kiosk)
    panel, dataset = load_panel(project, horizon=7)
    panel.y[3] += 1
    with pytest.raises(IntegrityError, match="another panel"):
        fit_candidate(project, panel, "partitioned", dataset=dataset)
