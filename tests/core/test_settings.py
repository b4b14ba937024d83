"""Settings: what the file may say, and what is told of what it may not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.core.errors import SettingsError
from everloop.core.project import parse_settings
from everloop.core.settings.releasing import RetrainSettings
from everloop.core.settings.serving import ServeSettings
from everloop.core.settings.whole import Settings

ROWS = {"project": {"name": "shop", "task": "regression"}}


def refused(tree: dict[str, Any]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        parse_settings(ROWS | tree)
    return caught.value


@pytest.mark.parametrize(
    ("tree", "code", "path", "text"),
    [
        ({"serve": {"prot": 1}}, "settings_unknown", "serve.prot", "serve.prot is not a setting"),
        ({"project": {}}, "settings_missing", "project.name", "project.name is not set"),
        ({"serve": 3}, "settings_value", "serve", "serve: expected a table, such as [serve]; got 3"),
        ({"serve": {"port": 70000}}, "settings_value", "serve.port", "serve.port: expected an integer <= 65535"),
        ({"serve": {"port": True}}, "settings_value", "serve.port", "serve.port: expected an integer; got True"),
        ({"serve": {"port": 1.5}}, "settings_value", "serve.port", "serve.port: expected an integer; got 1.5"),
        ({"project": {"name": 3}}, "settings_value", "project.name", "project.name: expected text; got 3"),
        ({"retrain": {"on": ["rain"]}}, "settings_value", "retrain.on", "expected one of 'decay', 'drift'"),
        ({"forecast": {"levels": [50, 190]}}, "settings_value", "forecast.levels", "expected a number < 100.0 at [1]"),
        ({"train": {"candidates": []}}, "settings_value", "train.candidates", "a list of length >= 1"),
        ({"retrain": {"schedule": "daily"}}, "settings_value", "retrain.schedule", "expected five fields"),
        ({"validate": {"metric": "wrmsse"}}, "settings_value", "validate", "needs validate.sums"),
        ({"serve": {"swap_compare": {"requests": -1}}}, "settings_value", "serve.swap_compare.requests", ">= 0"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tree: dict[str, Any], code: str, path: str, text: str) -> None:
    error = refused(tree)
    assert (error.code, error.path) == (code, path)
    assert text in error.message


def test_unknown_keys_are_told_before_wrong_ones() -> None:
    error = refused({"serve": {"port": -1, "wrokers": 2}})
    assert error.code == "settings_unknown"
    assert "workers" in error.hint


def test_how_many_more_are_wrong_is_told() -> None:
    assert refused({"serve": {"port": -1, "workers": 0}, "log": {"inputs": 2}}).message.endswith("(2 more)")


def test_the_hint_tells_meaning_and_unit() -> None:
    assert refused({"serve": {"workers": 0}}).hint == "How many processes answer. Unit: processes."


def test_defaults_are_of_their_types_and_not_shared() -> None:
    one, other = parse_settings(ROWS), parse_settings(ROWS)
    assert one.forecast.levels == [80.0, 95.0]
    assert all(isinstance(level, float) for level in one.forecast.levels)
    assert one.forecast.levels is not other.forecast.levels
    assert one.train.options is not other.train.options


def test_numbers_may_be_text_and_floats_may_be_whole() -> None:
    settings = parse_settings(ROWS | {"serve": {"port": "9000", "timeout_seconds": 3}})
    assert settings.serve.port == 9000
    assert isinstance(settings.serve.timeout_seconds, float)


def test_a_copy_leaves_the_first_as_it_was() -> None:
    before = ServeSettings()
    after = before.model_copy(update={"port": 1})
    assert (before.port, after.port) == (8000, 1)
    assert before != after
    assert before == ServeSettings()
    with pytest.raises(AttributeError, match="frozen"):
        before.port = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del before.port


def test_records_made_in_code_are_checked_too() -> None:
    assert RetrainSettings(schedule="").schedule == ""
    with pytest.raises(SettingsError, match="expected five fields"):
        RetrainSettings(schedule="daily")


def test_settings_go_to_another_process() -> None:
    settings = parse_settings(ROWS | {"data": {"contract": {"ranges": {"price": [0, None]}}}})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert "port=8000" in repr(settings.serve)


@given(
    port=st.integers(0, 65535),
    levels=st.lists(st.floats(1, 99), max_size=3),
    ranges=st.dictionaries(st.text(max_size=5), st.tuples(st.none() | st.floats(allow_nan=False), st.none())),
    options=st.dictionaries(st.text(max_size=5), st.dictionaries(st.text(max_size=5), st.integers() | st.text())),
)
def test_what_is_written_out_reads_back_the_same(
    port: int, levels: list[float], ranges: dict[str, Any], options: dict[str, Any]
) -> None:
    settings = parse_settings(
        ROWS
        | {
            "serve": {"port": port},
            "forecast": {"levels": levels},
            "data": {"contract": {"ranges": {name: list(pair) for name, pair in ranges.items()}}},
            "train": {"options": options},
        }
    )
    assert Settings.model_validate(settings.model_dump()) == settings


def test_reading_settings_imports_no_heavy_library() -> None:
    code = "import sys; import everloop.core.project; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "sqlalchemy", "typer"} & set(loaded)
