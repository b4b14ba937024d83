"""The planner tells by the past how long a trial takes, and what a shadow cannot tell."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from everloop.cli.main import main
from everloop.core.clock import ManualClock
from everloop.core.errors import DataError
from everloop.core.project import Project
from everloop.data.ingest import ingest
from everloop.improve.split_plan import plan_trial
from kiosk import FIRST

DAYS = 160
NOW = datetime(FIRST.year, FIRST.month, FIRST.day, 6, tzinfo=UTC) + timedelta(days=DAYS)


@pytest.fixture
def project(make_kiosk: Callable[..., Project]) -> Project:
    """Sixty items in ten shops."""
    made = make_kiosk()
    rng = np.random.default_rng(1)
    level = rng.lognormal(3.0, 0.7, 60)
    frame = pl.DataFrame(
        [
            (f"shop {item % 10}", f"item {item}", (FIRST + timedelta(days=day)).isoformat(), sold, 0)
            for item in range(60)
            for day, sold in enumerate(rng.poisson(level[item] * rng.gamma(8.0, 0.125, DAYS)).tolist())
        ],
        schema=["shop", "item", "day", "sold", "promo"],
        orient="row",
    )
    frame.write_csv(made.root / "sales.csv")
    ingest(made, ManualClock(NOW))
    return made


def with_release(project: Project, **values: object) -> Project:
    release = project.settings.release.model_copy(update=values)
    return dataclasses.replace(project, settings=project.settings.model_copy(update={"release": release}))


def test_larger_effects_and_a_known_past_are_faster(project: Project) -> None:
    plan = plan_trial(with_release(project, min_days=3, max_days=40), effects=[0.0, 0.1, 0.3])
    assert (plan.units, plan.unit, plan.clusters, plan.cluster) == (60, "series", 10, "shop")
    assert plan.split[0].decided <= 0.1
    assert plan.shadow[0].decided <= 0.1
    assert [each.decided for each in plan.split] == sorted(each.decided for each in plan.split)
    assert plan.shadow[2].median is not None
    assert any("a shadow would do" in line for line in plan.advice)


def test_a_shadow_cannot_tell_of_the_target(project: Project) -> None:
    plan = plan_trial(with_release(project, min_days=3, max_days=40), metric="target", effects=[0.05, 0.2])
    assert plan.shadow == ()
    assert "a shadow cannot tell" in plan.advice[0]
    assert plan.adjusted[1].median is not None
    assert plan.adjusted[1].median < (plan.split[1].median or 99)


def test_too_little_is_said(project: Project, make_kiosk: Callable[..., Project]) -> None:
    with pytest.raises(DataError, match="too few"):
        plan_trial(with_release(project, min_days=120, max_days=130))
    with pytest.raises(DataError, match="no data"):
        plan_trial(make_kiosk(name="empty"))


def test_the_command_tells_it(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["compare", "--plan", "--effect", "0.2", "--project", str(project.root)]
    assert main([*options, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [len(record[name]) for name in ("split", "adjusted", "shadow")] == [1, 1, 1]
    assert main(options) == 0
    told = capsys.readouterr()
    assert "better by" in told.out
    assert "60 units (series), 50% of them to the challenger" in told.err
    assert main([*options, "--metric", "wape"]) != 0
    assert "error or target" in capsys.readouterr().err
