"""``everloop forecast``: from the newest data, made once, written where it is wanted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from everloop.cli.main import main
from everloop.core.project import Project
from everloop.serve.answers import Answerer
from kiosk import sales

Capture = pytest.CaptureFixture[str]


def answer(capsys: Capture, *words: str, status: int = 0) -> Any:
    assert main([*words, "--json"]) == status
    told = capsys.readouterr()
    return json.loads(told.out if status == 0 else told.err)


def test_day_after_day_into_a_table(
    make_kiosk: Callable[..., Project], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_kiosk(days=150).root
    at, lake = ("-p", str(root)), root / "lake"
    answer(capsys, "run", *at)
    assert answer(capsys, "tick", *at)["predicted"] == 1
    loaded: list[str] = []
    answer_batch = Answerer.answer_batch
    monkeypatch.setattr(
        Answerer, "answer_batch", lambda *args, **named: loaded.append("made") or answer_batch(*args, **named)
    )
    first = answer(capsys, "forecast", "--out", f"delta:{lake}", *at)
    assert (first["rows"], first["is_written"], loaded) == (42, True, []), "what the loop made is not made again"
    assert not answer(capsys, "forecast", "--out", f"delta:{lake}", *at)["is_written"]
    sales(151).write_csv(root / "sales.csv")
    answer(capsys, "ingest", *at)
    second = answer(capsys, "forecast", "--out", f"delta:{lake}", *at)
    assert (second["is_written"], loaded) == (True, ["made"])
    assert second["cutoff"][:10] == "2024-05-30"
    table = pl.read_delta(lake)
    assert dict(table.group_by("prediction").len().rows()) == {first["prediction_id"]: 42, second["prediction_id"]: 42}
    assert answer(capsys, "tick", *at)["predicted"] == 0, "it is the loop's own batch"
    assert answer(capsys, "trace", second["prediction_id"], "--repeat", *at)["repeated"]["is_equal"]


def test_other_questions_are_other_predictions(make_kiosk: Callable[..., Project], capsys: Capture) -> None:
    root = make_kiosk(days=150).root
    at = ("-p", str(root))
    answer(capsys, "run", *at)
    plain = answer(capsys, "forecast", *at)
    short = answer(capsys, "forecast", "--horizon", "2", "--level", "50", "--out", str(root / "f.csv"), *at)
    again = answer(capsys, "forecast", "--horizon", "2", "--level", "50", "--out", str(root / "f.csv"), *at)
    assert len({plain["prediction_id"], short["prediction_id"]}) == 2
    assert short["prediction_id"] == again["prediction_id"]
    frame = pl.read_csv(root / "f.csv")
    assert (frame.columns, frame.height) == (["shop", "item", "day", "forecast", "lo-50", "hi-50"], 12)
    assert set(plain["forecasts"][0]) == {"shop", "item", "day", "forecast", "lo-80", "hi-80"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--out", "f.xlsx"), "format"),
        (("--out", "f.csv", "--keep", "3"), "forecast_keep"),
        (("--out", "oracle://x/y"), "forecast_url"),
    ],
)
def test_places_that_cannot_be(
    make_kiosk: Callable[..., Project], capsys: Capture, words: tuple[str, ...], code: str
) -> None:
    at = ("-p", str(make_kiosk(days=150).root))
    answer(capsys, "run", *at)
    assert answer(capsys, "forecast", *words, *at, status=2)["error"]["code"] == code
