"""Guessed settings fit data that were made by known ones, and are readable settings."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import DataError
from everloop.core.project import load_project, parse_settings
from everloop.data.embedded import retail_path
from everloop.data.infer import Guess, infer, infer_file
from everloop.data.ingest import ingest
from everloop.data.settings_file import render_toml


def shop_frame(days: int = 140, **columns: Any) -> pl.DataFrame:
    """Two shops, three items, a row for each day."""
    rng = np.random.default_rng(3)
    dates = [date(2024, 1, 1) + timedelta(days=day) for day in range(days)]
    keys = [(shop, item, day) for shop in ("a", "b") for item in ("00123", "7", "x") for day in dates]
    frame = pl.DataFrame(keys, schema=["shop_id", "item", "date"], orient="row")
    return frame.with_columns(
        pl.Series("units", rng.poisson(5, len(keys))),
        pl.Series("price", rng.choice([1.5, 2.0, 2.5], len(keys))),
        pl.col("item").replace({"00123": "food", "7": "food", "x": "toys"}).alias("kind"),
        pl.col("date").dt.weekday().alias("wday"),
        *[pl.lit(value).alias(name) for name, value in columns.items()],
    )


def settings_of(guess: Guess, name: str = "shop", source: str = "sales.csv") -> Any:
    return parse_settings(tomllib.loads(render_toml(guess, name, source)))


@pytest.mark.parametrize("as_text", [False, True])
def test_each_column_gets_its_part(as_text: bool) -> None:
    frame = shop_frame(country="GB")
    guess = infer(frame.cast(pl.String) if as_text else frame)
    assert (guess.time, guess.target) == ("date", "units")
    assert set(guess.series) == {"shop_id", "item"}
    assert guess.static == ("kind",)
    assert guess.observed == ("price",)
    assert guess.likely_ahead == ("price",)
    assert set(guess.ignored) == {"wday", "country"}
    assert (guess.frequency, guess.horizon, guess.closed_weekdays) == ("1d", 28, ())
    assert guess.ranges == {"units": (0.0, 200.0), "price": (0.0, 50.0)}
    assert guess.types == {"units": "float", "kind": "string", "price": "float"}


def test_every_left_out_column_has_a_reason() -> None:
    guess = infer(shop_frame(country="GB"))
    assert all(guess.reasons[name] for name in guess.ignored)


@pytest.mark.parametrize(
    ("step", "frequency"),
    [
        (timedelta(minutes=15), "15min"),
        (timedelta(hours=1), "1h"),
        (timedelta(days=1), "1d"),
        (timedelta(weeks=1), "1w"),
        (timedelta(days=2), "2d"),
    ],
)
def test_the_step_is_found_though_rows_are_missing(step: timedelta, frequency: str) -> None:
    rng = np.random.default_rng(11)
    kept = [step * place for place in range(400) if rng.random() > 0.2]
    frame = pl.DataFrame(
        {
            "meter": "m",
            "time": [datetime(2024, 1, 3, tzinfo=UTC) + each for each in kept],
            "value": rng.normal(size=len(kept)),
        }
    )
    guess = infer(frame)
    assert guess.frequency == frequency
    assert guess.accepts_negative


@pytest.mark.parametrize(("every", "frequency"), [("1mo", "1mo"), ("1q", "1q"), ("1y", "1y")])
def test_calendar_steps_are_found(every: str, frequency: str) -> None:
    times = pl.datetime_range(datetime(1990, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), every, eager=True)
    guess = infer(pl.DataFrame({"region": "all", "ds": times, "y": np.arange(len(times))}))
    assert guess.frequency == frequency


def test_month_ends_are_refused_with_the_way_out() -> None:
    times = pl.datetime_range(
        datetime(2010, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), "1mo", eager=True
    ).dt.month_end()
    with pytest.raises(DataError) as caught:
        infer(pl.DataFrame({"region": "all", "ds": times, "y": np.arange(len(times))}))
    assert caught.value.code == "infer_grid"
    assert "2024-03-01" in caught.value.hint


def test_closed_weekdays_are_those_without_rows() -> None:
    guess = infer(shop_frame().filter(~pl.col("date").dt.weekday().is_in([6, 7])))
    assert guess.closed_weekdays == ("saturday", "sunday")
    assert guess.frequency == "1d"


def test_a_short_history_gets_a_short_horizon() -> None:
    assert infer(shop_frame(days=30)).horizon == 6


def test_some_repeated_rows_do_not_hide_the_series() -> None:
    frame = shop_frame()
    assert set(infer(pl.concat([frame, frame.head(50)])).series) == {"shop_id", "item"}


@pytest.mark.parametrize(
    ("frame", "code", "hint"),
    [
        (pl.DataFrame(), "infer_empty", "history"),
        (pl.DataFrame({"date": ["12/1/2009", "12/2/2009"], "units": [1, 2]}), "infer_no_time", "'12/1/2009'"),
        (
            pl.DataFrame({"item": ["a"], **{f"d_{day}": [day] for day in range(200)}}),
            "infer_no_time",
            "module:function",
        ),
        (pl.DataFrame({"date": ["2024-01-01"] * 2, "what": ["a", "b"]}), "infer_no_target", "plain numbers"),
        (pl.DataFrame({"date": ["2024-01-01", "2024-01-02"], "units": [1, 2]}), "infer_no_series", "add a column"),
        (
            pl.DataFrame({"shop": ["a"] * 4, "date": ["2024-01-01", "2024-01-02"] * 2, "units": [1, 2, 3, 4]}),
            "infer_no_series",
            "Sum them first",
        ),
        (
            pl.DataFrame({"shop": ["a", "b"] * 2, "date": ["2024-01-01"] * 4, "item": list("xxyy"), "units": range(4)}),
            "infer_no_history",
            "time",
        ),
    ],
)
def test_what_cannot_be_guessed_is_said(frame: pl.DataFrame, code: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        infer(frame)
    assert caught.value.code == code
    assert hint in caught.value.hint


def test_a_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("a\n")
    with pytest.raises(DataError, match="no file") as caught:
        infer_file(tmp_path / "sale.csv")
    assert caught.value.hint == "did you mean 'sales.csv'?"


def test_odd_names_give_readable_settings() -> None:
    frame = shop_frame().rename({"units": 'un"its\n# x', "price": "prix é"})
    guess = infer(frame.with_columns(pl.lit("1").alias("tab\there")))
    settings = settings_of(guess, name="my prøject!", source='da"ta\\*.csv')
    assert settings.data.target == 'un"its\n# x'
    assert settings.data.observed == ["prix é"]
    assert settings.data.source == 'da"ta\\*.csv'
    assert settings.project.name == "my-pr-ject"


def test_the_embedded_sales_are_understood_and_taken_in_whole(tmp_path: Path) -> None:
    guess = infer_file(retail_path())
    assert (guess.series, guess.time, guess.target) == (("product",), "date", "units")
    assert guess.closed_weekdays == ("saturday",)
    (tmp_path / "everloop.toml").write_text(render_toml(guess, "retail", str(retail_path())))
    project = load_project(tmp_path, environ={})
    result = ingest(project, ManualClock(datetime(2011, 12, 10, tzinfo=UTC)))
    assert (result.added, result.quarantined) == (71_593, 0)
