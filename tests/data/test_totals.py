"""Which series a total holds, and its history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from everloop.core.errors import UsageError
from everloop.data.panel import Panel
from everloop.data.totals import UNKNOWN, grouping, total_panel


def test_series_with_the_same_values_are_one_total(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    for columns in ((), ("store",), ("dept",), ("dept", "store"), ("store", "item")):
        found = grouping(panel, columns)
        names = []
        for row, key in enumerate(panel.keys):
            dept = panel.categories["dept"][int(panel.static["dept"][row])]
            values = dict(zip(panel.series_columns, key, strict=True)) | {"dept": dept}
            names.append(tuple(values[column] for column in columns))
        assert [found.labels[code] for code in found.codes] == names
        assert list(found.labels) == sorted(set(names))
        values = np.random.default_rng(1).normal(size=(panel.n_series, 3))
        by_hand = [sum(values[row] for row, each in enumerate(names) if each == label) for label in found.labels]
        assert found.sums(values) == pytest.approx(np.array(by_hand))


def test_a_total_without_members_sums_to_zero(make_panel: Callable[..., Panel]) -> None:
    found = grouping(make_panel(), ["store"])
    some = replace(found, codes=np.array([2, 0, 2]))
    assert some.sums(np.array([[1.0], [2.0], [4.0]])).tolist() == [[2.0], [0.0], [5.0]]


def test_a_missing_value_and_a_number_have_texts(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(series=4)
    panel = replace(panel, static={"size": np.array([np.nan, 2.5, 2.5, 10.0], dtype=np.float32)}, categories={})
    assert grouping(panel, ["size"]).labels == ((UNKNOWN,), ("10",), ("2.5",))


def test_the_history_of_a_total(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(late=40)
    y = panel.y.copy()
    closed = panel.index_of_rows() == panel.cutoff - 5  # nobody has a row
    y[closed] = np.nan
    y[panel.offsets[0] + 3] = np.nan  # one has none
    panel = replace(panel, y=y)
    level = grouping(panel, ["store"])
    found = total_panel(panel, level)
    assert found.keys == (("S0",), ("S1",), ("S2",))
    rows = panel.last(160).astype(float)
    by_hand = np.stack([np.nansum(rows[level.codes == number], axis=0) for number in range(3)])
    by_hand[:, -6] = np.nan
    assert found.last(160) == pytest.approx(by_hand, nan_ok=True)
    alone = total_panel(panel, grouping(panel, ["item"]))
    assert alone.lengths.tolist() == [120 if key == panel.keys[-1][1:] else 160 for key in alone.keys]


@pytest.mark.parametrize(("columns", "code"), [(["dpet"], "total_column"), (["store", "store"], "total_twice")])
def test_columns_that_cannot_be_summed_by(make_panel: Callable[..., Panel], columns: list[str], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        grouping(make_panel(), columns, path="--by")
    assert (caught.value.code, caught.value.path) == (code, "--by")
