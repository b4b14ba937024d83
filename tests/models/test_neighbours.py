"""Neighbours of a period: against a search by hand, and nothing from beyond the horizon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from everloop.data.panel import Panel
from everloop.models.blocks import Block
from everloop.models.examples import example_panels
from everloop.models.feature_spec import FeatureSpec
from everloop.models.features import Rows, features_of
from everloop.models.neighbours import REACH, event_columns, flag_columns, nearest_changes, nearest_events


def searched(values: np.ndarray, row: int, columns: range) -> tuple[float, float]:
    """The first of some columns that holds a value: its place in the search and the value."""
    for away, column in enumerate(columns, start=1):
        if 0 <= column < values.shape[1] and not np.isnan(values[row, column]):
            return away, values[row, column]
    return np.nan, np.nan


def often(panel: Panel) -> Panel:
    """The panel with events on every fifth day, of two kinds in turn."""
    index = panel.index_of_rows()
    event = np.where(index % 5 == 0, index // 5 % 2, np.nan).astype(np.float32)
    return replace(panel, known={**panel.known, "event": event})


def test_events_are_found_as_a_search_finds_them() -> None:
    random = np.random.default_rng(1)
    values = np.where(random.random((3, 60)) < 0.1, random.integers(0, 4, (3, 60)), np.nan).astype(np.float32)
    series, target = (each.ravel() for each in np.meshgrid(np.arange(3), np.arange(60), indexing="ij"))
    last = np.minimum(target + random.integers(0, 12, len(target)), 70)
    found = np.array(nearest_events(values, series, target, last))
    expected = [
        (
            *searched(values, row, range(column + 1, min(column + REACH, until) + 1)),
            *searched(values, row, range(column - 1, column - REACH - 1, -1)),
        )
        for row, column, until in zip(series, target, last, strict=True)
    ]
    np.testing.assert_array_equal(found.T, np.array(expected, dtype=np.float32))


def test_a_switch_tells_when_it_was_and_will_be_thrown() -> None:
    values = np.array([[0, 0, 1, 1, 1, 0, 0, 0]], dtype=np.float32)
    everywhere = np.arange(8)
    until, since = nearest_changes(values, np.zeros(8, dtype=np.int64), everywhere, np.full(8, 7))
    np.testing.assert_array_equal(until, np.array([2, 1, 3, 2, 1, np.nan, np.nan, np.nan], dtype=np.float32))
    np.testing.assert_array_equal(since, np.array([np.nan, np.nan, 0, 1, 2, 0, 1, 2], dtype=np.float32))


def test_only_sparse_texts_that_come_often_have_neighbours() -> None:
    panel = often(example_panels()["daily shop"])
    event = panel.known["event"]
    once = np.where(panel.index_of_rows() == panel.cutoff - 20, np.float32(0), np.float32(np.nan))
    daily = np.zeros_like(event)
    wider = replace(
        panel,
        known={**panel.known, "once": once, "daily": daily, "on": (event == 1).astype(np.float32)},
        categories={**panel.categories, "once": ("any",), "daily": ("x",)},
    )
    assert event_columns(wider) == ("event",)
    assert flag_columns(wider) == ("on",)
    assert flag_columns(panel) == ()


def test_what_lies_beyond_the_horizon_does_not_enter() -> None:
    panel = often(example_panels()["daily shop"])
    horizon = 14
    spec = FeatureSpec.of(panel, horizon, neighbours=True)
    assert spec.events == ("event",)
    columns = int(panel.lengths.max())
    origin = columns - 40
    steps = np.arange(1, horizon + 1)

    def features(changed: Panel) -> np.ndarray:
        block = Block.cut(changed, spec, np.arange(panel.n_series), columns=columns)
        asked = Rows(
            np.repeat(np.arange(panel.n_series), horizon),
            np.full(panel.n_series * horizon, origin),
            np.tile(steps, panel.n_series),
        )
        return features_of(spec, block, asked, least=0.1, unseen=1.0).matrix

    index = panel.index_of_rows() - (panel.cutoff - columns + 1)
    within = np.where(index > origin + horizon, np.float32(1), panel.known["event"])
    np.testing.assert_array_equal(features(replace(panel, known={**panel.known, "event": within})), features(panel))
    reached = np.where(index == origin + horizon, np.float32(1), panel.known["event"])
    assert (features(replace(panel, known={**panel.known, "event": reached})) != features(panel)).any()


def test_a_shorter_question_has_the_same_answer() -> None:
    panel = often(example_panels()["daily shop"])
    spec = FeatureSpec.of(panel, 14, neighbours=True)
    assert spec.events == ("event",)
    everyone = np.arange(panel.n_series)

    def features(steps: int) -> np.ndarray:
        block = Block.cut(panel, spec, everyone, columns=spec.memory, steps=steps)
        rows = Rows.ahead(panel.n_series, spec.memory, steps)
        return features_of(spec, block, rows, least=0.1, unseen=1.0).matrix.reshape(panel.n_series, steps, -1)

    assert features(5).tobytes() == features(14)[:, :5].tobytes()
