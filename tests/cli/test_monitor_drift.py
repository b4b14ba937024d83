"""``everloop monitor drift``: what a person sees of a change, and how it is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl
import pytest

from drifting import TRAINED, World, from_day, make_world, morning
from everloop.cli.main import main
from everloop.monitor.drift.settling import settle_drift
from everloop.store.alerts import open_alerts

CHANGE = TRAINED + 20
DAY = CHANGE + 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    def dearer(frame: pl.DataFrame) -> pl.DataFrame:
        price = pl.when(from_day(CHANGE)).then(pl.col("price") * 1.5).otherwise("price")
        return frame.with_columns(price.alias("price"))

    made = make_world(tmp_path_factory.mktemp("drift") / "world", dearer, until=DAY)
    settle_drift(made.store, made.look(DAY), at=morning(DAY), actor="test")
    yield made
    made.store.close()


def run(world: World, *arguments: str) -> int:
    return main([*arguments, "--project", str(world.project.root)])


def test_a_change_is_shown_with_its_date(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    as_of = f"{morning(DAY):%Y-%m-%dT%H:%M:%S}"
    assert run(world, "monitor", "drift", "--as-of", as_of) == 0
    shown, said = capsys.readouterr()
    assert "drift: price, the typical value: since 2024-05-2" in shown
    assert "all, as far as groups are watched" in shown
    assert shown.count("expected ") >= 2
    assert "not watched: promo" in said
    assert "season of the year" in said
    assert run(world, "monitor", "drift", "champion", "--as-of", as_of, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "drift"
    assert [each["column"] for each in report["columns"] if each["verdict"] == "drift"] == ["price"]
    assert report["evidence"]["kind"] == "drift"


def test_the_evidence_is_listed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world, "evidence", "--kind", "drift", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert run(world, "evidence", listed["id"][:8]) == 0
    assert "Has the world changed" in capsys.readouterr().out


def test_a_change_is_accepted_with_a_reason(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world, "monitor", "--accept", "drift") == 2
    assert "with a reason" in capsys.readouterr().err
    assert run(world, "monitor", "--accept", "decay", "--reason", "no") == 2
    assert run(world, "monitor", "--accept", "drift", "--reason", "new price list") == 0
    assert "accepted" in capsys.readouterr().err
    with world.store.read() as tx:
        assert open_alerts(tx) == []
    assert run(world, "monitor", "--accept", "drift", "--reason", "again") == 7
    assert "no open drift" in capsys.readouterr().err
