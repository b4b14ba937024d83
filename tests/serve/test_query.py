from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.core.errors import RequestError
from everloop.models.forecaster import FitContext
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.query import ForecastQuery, Resolved, resolve
from everloop.serve.served import Served


@pytest.fixture(scope="module")
def served(panel) -> Served:  # type: ignore[no-untyped-def]
    class Manifest:
        horizon = 14

    class Release:
        manifest = Manifest()
        digest = "0" * 64

    model = SeasonalNaiveForecaster().fit(panel, FitContext(14, (80.0, 95.0)))
    return Served.of(Release(), "", model)  # type: ignore[arg-type]


def ask(served: Served, **parts: object) -> Resolved:
    return resolve(ForecastQuery(**parts), served, horizon=14, levels=(80, 95), max_series=5)  # type: ignore[arg-type]


def refusal(served: Served, **parts: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ask(served, **parts)
    return caught.value


def test_a_series_is_named_by_text_or_by_columns(served: Served) -> None:
    by_text = ask(served, series=("S0/item%2F1",))
    by_columns = ask(served, series=({"store_id": "S0", "item_id": "item/1"},))
    assert by_text.keys == by_columns.keys == ("S0/item%2F1",)
    assert by_text.request.series is not None
    assert list(by_text.request.series) == [1]


def test_the_settings_fill_what_is_left_out(served: Served) -> None:
    resolved = ask(served, series=("S0/item%2F1",))
    assert (resolved.request.horizon, resolved.request.levels) == (14, (80.0, 95.0))


@pytest.mark.parametrize(
    ("parts", "code", "path"),
    [
        ({"series": ("S0/item%2F9",)}, "series_unknown", "series[0]"),
        ({"series": ("S0/item%2F1", "x")}, "series_unknown", "series[1]"),
        ({"series": ()}, "series_empty", "series"),
        ({"series": None}, "series_many", "series"),
        ({"series": ({"store": "S0"},)}, "series_column", "series[0]"),
        ({"series": ({"store_id": "S0"},)}, "series_column", "series[0].item_id"),
        ({"series": ({"store_id": "S0", "item_id": [1]},)}, "series_column", "series[0].item_id"),
        ({"horizon": 15}, "horizon", "horizon"),
        ({"horizon": 0}, "horizon", "horizon"),
        ({"levels": (100.0,)}, "level", "levels[0]"),
        ({"levels": (math.nan,)}, "level", "levels[0]"),
        ({"future": {"prise": 2}}, "future_unknown", "future.prise"),
        ({"future": {"price": [2, 2]}}, "future_shape", "future.price"),
        ({"future": {"price": "two"}}, "future_value", "future.price"),
        ({"future": {"price": 1e300}}, "future_value", "future.price"),
        ({"future": {"price": math.nan}}, "future_value", "future.price"),
        ({"future": {"event": "fairy"}}, "future_value", "future.event"),
        ({"future": {"price": [[2] * 14, [2] * 14]}}, "future_shape", "future.price"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    served: Served, parts: dict[str, object], code: str, path: str
) -> None:
    error = refusal(served, **({"series": ("S0/item%2F1",)} | parts))
    assert (error.code, error.path) == (code, path)
    assert error.hint


def test_a_near_name_is_offered(served: Served) -> None:
    assert "'S0/item%2F1'" in refusal(served, series=("S0/item%2F11",)).hint
    assert refusal(served, series=("S0/item%2F1",), future={"event": "fairy"}).hint == "did you mean 'fair'?"


def test_future_values_take_every_form(served: Served) -> None:
    two = ("S0/item%2F1", "S1/item%2F2")
    one_value = ask(served, series=two, horizon=2, future={"price": 2.5}).request.future["price"]
    one_list = ask(served, series=two, horizon=2, future={"price": [2.5, None]}).request.future["price"]
    lists = ask(served, series=two, horizon=2, future={"price": [[1, 2], [3, 4]]}).request.future["price"]
    text = ask(served, series=two, horizon=2, future={"event": ["fair", "none"]}).request.future["event"]
    np.testing.assert_array_equal(one_value, [[2.5, 2.5], [2.5, 2.5]])
    np.testing.assert_array_equal(one_list, [[2.5, math.nan], [2.5, math.nan]])
    np.testing.assert_array_equal(lists, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(text, [[1, 0], [1, 0]])


def test_a_series_own_future_lies_over_the_common_one(served: Served) -> None:
    series = ({"store_id": "S0", "item_id": "item/1", "future": {"price": 9}}, "S1/item%2F2")
    resolved = ask(served, series=series, horizon=2, future={"price": [1, 2]})
    np.testing.assert_array_equal(resolved.request.future["price"], [[9, 9], [1, 2]])


numbers = st.none() | st.floats(-1e6, 1e6, width=32)


@given(
    series=st.lists(st.sampled_from(["S0/item%2F0", "S0/item%2F1", "S1/item%2F2"]), min_size=1, max_size=5),
    horizon=st.integers(1, 14),
    levels=st.lists(st.floats(0.1, 99.9), max_size=5),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_the_record_asks_the_same_again(served: Served, series, horizon, levels, data) -> None:  # type: ignore[no-untyped-def]
    rows = st.lists(numbers, min_size=horizon, max_size=horizon)
    price = data.draw(numbers | rows | st.lists(rows, min_size=len(series), max_size=len(series)))
    first = ask(served, series=tuple(series), horizon=horizon, levels=tuple(levels), future={"price": price})
    record = json.loads(json.dumps(first.record, allow_nan=False))
    again = resolve(ForecastQuery.from_record(record), served, horizon=1, levels=())
    assert again.record == first.record
    assert again.request.levels == first.request.levels
    np.testing.assert_array_equal(again.request.future["price"], first.request.future["price"])
    np.testing.assert_array_equal(again.request.series, first.request.series)  # type: ignore[arg-type]
