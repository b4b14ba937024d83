"""The export to a Delta table: every prediction once, whatever comes late, dies or runs twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from everloop.core.errors import ConflictError, UnavailableError
from everloop.core.ids import new_id
from everloop.serve.log import export
from everloop.serve.log.delta import PredictionTable
from everloop.serve.log.export import export_predictions, forget_days, last_exports
from everloop.store.engine import Store, open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.history import delete_predictions, history_ends
from everloop.store.marks import delete_mark, list_marks

NOW = datetime(2026, 3, 5, 6, 7, 8, 90, tzinfo=UTC)
EXPORTER = Path(__file__).with_name("exporter.py")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "postgres":
        opened = open_store(request.getfixturevalue("postgres_url"))
        with opened.write() as tx:
            tx.exec_driver_sql("DELETE FROM predictions")
            tx.exec_driver_sql("DELETE FROM marks")
    else:
        opened = open_store(f"sqlite:///{tmp_path}/store.db", fsync=False)
    yield opened
    opened.close()


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "exports" / "predictions")


def make(at: datetime, release: str = "r", identifier: str = "") -> Prediction:
    return Prediction(
        id=identifier or new_id(at),
        at=at,
        release=release,
        state="s",
        role="champion",
        kind="infer",
        twin=None,
        first_time=at,
        last_time=at + timedelta(days=7),
        request=b'{"a": 1}',
        response=bytes(range(256)),
        unit="u",
        experiment=None,
    )


def add(store: Store, rows: list[Prediction]) -> list[Prediction]:
    with store.write() as tx:
        add_predictions(tx, rows)
    return rows


def ids_in(table: str) -> Counter[str]:
    return Counter(pl.read_delta(table)["id"].to_list())


def test_rows_come_back_as_they_were(store: Store, table: str) -> None:
    rows = add(store, [make(NOW - timedelta(hours=hours), release="ab"[hours % 2]) for hours in range(100)])
    seen: list[tuple[int, int]] = []
    done = export_predictions(store, table, now=NOW, progress=lambda *each: seen.append(each))
    assert (done.rows, done.is_done, done.version) == (100, True, 0)
    assert seen[-1] == (100, 100)
    frame = pl.read_delta(table)
    assert frame.schema["at"] == frame.schema["last_time"] == pl.Datetime("us", "UTC")
    for record in frame.iter_rows(named=True):
        assert record.pop("day") == record["at"].date()
        assert Prediction(**record) in rows
    assert len(list(Path(table).glob("day=*"))) == len({row.at.date() for row in rows})


def test_only_news_is_appended_late_ones_too(store: Store, table: str) -> None:
    rows = add(store, [make(NOW - timedelta(days=days)) for days in range(5)])
    assert export_predictions(store, table, now=NOW).rows == 5
    assert export_predictions(store, table, now=NOW) == export.Exported(table, 0, 0, True)
    rows += add(store, [make(NOW), make(NOW - timedelta(days=3), release="other"), make(NOW - timedelta(days=9))])
    assert export_predictions(store, table, now=NOW).rows == 3
    assert ids_in(table) == Counter(row.id for row in rows)


def test_many_at_the_same_instant_are_paged(store: Store, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_PER_PAGE", 7)
    monkeypatch.setattr(export, "_PER_COMMIT", 10)
    rows = add(store, [make(NOW + timedelta(microseconds=number // 20)) for number in range(60)])
    assert export_predictions(store, table, now=NOW).rows == 60
    assert ids_in(table) == Counter(row.id for row in rows)


def test_a_bound_is_kept_and_gone_on_from(store: Store, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_PER_PAGE", 5)
    rows = add(store, [make(NOW + timedelta(seconds=number)) for number in range(30)])
    parts = [export_predictions(store, table, now=NOW, most=10) for _ in range(4)]
    assert [(part.rows, part.is_done) for part in parts] == [(10, False)] * 3 + [(0, True)]
    assert ids_in(table) == Counter(row.id for row in rows)


def test_days_that_are_not_over_can_wait(store: Store, table: str) -> None:
    add(store, [make(NOW), make(NOW - timedelta(days=1))])
    today = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    assert export_predictions(store, table, now=NOW, before=today).rows == 1
    assert pl.read_delta(table)["day"].to_list() == [date(2026, 3, 4)]
    with store.read() as tx:
        assert [(each["location"], each["last_day"]) for each in last_exports(tx)] == [(table, "2026-03-04")]


def test_the_mark_is_only_a_shortcut(store: Store, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = add(store, [make(NOW - timedelta(hours=hours)) for hours in range(50)])

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # it ends between the table's commit and the mark
        patch.setattr(export, "_settle", die)
        with pytest.raises(KeyboardInterrupt):
            export_predictions(store, table, now=NOW)
    assert len(ids_in(table)) == 50
    assert export_predictions(store, table, now=NOW).rows == 0
    with store.write() as tx:
        for name in list_marks(tx, "log_export:"):
            delete_mark(tx, name)
    assert export_predictions(store, table, now=NOW).rows == 0
    assert ids_in(table) == Counter(row.id for row in rows)


def test_a_table_made_anew_gets_all_again(store: Store, table: str) -> None:
    add(store, [make(NOW) for _ in range(3)])
    export_predictions(store, table, now=NOW)
    Path(table).rename(table + ".old")
    assert export_predictions(store, table, now=NOW).rows == 3


def test_deleted_predictions_hide_no_late_ones(store: Store, table: str) -> None:
    rows = add(store, [make(NOW) for _ in range(10)])
    export_predictions(store, table, now=NOW)
    with store.write() as tx:
        assert delete_predictions(tx, [row.id for row in rows[:4]]) == 4
        forget_days(tx, {NOW.date()}, at=NOW)
    rows += add(store, [make(NOW) for _ in range(4)])
    assert export_predictions(store, table, now=NOW).rows == 4
    assert ids_in(table) == Counter(row.id for row in rows)


def test_one_that_appends_behind_another_looks_again(table: str) -> None:
    rows = [make(NOW + timedelta(seconds=number)) for number in range(6)]
    first, second = PredictionTable(table), PredictionTable(table)
    assert first.append(rows[:4]) == 4
    assert second.append(rows[2:]) == 2  # which thought that there was no table
    assert first.append(rows) == 0
    assert first.append([*rows, make(NOW)]) == 1
    assert len(ids_in(table)) == 7
    assert max(ids_in(table).values()) == 1


def test_little_room_for_ids_changes_nothing(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everloop.serve.log.delta._MOST_IDS_HELD", 3)
    rows = [make(NOW + timedelta(days=number % 5)) for number in range(40)]
    target = PredictionTable(table)
    other = [make(NOW + timedelta(days=9))]
    assert [target.append(each) for each in (rows[:20], other + rows, rows + other)] == [20, 21, 0]
    assert ids_in(table) == Counter(row.id for row in rows + other)


def test_a_table_of_something_else_is_left_alone(store: Store, table: str) -> None:
    write_deltalake(table, pl.DataFrame({"a": [1]}))
    with pytest.raises(ConflictError) as raised:
        export_predictions(store, table, now=NOW)
    assert raised.value.code == "log_export_foreign"


def test_a_place_that_cannot_be_written_says_so(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    add(store, [make(NOW)])
    with pytest.raises(UnavailableError) as raised:
        export_predictions(store, str(tmp_path / "file" / "table"), now=NOW)
    assert raised.value.code == "log_export"


def test_killed_and_run_side_by_side_each_row_is_there_once(tmp_path: Path, table: str) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    store = open_store(url, fsync=False)
    rows = add(store, [make(NOW - timedelta(minutes=number), release=f"r{number % 3}") for number in range(1_200)])

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, str(EXPORTER), url, table], stdout=subprocess.PIPE, text=True)

    log = Path(table) / "_delta_log"
    for least in (3, 8):
        process = begin()
        while process.poll() is None and len(list(log.glob("*.json"))) < least:
            pass
        process.kill()
        process.communicate()
    both = [begin(), begin()]
    counts = [int(process.communicate()[0]) for process in both]
    assert all(process.returncode == 0 for process in both)
    assert sum(counts) < 1_200  # the rest had come before the kills
    assert ids_in(table) == Counter(row.id for row in rows)
    store.close()


def test_the_ends_of_the_history(store: Store) -> None:
    with store.read() as tx:
        assert history_ends(tx).first is None
    add(store, [make(NOW - timedelta(days=days), release="cab"[days]) for days in range(3)])
    with store.read() as tx:
        ends = history_ends(tx)
    assert (ends.first, ends.last) == (NOW - timedelta(days=2), NOW)
