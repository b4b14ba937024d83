"""Batches of forecasts: made once, and written to files and tables, all of it or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from everloop.core.errors import ConflictError, EverloopError, SettingsError, UnavailableError, UsageError
from everloop.serve.batch.making import Batch
from everloop.serve.batch.places import Place
from everloop.serve.batch.rows import CUTOFF, BatchRows
from everloop.store.values import ForecastValues

DAY = datetime(2024, 3, 10, tzinfo=UTC)


def rows_of(
    day: int = 0, *, series: int = 5, steps: int = 3, name: str = "", levels: tuple[float, ...] = (80.0,)
) -> BatchRows:
    """A batch of counts, with a text of each awkward kind among its keys."""
    cutoff = DAY + timedelta(days=day)
    first = int(cutoff.timestamp()) * 1_000_000
    times = first + 86_400_000_000 * np.arange(1, steps + 1)
    mean = np.random.default_rng(day).gamma(1.0, 3.0, (series, steps))
    lower = {level: np.where(np.arange(steps) == 0, np.nan, mean * 0.5) for level in levels}
    upper = {level: np.where(np.arange(steps) == 0, np.nan, mean * 2) for level in levels}
    odd = ('S%2F1/a"b,c', "S/", "S/ü\nx", "S/\\N", "S/NULL")
    keys = tuple((*odd, *(f"S/{number:05d}" for number in range(len(odd), series)))[:series])
    values = ForecastValues(keys, times, mean, lower, upper)
    batch = Batch(name or f"id-{day}", "digest", "", cutoff, values, is_stored=False)
    return BatchRows(batch, ("shop", "item"), "day", has_dates=True)


def place_in(folder: Path, kind: str, *, keep: int = 0, url: str = "") -> Place:
    out = {"delta": f"delta:{folder / 'lake'}", "sqlite": f"sqlite:///{folder / 'f.db'}", "postgresql": url}[kind]
    return Place.parse(out, keep=keep)


def read(place: Place) -> pl.DataFrame:
    """What a table holds, in the order of its key."""
    if place.kind == "delta":
        return pl.read_delta(place.location).sort(CUTOFF, "shop", "item", "day")
    query = f'SELECT * FROM {place.table} ORDER BY cutoff, shop COLLATE "C", item COLLATE "C", day'
    if place.location.startswith("sqlite"):
        with sqlite3.connect(place.location.removeprefix("sqlite:///")) as connection:
            cursor = connection.execute(query.replace(' COLLATE "C"', ""))
            found = pl.DataFrame(cursor.fetchall(), schema=[each[0] for each in cursor.description], orient="row")
        connection.close()
        return found.with_columns(pl.col(CUTOFF, "day").str.to_date())
    import psycopg

    with psycopg.connect(place.location.replace("+psycopg", "")) as server:
        found_rows = server.execute(query)
        names = [each.name for each in found_rows.description or ()]
        return pl.DataFrame(found_rows.fetchall(), schema=names, orient="row")


@pytest.fixture(params=["delta", "sqlite", "postgresql"])
def kind_and_url(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A kind of table, and for a server the URL of its database."""
    return request.param, request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""


@pytest.fixture
def place(kind_and_url: tuple[str, str], tmp_path: Path) -> Place:
    """An empty place of each kind."""
    kind, url = kind_and_url
    named = f"t{abs(hash(str(tmp_path)))}"
    return replace(place_in(tmp_path, kind, url=url), table=named)


def expected(*batches: BatchRows) -> pl.DataFrame:
    return pl.concat([pl.concat(each.keyed_blocks()) for each in batches]).sort(CUTOFF, "shop", "item", "day")


def test_a_table_holds_a_batch_of_each_cutoff_bit_for_bit(place: Place) -> None:
    first, second = rows_of(0), rows_of(1)
    assert place.write(first)
    assert place.write(second)
    assert read(place).equals(expected(first, second))


def test_writing_a_batch_again_changes_nothing(place: Place) -> None:
    place.write(rows_of(0))
    assert not place.write(rows_of(0))
    assert read(place).equals(expected(rows_of(0)))


def test_corrected_data_replace_the_batch_of_their_cutoff_alone(place: Place) -> None:
    other, old, new = rows_of(0), rows_of(1), rows_of(1, name="corrected", series=4)
    for each in (other, old, new):
        assert place.write(each)
    assert read(place).equals(expected(other, new))


