"""Every kind of source gives the same rows, and says what is wrong with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import create_engine, text

from everloop.core.clock import ManualClock
from everloop.core.errors import EverloopError
from everloop.core.project import Project
from everloop.data import sources
from everloop.data.ingest import ingest
from everloop.data.sources import read_source

Make = Callable[..., Project]
Sales = Callable[..., pl.DataFrame]


def digest(project: Project, clock: ManualClock) -> str:
    return ingest(project, clock).version.digest


@pytest.fixture
def expected(make_project: Make, sales: Sales, clock: ManualClock) -> str:
    """The digest of the table that every source must give."""
    project = make_project(name="expected", source="sales.parquet")
    sales().write_parquet(project.root / "sales.parquet")
    return digest(project, clock)


def test_csv_and_parquet_say_the_same(make_project: Make, sales: Sales, clock: ManualClock, expected: str) -> None:
    project = make_project(source="sales.csv")
    sales().write_csv(project.root / "sales.csv")
    assert digest(project, clock) == expected


def test_a_glob_takes_all_files_and_other_columns_do_not_matter(
    make_project: Make, sales: Sales, clock: ManualClock, expected: str
) -> None:
    project = make_project(source="in/*/*.parquet")
    frame = sales()
    for place, part in enumerate(frame.iter_slices(50)):
        path = project.root / "in" / str(place % 3) / f"{place}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.with_columns(pl.lit(place).alias("page")).write_parquet(path)
    assert digest(project, clock) == expected


def test_sqlite_in_chunks(
    make_project: Make, sales: Sales, clock: ManualClock, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_CHUNK_ROWS", 37)
    project = make_project(name="q", source="sqlite:///nowhere.db", query="SELECT * FROM sales")
    path = project.root / "sales.db"
    project = make_project(name="q", source=f"sqlite:///{path}", query="SELECT * FROM sales")
    frame = sales()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE sales (shop TEXT, item TEXT, date TEXT, units REAL, price REAL, event TEXT, kind TEXT)"
        )
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?, ?)", frame.cast({"date": pl.String}).rows())
    connection.close()
    assert len(list(read_source(project, project.settings.data.source, query="SELECT * FROM sales"))) > 5
    assert digest(project, clock) == expected


def test_postgres_with_its_own_types(
    make_project: Make, sales: Sales, clock: ManualClock, expected: str, postgres_url: str
) -> None:
    engine = create_engine(postgres_url)
    columns = "shop text, item text, date date, units numeric(10, 2), price double precision, event text, kind text"
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS sales"))
        connection.execute(text(f"CREATE TABLE sales ({columns})"))
        insert = text("INSERT INTO sales VALUES (:shop, :item, :date, :units, :price, :event, :kind)")
        connection.execute(insert, sales().to_dicts())
    engine.dispose()
    project = make_project(source=postgres_url, query="SELECT * FROM sales")
    assert digest(project, clock) == expected


FUNCTION = """
import polars as pl, pandas as pd, pyarrow as pa
FRAME = pl.read_parquet("{path}")

def whole(): return FRAME
def lazy(): return FRAME.lazy()
def arrow(): return FRAME.to_arrow()
def pandas(): return pd.DataFrame(FRAME.to_dicts())
def parts(project):
    assert project.name == "test"
    for part in FRAME.iter_slices(70):
        yield part
def listed(): return [FRAME.head(10), FRAME.tail(-10).to_arrow()]
def nothing(): return 12
NUMBER = 3
"""


@pytest.mark.parametrize("name", ["whole", "lazy", "arrow", "pandas", "parts", "listed"])
def test_a_function_may_give_any_frame(
    make_project: Make, sales: Sales, clock: ManualClock, expected: str, name: str, tmp_path: Path
) -> None:
    module = f"shop_source_{name}"
    project = make_project(source=f"{module}:{name}")
    sales().write_parquet(project.root / "rows.parquet")
    (project.root / f"{module}.py").write_text(FUNCTION.replace("{path}", str(project.root / "rows.parquet")))
    assert digest(project, clock) == expected


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"source": "sale.csv"}, "source_missing", "did you mean 'sales.csv'?"),
        ({"source": "none/*.csv"}, "source_missing", "data.source"),
        ({"source": "notes.md"}, "source_format", ".parquet"),
        ({"source": "broken.parquet"}, "source_unreadable", "whole"),
        ({"source": "empty.csv"}, "source_empty", "data.source"),
        ({"target": "unit"}, "column_missing", "did you mean 'units'?"),
        ({"source": "sqlite:///x.db"}, "query_missing", "data.query"),
        ({"source": "sqlite:////nowhere/at/all.db", "query": "SELECT 1"}, "source_database", "query"),
        ({"source": "ftp9://x", "query": "SELECT 1"}, "source_url", "sqlite"),
        ({"source": "no_such_module:f"}, "object_module", "installed"),
        ({"source": "odd_source:wole"}, "object_missing", "did you mean 'whole'?"),
        ({"source": "odd_source:NUMBER"}, "source_function", ""),
        ({"source": "odd_source:nothing"}, "source_frame", "polars"),
    ],
)
def test_what_is_wrong_is_said(
    make_project: Make, sales: Sales, clock: ManualClock, changes: dict[str, Any], code: str, told: str
) -> None:
    project = make_project(**changes)
    sales().write_csv(project.root / "sales.csv")
    sales().write_parquet(project.root / "rows.parquet")
    (project.root / "notes.md").write_text("#")
    (project.root / "broken.parquet").write_bytes(b"PAR1 broken")
    (project.root / "empty.csv").write_text("")
    (project.root / "odd_source.py").write_text(FUNCTION.replace("{path}", str(project.root / "rows.parquet")))
    with pytest.raises(EverloopError) as caught:
        ingest(project, clock)
    assert caught.value.code == code
    assert told in caught.value.hint
    assert not project.table.exists()


def test_passwords_are_not_told(make_project: Make, clock: ManualClock) -> None:
    project = make_project(source="postgresql+psycopg://me:secret@127.0.0.1:1/none", query="SELECT 1")
    with pytest.raises(EverloopError) as caught:
        ingest(project, clock)
    assert "secret" not in caught.value.message + caught.value.hint + caught.value.path
