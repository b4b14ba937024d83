"""``everloop marks``, and the marks that ingesting and training tell of, as a person sees them."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
import pytest

from everloop.cli.main import main
from everloop.core.project import Project

MakeKiosk = Callable[..., Project]


@pytest.fixture
def kiosk(make_kiosk: MakeKiosk, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A kiosk whose tea of the north was out of stock for its last eight days."""
    project = make_kiosk()
    path = project.root / "sales.csv"
    frame = pl.read_csv(path)
    last = frame["day"].unique().sort()[-8:]
    is_out = (pl.col("shop") == "north") & (pl.col("item") == "tea") & pl.col("day").is_in(last.implode())
    frame.with_columns(pl.when(is_out).then(0).otherwise(pl.col("sold")).alias("sold")).write_csv(path)
    with (project.root / "everloop.toml").open("a") as file:
        file.write('\n[data.cleaning]\ninferred_stock_outs = "leave_out"\n')
    monkeypatch.chdir(project.root)
    return project


def test_marks_are_told_by_ingest_marks_run_and_card(kiosk: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest"]) == 0
    assert "inferred stock out 8 (left out) of 1200 periods" in " ".join(capsys.readouterr().out.split())
    assert main(["marks", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kinds"] == {"inferred_stock_out": {"periods": 8, "treatment": "leave_out"}}
    assert [(each["series"], each["periods"]) for each in told["marks"]] == [("north/tea", 8)]
    assert main(["marks", "--series", "north/tea", "-n", "1"]) == 0
    assert "north/tea" in capsys.readouterr().out
    assert main(["run", "--set", 'train.candidates=["seasonal_naive"]']) == 0
    assert "marked: inferred stock out 8 (left out) of 1200 periods" in " ".join(capsys.readouterr().err.split())
    (card,) = kiosk.releases.glob("*/card.md")
    assert "- marked periods of 1200: inferred stock out 8 (left out)" in card.read_text(encoding="utf-8")


def test_all_rules_are_shown_where_none_is_in_force(kiosk: Project, capsys: pytest.CaptureFixture[str]) -> None:
    off = ["--set", "data.cleaning.inferred_stock_outs=keep"]
    assert main(["ingest", *off]) == 0
    assert "inferred" not in capsys.readouterr().out
    assert main(["marks", *off, "--kind", "inferred_stock_out"]) == 0
    assert "keep" in capsys.readouterr().out


def test_an_unknown_kind_is_an_error(kiosk: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["marks", "--kind", "stok"]) == 2
    assert "did you mean 'stock_out'?" in capsys.readouterr().err
