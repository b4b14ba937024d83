"""``everloop outcomes`` for models of rows, and ``everloop measurements``: all formats, as a person calls them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from everloop.cli.main import main
from everloop.core.project import load_project
from everloop.store.engine import Store, open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.measurements import measurements_between
from everloop.store.row_outcomes import row_outcomes_after
from everloop.store.row_values import pack_rows

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = '[project]\nname = "churn"\ntask = "classification"\n'
OUTCOMES = [
    {"prediction_id": "two", "row": 0, "value": 1.5, "at": "2026-03-02"},
    {"prediction_id": "two", "row": 1, "label": "stays"},
    {"prediction_id": "007", "value": 3, "id": "mine"},
]
MEASUREMENTS = [
    {"unit": "007", "metric": "revenue", "value": 12.5, "at": "2026-03-01"},
    {"unit": "8", "metric": "revenue", "value": 3, "at": "2026-03-01T12:00:00Z"},
]


class Shell:
    """Calls commands in a project whose store holds an answer of two rows."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys
        (root / "everloop.toml").write_text(SETTINGS)
        packed = pack_rows({"label": np.array(["stays", "goes"], dtype=object)})
        self.store: Store = open_store(load_project(root, environ={}).store_url, fsync=False)
        with self.store.write() as tx:
            about = ("a" * 64, "", "champion", "infer", None, NOW, NOW, b"{}", packed)
            add_predictions(tx, [Prediction("two", NOW, *about)])

    def __call__(self, *words: str) -> tuple[int, str, str]:
        status = main([*words, "--project", str(self.root)])
        seen = self.capsys.readouterr()
        return status, seen.out, seen.err

    def json(self, *words: str) -> Any:
        status, out, err = self(*words, "--json")
        assert status == 0, err
        return json.loads(out)

    def file(self, kind: str, name: str, entries: list[dict[str, Any]]) -> str:
        path = self.root / f"{name}.{kind}"
        if kind == "json":
            path.write_text(json.dumps({name: entries}))
        elif kind == "ndjson":
            path.write_text("".join(json.dumps(each) + "\n" for each in entries))
        else:
            frame = pl.DataFrame(entries, infer_schema_length=None).with_columns(other=pl.lit("x"))
            frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
        return str(path)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    made = Shell(tmp_path, capsys)
    yield made
    made.store.close()


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "ndjson"])
def test_outcomes_of_rows(shell: Shell, kind: str) -> None:
    file = shell.file(kind, "outcomes", OUTCOMES)
    assert shell.json("outcomes", file) == {"stored": 3, "duplicates": 0, "unknown_predictions": ["007"]}
    assert shell.json("outcomes", file)["duplicates"] == 3
    with shell.store.read() as tx:
        told = row_outcomes_after(tx, 0)
    assert [(each.prediction, each.row, each.value, each.label) for each in told] == [
        ("two", 0, 1.5, None),
        ("two", 1, None, "stays"),
        ("007", -1, 3.0, None),
    ]
    assert (told[0].at, told[2].id, told[0].source) == (
        datetime(2026, 3, 2, tzinfo=UTC),
        "mine",
        f"cli:outcomes.{kind}",
    )
    _, out, err = shell("outcomes", file)
    assert "unknown predictions" in out
    assert "1 predictions are not stored (yet)" in out + err


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "ndjson"])
def test_measurements(shell: Shell, kind: str) -> None:
    file = shell.file(kind, "measurements", MEASUREMENTS)
    assert shell.json("measurements", file) == {"stored": 2, "duplicates": 0}
    assert "known already" in shell("measurements", file)[1]
    with shell.store.read() as tx:
        found = measurements_between(tx, NOW, datetime(2026, 3, 2, tzinfo=UTC))
    assert [(each.unit, each.value) for each in found] == [("007", 12.5), ("8", 3.0)]


def test_what_a_table_makes_of_numbers(shell: Shell) -> None:
    path = shell.root / "odd.parquet"
    cells = {"unit": [7], "metric": ["revenue"], "value": [Decimal("1.25")], "at": [NOW.date()]}
    pl.DataFrame(cells).write_parquet(path)
    assert shell.json("measurements", str(path))["stored"] == 1
    path = shell.root / "rows.parquet"
    pl.DataFrame({"prediction_id": ["two"], "row": [1.0], "value": [2]}).write_parquet(path)
    assert shell.json("outcomes", str(path))["stored"] == 1


@pytest.mark.parametrize(
    ("command", "name", "content", "code"),
    [
        ("outcomes", "a.csv", "prediction_id,row\ntwo,1\n", "column_missing"),
        ("outcomes", "a.csv", "prediction_id,row,value\ntwo,2,1\n", "outcome_row"),
        ("outcomes", "a.csv", "prediction_id,row,value\ntwo,1,much\n", "outcome_value"),
        ("outcomes", "a.ndjson", '{"prediction_id": "two"\n', "file_unreadable"),
        ("outcomes", "a.json", "3", "outcomes_shape"),
        ("outcomes", "a.txt", "", "format"),
        ("measurements", "a.csv", "unit,metric,value\nu,m,1\n", "column_missing"),
        ("measurements", "a.csv", "unit,metric,value,at\nu,m,,2026-03-01\n", "field"),
        ("measurements", "a.jsonl", "[3]\n", "outcomes_shape"),
    ],
)
def test_what_cannot_be_told(shell: Shell, command: str, name: str, content: str, code: str) -> None:
    path = shell.root / name
    path.write_text(content)
    status, out, err = shell(command, str(path), "--json")
    assert status != 0
    assert code in out + err
    with shell.store.read() as tx:
        assert row_outcomes_after(tx, 0) == []