def test_old_cutoffs_go_where_only_some_are_kept(place: Place) -> None:
    for day in range(4):
        replace(place, keep=2).write(rows_of(day))
    assert read(place).equals(expected(rows_of(2), rows_of(3)))
    assert replace(place, keep=1).write(rows_of(3))  # nothing new, but one more goes
    assert read(place).equals(expected(rows_of(3)))


def test_a_level_that_is_asked_later_gets_its_columns(place: Place) -> None:
    place.write(rows_of(0))
    place.write(rows_of(1, levels=(80.0, 95.0)))
    found = read(place)
    assert found.filter(pl.col(CUTOFF) == DAY.date())["hi-95"].is_null().all()
    assert found.filter(pl.col(CUTOFF) > DAY.date())["hi-95"].is_not_null().sum() == 10


def test_a_batch_that_fails_midway_leaves_the_table_as_it_was(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everloop.serve.batch.rows._BLOCK_ROWS", 6)
    place.write(rows_of(0))
    before = read(place)
    broken = rows_of(1, series=40)
    key = broken.batch.values.series[0]
    twice = replace(broken.batch.values, series=(*broken.batch.values.series[:-1], key))
    failing = replace(broken, batch=replace(broken.batch, values=twice))
    if place.kind == "delta":  # Delta knows no keys; there a block that cannot be made breaks the stream
        failing = replace(broken, batch=replace(broken.batch, values=replace(twice, series=(*twice.series[:-1], "S"))))
    with pytest.raises((EverloopError, IndexError)):
        place.write(failing)
    assert read(place).equals(before)


def test_files_hold_the_newest_batch_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everloop.serve.batch.rows._BLOCK_ROWS", 6)
    rows = rows_of(0, series=11)
    for name in ("f.parquet", "f.csv"):
        assert Place.parse(str(tmp_path / name)).write(rows)
    assert pl.read_parquet(tmp_path / "f.parquet").equals(rows.plain())
    assert pl.read_csv(tmp_path / "f.csv", try_parse_dates=True)["forecast"].equals(rows.plain()["forecast"])
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UsageError, match="cannot write"):
        Place.parse(str(tmp_path / "none" / "f.csv")).write(rows)


def test_hourly_instants_keep_their_time(place: Place) -> None:
    rows = replace(rows_of(0), has_dates=False)
    place.write(rows)
    assert not place.write(rows)


def test_a_table_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "f.db") as connection:
        connection.execute("CREATE TABLE forecasts (a INTEGER)")
    connection.close()
    with pytest.raises(UsageError, match="has no column 'cutoff'"):
        place_in(tmp_path, "sqlite").write(rows_of())
    pl.DataFrame({"a": [1]}).write_delta(tmp_path / "lake")
    with pytest.raises(UsageError, match="holds no forecasts"):
        place_in(tmp_path, "delta").write(rows_of())


@pytest.mark.parametrize("out", ["f.xlsx", "folder", "delta:", ""])
def test_a_place_of_no_known_form(out: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        Place.parse(out)


def test_databases_that_cannot_be_used() -> None:
    with pytest.raises(SettingsError, match="cannot be used"):
        Place.parse("mysql://localhost/x").write(rows_of())
    with pytest.raises(UnavailableError) as caught:
        Place.parse("sqlite:////nowhere/at/all.db").write(rows_of())
    assert caught.value.hint.startswith("nothing was changed")
    secret = Place.parse("postgresql+psycopg://me:secret@127.0.0.1:1/x")
    assert "secret" not in secret.text
    with pytest.raises(UnavailableError) as refused:
        secret.write(rows_of())
    assert "secret" not in refused.value.message


def test_a_column_that_a_table_has_itself(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'cutoff' has the name"):
        place_in(tmp_path, "sqlite").write(replace(rows_of(), series=("cutoff", "item")))


def test_two_that_write_the_same_cutoff(tmp_path: Path, make_race: Callable[[Path], None]) -> None:
    place = place_in(tmp_path, "delta")
    place.write(rows_of(0))
    make_race(tmp_path / "lake")
    with pytest.raises(ConflictError, match="somebody else"):
        place.write(rows_of(1))


@pytest.fixture
def make_race(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Lets somebody else write the same cutoff between the look at the table and the commit."""

    def prepare(folder: Path) -> None:
        from everloop.serve.batch import delta

        holds = delta._holds

        def meanwhile(table: object, rows: BatchRows) -> bool:
            found = holds(table, rows)  # type: ignore[arg-type]
            monkeypatch.setattr(delta, "_holds", holds)
            delta.write_delta(rows_of(1, name="theirs"), str(folder))
            return found

        monkeypatch.setattr(delta, "_holds", meanwhile)

    return prepare
